"""Cases against rules: what passes, what differs and how it is told, and what they have shown of the rules."""

import asyncio
import json
import threading

import msgspec
import pytest
from msgspec.structs import replace

from interceptor.cases import Played, run
from interceptor.loading import policy_context
from interceptor.policy import Source, compile_policy
from interceptor.rehearsal import Message, Rehearsal
from interceptor.values import Kind, Verdict

CALL = "cases:\n  - name: one\n    given: {command: Call, app: crm, with: {Dialed: '+36201234567', X-Debug: '1'}}\n"


def test_everything_that_can_be_expected_holds(tried):
    report = tried("""
cases:
  - name: a command
    given: {command: Call, app: crm, with: {Dialed: "06 20 123 4567", X-Debug: "1", CallerId: "1001"}}
    expect:
      verdict: allow
      reason: rule
      rules: [shown, calls]
      shadow: []
      tags: shown
      parameters: {CallerId: "+3612222222", Dialed: "06 20 123 4567", X-Debug: {exists: false}}
      target: pbx-main
  - name: a refusal
    given: {command: Call, app: crm, method: POST, with: {Dialed: "06 90 123 456"}}
    expect: {verdict: deny, rules: premium-never, answer: {code: 306, message: Not premium}}
  - name: a trial, and another PBX
    given: {command: Call, app: crm, with: {Dialed: "1001", ApiExtension: "2001"}}
    expect: {verdict: allow, shadow: trial, target: pbx-marketing}
  - name: at night
    given: {notification: RoutingInterception, at: 2026-11-23T18:00, with: {CallerID: "1001"}}
    expect: {verdict: answer, answer: [{Route: {Destination: "1099"}}]}
  - name: by day, by path
    given: {notification: RoutingInterception, path: /shop, with: {CallerID: "1001"}}
    expect: {verdict: allow, reason: default, rules: [], target: "http://10.0.0.2:8001/pbx"}
  - name: a verb
    given: {verb: BlindTransfer, app: crm, with: {Target: "06 90 123 456"}}
    expect: {verdict: deny, rules: premium-never}
  - name: nobody that we know
    given: {command: Call, source: 192.0.2.1, with: {Dialed: "1001"}}
    expect: {verdict: deny, reason: authentication_required, rules: [], answer: {code: 304}}
  - name: found by its address
    given: {command: Call, source: 10.9.9.9, with: {Dialed: "+3612345678"}}
    expect: {verdict: allow, rules: [shown, calls]}
""")
    assert report.problems == ()
    assert [(result.name, list(map(str, result.differences))) for result in report.failed if result.differences] == [
        ("by day, by path", ["target: expected http://10.0.0.2:8001/pbx, is shop"])
    ]


def test_what_differs_is_told_in_words(differences):
    assert differences(CALL + "    expect: deny\n") == ["verdict: expected deny, is allow"]
    assert differences(CALL + "    expect: {reason: default}\n") == ["reason: expected default, is rule"]
    assert differences(CALL + "    expect: {rules: [calls, shown]}\n") == [
        "rules: expected calls, shown, is shown, calls"
    ]
    assert differences(CALL + "    expect: {rules: []}\n") == ["rules: expected none, is shown, calls"]
    assert differences(CALL + "    expect: {shadow: trial}\n") == ["shadow: expected trial, is none"]
    assert differences(CALL + "    expect: {tags: [other]}\n") == ["tags: expected other, is shown"]
    assert differences(CALL + "    expect: {target: pbx-marketing}\n") == [
        "target: expected pbx-marketing, is pbx-main"
    ]
    assert differences(CALL + "    expect: {parameters: {CallerId: '1', Dialed: '2', X-Debug: '1'}}\n") == [
        "CallerId: expected `1`, is `+3612222222` (came as not there)",
        "Dialed: expected `2`, is `+36201234567` (as it came)",
        "X-Debug: expected `1`, is not there (came as `1`)",
    ]
    assert differences(CALL + "    expect: {answer: {code: 306, message: No}}\n") == [
        "code of the answer: expected 306, is no answer",
        "message of the answer: expected `No`, is not there",
    ]
    assert differences(CALL + "    expect: {answer: [Hangup]}\n") == [
        "answer: expected <Response><Hangup/></Response>, is none"
    ]
    refused = CALL.replace("+36201234567", "+3690123456")
    assert differences(refused + "    expect: {answer: {code: 305}, target: pbx-main}\n") == [
        "target: expected pbx-main, is none",
        "code of the answer: expected 305, is 306",
    ]
    stranger = CALL.replace("app: crm", "source: 192.0.2.1")
    assert differences(stranger + "    expect: allow\n") == [
        "verdict: expected allow, is deny (authentication_required)"
    ]


