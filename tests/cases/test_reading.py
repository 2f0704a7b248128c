"""Files of cases: every mistake is a problem with its place and the nearest spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.cases import read_cases, read_instant
from interceptor.cases.reading import DEFAULT_AT, Ground
from interceptor.policy import Source
from interceptor.values import Verdict

CASE = "cases:\n  - name: one\n    given: {command: Call, app: crm, with: {Dialed: '1001'}}\n    expect: allow\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a", "1:1: a file of cases should be a mapping of keys to values, here is a list"),
        ("given: {app: crm}", "1:1: a file of cases should have a list of `cases`"),
        (
            CASE.replace("expect: allow", "expects: allow"),
            "4:5: unknown key `expects` in a case, did you mean `expect`?",
        ),
        (CASE.replace("expect: allow", "expect: alow"), "4:13: unknown verdict `alow`, did you mean `allow`?"),
        (CASE.replace("expect: allow", "expect: {}"), "4:13: `expect` is empty, everything fits that"),
        (
            CASE.replace("expect: allow", "expect: {rule: a}"),
            "4:14: unknown key `rule` in `expect`, did you mean `rules`?",
        ),
        (CASE.replace("    expect: allow\n", ""), "2:5: a case should say what to `expect`, or have `steps`"),
        (CASE.replace("name: one", "nam: one"), "2:5: unknown key `nam` in a case, did you mean `name`?"),
        (CASE + CASE.partition("\n")[2], "5:11: a case named `one` stands already at t.yaml:2:11"),
        (CASE.replace("command: Call", "command: Cal"), "3:22: unknown command `Cal`, did you mean `Call`?"),
        (
            CASE.replace("command: Call", "command: Zzz"),
            "3:22: unknown command `Zzz`; a name that the reference does not list is written `other:Zzz`",
        ),
        (CASE.replace("command: Call", "verb: 'other:a b'"), "3:19: `a b` is no name that OzML can hold"),
        (CASE.replace("command: Call", "verb: Speek"), "3:19: unknown verb `Speek`, did you mean `Speak`?"),
        (
            CASE.replace("command: Call", "command: Call, verb: Call"),
            "3:28: `verb` beside `command`: one message at a time",
        ),
        (
            CASE.replace("command: Call, ", ""),
            "2:5: nothing is given: `given` should name a message, one of `command`, `notification`, `verb`",
        ),
        (CASE.replace("app: crm", "app: crn"), "3:33: unknown app `crn`, did you mean `crm`?"),
        (
            CASE.replace("Dialed:", "Dialedd:"),
            "3:45: unknown parameter `Dialedd`, did you mean `Dialed`? If it is really called that: `other:Dialedd`",
        ),
        (
            CASE.replace("app: crm", "at: noon"),
            "3:32: `at` should be a time such as `2026-11-23T19:00`, here is `noon`",
        ),
        (CASE.replace("app: crm", "at: 2026-13-23T19:00"), "3:32: `at` should be a time"),
        (
            CASE.replace("app: crm", "call: {state: hold}"),
            "3:42: unknown `state` of `call` `hold`, did you mean `held`?",
        ),
        (
            CASE.replace("app: crm", "call: {ownd: true}"),
            "3:35: unknown key `ownd` in `call`, did you mean `owned`?",
        ),
        (CASE.replace("app: crm", "path: pbx"), "3:34: `path` should begin with `/`"),
        (CASE.replace("app: crm", "method: PUT"), "3:36: unknown method `PUT`"),
        (CASE.replace("command: Call", "verb: Call, header: {A: b}"), "3:25: a verb has no headers"),
        (CASE.replace("app: crm", "appp: crm"), "3:28: unknown key `appp` in `given`, did you mean `app`?"),
        (CASE.replace("expect: allow", "expect: {rules: premium}"), "4:21: there is no rule `premium`"),
        (CASE.replace("expect: allow", "expect: {target: pbx-mian}"), "4:22: unknown target `pbx-mian`, did you mean"),
        (
            CASE.replace("expect: allow", "expect: {parameters: {CallerId: {exists: true}}}"),
            "4:37: `CallerId` should be a text, or `{exists: false}` where it should not be there",
        ),
        (CASE.replace("expect: allow", "expect: {answer: {cod: 1}}"), "4:23: unknown key `cod` in `answer`"),
        (CASE.replace("expect: allow", "expect: {answer: [Sing]}"), "4:23: unknown verb `Sing`"),
        (
            CASE.replace("expect: allow", "expect: allow\n    repeat: 0"),
            "5:13: `repeat` should be at least 1, here is `0`",
        ),
        (CASE + "    steps: [{expect: allow}]\n", "4:5: `expect` beside `steps` belongs into a step"),
        (CASE.replace("expect: allow", "steps: [{after: 1s}]"), "4:13: this should say what to `expect`"),
        (
            CASE.replace("expect: allow", "steps: [{expect: deny, repeated: 2}]"),
            "4:28: unknown key `repeated` in a step",
        ),
        (CASE + "    scenario: a.yaml\n", "3:5: `given` beside `scenario` means nothing"),
        ("cases:\n  - {name: a, scenario: b, expect: {verdict: deny}}", "2:37: unknown key `verdict` in `expect`"),
        (CASE.replace("app: crm", "app: [crm]"), "3:33: `app` should be text, here is a list"),
    ],
)
def test_a_mistake_is_told_where_it_stands(text, problem):
    _, problems = read_cases([Source("t.yaml", text.encode())], ground())
    assert any(str(each).partition(":")[2].startswith(problem) for each in problems), list(map(str, problems))


def test_nothing_runs_where_a_file_has_a_problem(problems):
    assert problems(CASE.replace("crm", "crn")) == ["3:33: unknown app `crn`, did you mean `crm`?"]


def test_an_empty_file_and_an_empty_list_have_no_cases(tried):
    for text in ("", "cases:", "# nothing\n"):
        report = tried(text)
        assert (report.ok, report.results) == (True, ())


def test_what_a_step_does_not_say_is_as_around_it():
    text = """