def test_a_failure_brings_the_trace_of_its_message(tried):
    report = tried(CALL.replace("+36201234567", "+3690123456") + "    expect: allow\n")
    (result,) = report.failed
    explanation = result.explanation
    assert explanation.trace.rule == "premium-never"
    assert [step.standing.value for step in explanation.trace.steps][:2] == ["acted", "not_reached"]
    assert json.loads(msgspec.json.encode(report))["results"][0]["explanation"]["trace"]["verdict"] == "deny"
    assert result.label == "rules/all.test.yaml:2 one"
    assert not report.ok


def test_every_message_of_a_repeated_step_should_come_to_the_same(tried):
    report = tried("""
cases:
  - name: again
    given: {notification: RoutingInterception, at: 2026-11-23T17:58}
    steps:
      - {expect: allow}
      - {expect: allow, after: 10s, repeat: 5, every: 1m}
""")
    (result,) = report.failed
    assert result.step == "step 2, message 3 of 5"
    assert [str(each) for each in result.differences] == ["verdict: expected allow, is answer"]


def test_coverage_counts_rules_and_both_outcomes_of_each_condition(tried):
    report = tried(
        """
cases:
  - {name: a, given: {command: Call, app: crm, with: {Dialed: "06 20 123 4567"}}, expect: allow}
  - {name: b, given: {command: Call, app: shop, with: {Dialed: "1001"}}, expect: allow}
""",
        coverage=True,
    )
    covered = {rule.name: rule for rule in report.coverage.rules}
    assert list(covered) == ["premium-never", "shown", "trial", "marketing", "night", "calls"]
    assert covered["premium-never"].missing == ("never acted", "never held: number class premium")
    assert covered["shown"].missing == (
        "never failed: number country HU",
        "never asked: parameter ApiExtension prefix `2`",
    )
    assert covered["trial"].missing == ()
    assert covered["calls"].acted == 2
    assert covered["calls"].outcomes == (1, 1)
    assert covered["night"].missing[0] == "never acted"
    assert round(report.coverage.percent, 1) == 50.0
    assert tried("cases:", coverage=True).coverage.percent == 0.0
    assert tried("cases:").coverage is None


LIMITED = b"""\
rules:
  - name: two-a-minute
    on: Call
    limit: {key: app, rate: 2/m, otherwise: {deny: {code: 306, message: Too many}}}
  - name: one-at-a-time
    on: Hangup
    limit: {concurrency: 1}
  - {name: all, on: command, allow: true}
"""
LIMITS = """
given: {command: Call, app: crm, with: {Dialed: "1001"}}
cases:
  - name: two a minute
    steps:
      - {expect: {verdict: allow, limited: []}, repeat: 2}
      - {expect: {verdict: deny, reason: limit, limited: two-a-minute, answer: {code: 306, message: Too many}}}
      - {given: {app: shop}, expect: allow}
      - {expect: deny, after: 10s}
      - {expect: allow, after: 1m}
  - name: every case begins anew
    expect: allow
    repeat: 2
  - name: one at a time
    given: {command: Hangup, with: {CallId: "7"}}
    steps:
      - {expect: allow, repeat: 3}
      - {given: {hold: true}, expect: allow}
      - {expect: {verdict: deny, rules: one-at-a-time}}
"""


def test_limits_count_within_a_case_and_exchanges_can_go_on(settings):
    policy = compile_policy([Source("rules/all.yaml", LIMITED)], policy_context(settings))
    report = run([Source("a.test.yaml", LIMITS.encode())], policy, settings, coverage=True)
    assert [list(map(str, result.differences)) for result in report.results] == [[], [], []], report.problems
    assert report.coverage.percent == 100.0
    assert [rule.conditions[0].expects for rule in report.coverage.rules if rule.conditions] == ["the limit"] * 2
    some = run(
        [Source("a.test.yaml", LIMITS.encode())],
        policy,
        settings,
        coverage=True,
        selected=lambda each: "anew" in each.name,
    )
    assert some.coverage.rules[0].missing == ("never failed: the limit",)


def test_verbs_are_judged_as_the_firewall_judges_an_answer(settings):
    rules = b"""
rules:
  - {name: shout, on: Speak, rewrite: {set: {Text: "{{Text}}!"}}}
  - {name: all, on: verb, when: {app: shop}, allow: true}
"""
    ground = replace(settings, defaults={**settings.defaults, Kind.VERB: Verdict.ALLOW})
    policy = compile_policy([Source("rules/all.yaml", rules)], policy_context(ground))
    text = """
given: {app: crm}
cases:
  - {name: a, given: {verb: Speak, with: {Text: hello}}, expect: {verdict: allow, parameters: {Text: hello!}}}
  - {name: b, given: {verb: DeleteFile, with: {SourceFile: x}}, expect: {reason: dangerous_verb, answer: []}}
  - {name: c, given: {verb: DeleteFile, app: shop, with: {SourceFile: x}}, expect: {verdict: allow, rules: all}}
  - {name: d, given: {verb: Hangup}, expect: {verdict: allow, reason: default}}
"""
    report = run([Source("a.test.yaml", text.encode())], policy, ground, coverage=True)
    assert report.problems == ()
    assert [list(map(str, result.differences)) for result in report.results] == [[], [], [], []]


def test_copies_and_defaults_in_shadow_can_be_expected(settings):
    rules = b"rules: [{name: copy, on: command:Hangup, mirror: pbx-marketing}, {name: all, on: command, allow: true}]"
    policy = compile_policy([Source("rules/all.yaml", rules)], policy_context(settings))
    text = """
cases:
  - {name: a, given: {command: Hangup, app: crm}, expect: {mirrors: pbx-marketing, shadow: []}}
  - {name: b, given: {command: Call, app: crm}, expect: {mirrors: []}}
  - {name: c, given: {command: Call, app: crm}, expect: {mirrors: [pbx-main], shadow: "default: deny"}}
"""
    report = run([Source("a.test.yaml", text.encode())], policy, settings)
    assert [list(map(str, result.differences)) for result in report.results] == [
        [],
        [],
        ["shadow: expected default: deny, is none", "mirrors: expected pbx-main, is none"],
    ]


def test_a_sample_is_chosen_by_the_exchange(settings):
    rules = b"rules: [{name: some, on: Hangup, when: {sample: 50%}, deny: true}, {name: all, on: command, allow: true}]"
    policy = compile_policy([Source("rules/all.yaml", rules)], policy_context(settings))
    text = "cases:\n" + "\n".join(
        f"  - {{name: c{at}, given: {{command: Hangup, app: crm, exchange: e-{at}}}, expect: deny}}" for at in range(40)
    )
    report = run([Source("a.test.yaml", text.encode())], policy, settings)
    assert 5 < len(report.failed) < 35


def test_cases_can_be_chosen(tried):
    text = CALL + "    expect: allow\n" + CALL.partition("\n")[2].replace("one", "two") + "    expect: deny\n"
    assert [result.name for result in tried(text, selected=lambda case: case.name == "two").results] == ["two"]


def test_a_scenario_is_left_out_where_nobody_plays_it(tried):
    text = "cases:\n  - {name: day, scenario: day.yaml, expect: {rules: [shown, calls], shadow: trial}}\n"
    (result,) = tried(text).results
    assert (result.passed, result.left_out) == (False, "a scenario is not played here")
    assert tried(text).ok