given: {app: crm, source: 10.1.1.1, command: Call, with: {Dialed: "1", CallerId: "2"}}
cases:
  - name: a
    given: {at: 2026-11-23T19:00, header: {X-A: b}}
    steps:
      - {expect: deny}
      - {given: {source: "10.2.2.2"}, expect: deny, after: 2s, repeat: 3, every: 500ms}
      - {given: {with: {Dialed: "3"}}, expect: deny}
      - {given: {verb: Speak, app: ~}, expect: deny}
  - {name: b, given: {app: ""}, expect: deny}
"""
    (first, last), problems = read_cases([Source("t.yaml", text.replace("X-A: b}", "X-A: b}").encode())], ground())
    assert [problem.message for problem in problems] == ["a verb has no headers"]
    messages = [step.message for step in first.steps]
    assert [message.name for message in messages] == ["Call", "Call", "Call", "Speak"]
    assert [message.source for message in messages] == ["10.1.1.1", "10.2.2.2", "10.1.1.1", "10.1.1.1"]
    assert [dict(message.parameters) for message in messages] == [
        {"Dialed": "1", "CallerId": "2"},
        {"Dialed": "1", "CallerId": "2"},
        {"Dialed": "3"},
        {},
    ]
    assert [message.app for message in messages] == ["crm", "crm", "crm", None]
    assert (first.steps[1].after, first.steps[1].repeat, first.steps[1].every) == (2.0, 3, 0.5)
    assert last.steps[0].message.app == ""
    assert last.steps[0].message.at == read_instant(DEFAULT_AT, "Europe/Budapest")
    assert last.label == "t.yaml:11 b"


def test_what_can_be_expected_is_read():
    text = """
cases:
  - name: a
    given: {command: "other:Foo", with: {"other:Dialedd": x, Dialed: ~}, method: POST, path: /x}
    expect:
      verdict: deny
      reason: rule
      rules: [known]
      shadow: []
      tags: [a, b]
      parameters: {CallerId: "1", Dialed: {exists: false}}
      target: "http://10.0.0.1/x"
      answer: {code: 306, message: No}
"""
    (case,), problems = read_cases([Source("t.yaml", text.encode())], ground())
    assert problems == ()
    (step,) = case.steps
    assert step.message.name == "Foo"
    assert step.message.parameters == (("Dialedd", "x"), ("Dialed", ""))
    assert (step.message.method, step.message.path) == ("POST", "/x")
    expect = step.expect
    assert (expect.verdict, expect.reason, expect.rules, expect.shadow) == (Verdict.DENY, "rule", ("known",), ())
    assert (expect.tags, expect.parameters) == (("a", "b"), {"CallerId": "1", "Dialed": None})
    assert (expect.target, expect.code, expect.message) == ("http://10.0.0.1/x", 306, "No")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-23T19:00", 1795456800.0),
        ("2026-11-23 19:00", 1795456800.0),
        ("2026-11-23T18:00Z", 1795456800.0),
        ("2026-11-23T19:00:30+01:00", 1795456830.0),
        ("19:00", None),
        ("2026-11-23", None),
        ("2026-11-23T25:00", None),
        ("9999-12-31T23:59-23:59", None),
    ],
)
def test_times_are_on_the_configured_clock_unless_they_say_another(text, instant):
    assert read_instant(text, "Europe/Budapest") == instant


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: ("cases: " + text).encode())))
def test_any_bytes_are_cases_or_problems(data):
    cases, problems = read_cases([Source("t.yaml", data)], ground())
    assert not (cases and problems) or all(problem.place.line > 0 for problem in problems)


def ground():
    return Ground(frozenset(("crm", "shop")), frozenset(("known",)), "Europe/Budapest", frozenset(("pbx-main", "crm")))


def test_a_number_without_quotes_is_warned_about_and_used_as_it_stands(tried):
    report = tried("cases: [{name: a, given: {command: Call, app: crm, with: {Dialed: +3690123456}}, expect: deny}]")
    assert [str(problem).partition(":")[2] for problem in report.problems] == [
        (
            "1:67: warning: `+3690123456` is read as the text it is, though YAML takes it for a number; "
            "write it in quotes"
        )
    ]
    assert report.results[0].passed