def test_a_scenario_should_have_made_the_rules_act(tried, differences, settings, policy):
    def message(number):
        parameters = (("Dialed", number),)
        return Rehearsal(settings, policy).send(
            Message(kind=Kind.COMMAND, name="Call", app="crm", parameters=parameters)
        )

    text = "cases:\n  - {name: day, scenario: day.yaml, expect: {rules: [shown, calls], shadow: trial}}\n"
    messages = (message("+36201234567"), message("1001"))
    seen = []

    def play(case):
        seen.append(case.scenario)
        return Played("", messages)

    report = tried(text, play=play, coverage=True)
    assert (report.ok, seen) == (True, ["day.yaml"])
    assert {rule.name for rule in report.coverage.rules if rule.acted} == {"shown", "trial", "calls"}
    assert differences(text, play=lambda _: Played("somebody hears nothing", messages[:1])) == [
        "scenario: expected to be played to its end, is somebody hears nothing",
        "shadow: expected trial, is without trial",
    ]


def test_cases_run_beside_an_event_loop_in_any_thread(tried):
    threads = set()

    async def main():
        def work():
            threads.add(threading.current_thread())
            return tried(CALL + "    expect: allow\n")

        return await asyncio.gather(asyncio.to_thread(work), asyncio.to_thread(work))

    assert all(report.ok for report in asyncio.run(main()))
    assert threading.main_thread() not in threads


CALLS = b"""
rules:
  - {name: answered, on: [Hold, "verb:Speak"], when: {call: {owned: true, state: connected}}, tag: answered}
  - {name: all, on: "*", allow: true}
"""
OF_CALLS = """
given: {app: crm}
cases:
  - name: what is given with a message
    given: {command: Hold, call: {owned: true, state: connected, direction: outgoing}, with: {CallId: "7"}}
    expect: {rules: [answered, all]}
  - name: a call of its own that is held
    given: {command: Hold, call: {owned: true, state: held}, with: {CallId: "7"}}
    expect: {rules: [all]}
  - name: a verb
    given: {verb: Speak, call: {owned: yes, state: connected}, with: {text: hello}}
    expect: {rules: [answered, all]}
  - name: what the messages before it have told
    steps:
      - {given: {command: Hold, with: {CallId: "7"}}, expect: {rules: [all]}}
      - {given: {notification: CallConnected, with: {CallId: "7"}}, expect: {rules: [all]}}
      - {given: {command: Hold, with: {CallId: "7"}}, expect: {rules: [answered, all]}}
      - {given: {command: Hold, with: {CallId: "8"}}, expect: {rules: [all]}}
  - name: every case begins anew
    given: {command: Hold, with: {CallId: "7"}}
    expect: {rules: [all]}
"""


def test_how_a_call_stands_is_given_or_told_by_messages_before(settings):
    policy = compile_policy([Source("rules/all.yaml", CALLS)], policy_context(settings))
    report = run([Source("a.test.yaml", OF_CALLS.encode())], policy, settings, coverage=True)
    assert [list(map(str, result.differences)) for result in report.results] == [[]] * 5, report.problems
    assert report.coverage.percent == 100.0


@pytest.mark.parametrize("came", ["Dialed", "Dialled"])
@pytest.mark.parametrize("expected", ["Dialed", "Dialled"])
def test_a_parameter_is_expected_by_either_of_its_spellings(settings, came, expected):
    rules = b"rules: [{name: it, on: Call, rewrite: {set: {Dialled: '1002'}}, allow: true}]"
    policy = compile_policy([Source("rules/it.yaml", rules)], policy_context(settings))
    text = f"""
cases:
  - name: one
    given: {{command: Call, app: crm, with: {{{came}: "1001"}}}}
    expect: {{parameters: {{{expected}: "1002"}}}}
"""
    report = run([Source("rules/it.test.yaml", text.encode())], policy, settings)
    assert report.problems == ()
    assert [str(each) for result in report.results for each in result.differences] == []
