"""Values out of tables: where messages go by a table, and what parameters it gives them."""

import pytest

from interceptor.policy import Source, compile_policy
from interceptor.values import Kind, ProblemsError, SetParameter, ToApp, ToCluster, ToUrl

LCR = b"prefix,cluster,app\n+36,pbx-main,crm\n+3690,,\n+49,pbx-marketing,switchboard\n"
CALLERS = b"number,shown\n1001,+3612222222\n10*,+3611111111\n1002,\n"
DESKS = b"desk,shown\nfront,1001\ncrm,1002\n"


@pytest.fixture(scope="module")
def tabled(context):
    """Compile one rule, written without its name, beside three tables."""

    def compile_rule(text):
        tables = {"lcr": LCR, "callers": CALLERS, "desks": DESKS}
        sources = [Source(f"rules/tables/{name}.csv", data) for name, data in tables.items()]
        rules = Source("0.yaml", f"rules:\n  - name: it\n    {text}\n".encode())
        return compile_policy([*sources, rules], context)

    return compile_rule


@pytest.mark.parametrize(
    ("number", "target"),
    [
        ("+36201234567", ToCluster("pbx-main")),
        ("+4915112345678", ToCluster("pbx-marketing")),
        ("+36901234567", None),
        ("+1202555", None),
        ("1001", None),
        (None, None),
    ],
)
def test_the_longest_prefix_of_the_dialled_number_names_the_cluster(tabled, facts, number, target):
    policy = tabled("on: Call\n    reroute: {table: lcr, column: cluster}\n    allow: true")
    decision = policy.decide(facts(number=number))
    assert (decision.target, decision.rules) == (target, ("0.yaml:2 it",))


def test_a_table_can_be_asked_for_something_else(tabled, facts):
    policy = tabled("on: Call\n    reroute: {cluster: {table: lcr, column: cluster, by: Dialed}}\n    allow: true")
    assert policy.decide(facts(values={"Dialed": "06 20 123 4567"})).target == ToCluster("pbx-main")
    assert policy.decide(facts(number="+36201234567")).target is None


def test_a_table_names_apps_for_notifications(tabled, facts):
    policy = tabled("on: '*'\n    reroute: {app: {table: lcr, column: app, by: caller}}\n    allow: true")
    asked = {"name": "IncomingCall", "caller": "+4915112345678"}
    assert policy.decide(facts(kind=Kind.NOTIFICATION, **asked)).target == ToApp("switchboard")
    assert policy.decide(facts(caller="+4915112345678")).target is None


def test_the_first_reroute_that_finds_something_stands(context, facts):
    rules = (
        b"rules:\n"
        b"  - {name: one, on: Call, reroute: {table: lcr, column: cluster}}\n"
        b"  - {name: two, on: Call, reroute: pbx-marketing, allow: true}\n"
    )
    policy = compile_policy([Source("rules/tables/lcr.csv", LCR), Source("0.yaml", rules)], context)
    assert policy.decide(facts(number="+36201234567")).target == ToCluster("pbx-main")
    assert policy.decide(facts(number="1001")).target == ToCluster("pbx-marketing")


@pytest.mark.parametrize(
    ("written", "given", "changes"),
    [
        ("{table: callers, column: shown}", {"caller": "1001"}, (SetParameter("CallerId", "+3612222222"),)),
        ("{table: callers, column: shown}", {"caller": "1009"}, (SetParameter("CallerId", "+3611111111"),)),
        ("{table: callers, column: shown}", {"caller": "1002"}, ()),
        ("{table: callers, column: shown}", {"caller": "2001"}, ()),
        ("{table: callers, column: shown}", {}, ()),
        (
            "{table: callers, column: shown, by: ApiExtension}",
            {"values": {"ApiExtension": "1001"}},
            (SetParameter("CallerId", "+3612222222"),),
        ),
        ("{table: desks, column: shown, by: app}", {"app": "crm"}, (SetParameter("CallerId", "1002"),)),
        ("{table: desks, column: shown, by: other:desk}", {"values": {"desk": "front"}},
         (SetParameter("CallerId", "1001"),)),
    ],
)  # fmt: skip
def test_a_table_gives_a_parameter(tabled, facts, written, given, changes):
    policy = tabled(f"on: Call\n    rewrite: {{set: {{CallerId: {written}}}}}\n    allow: true")
    assert policy.decide(facts(**given)).changes == changes


def test_equal_words_of_a_table_are_one_decision_and_others_their_own(tabled, facts):
    policy = tabled(
        "on: Call\n    reroute: {table: lcr, column: cluster}\n"
        "    rewrite: {set: {CallerId: {table: callers, column: shown}}}\n    allow: true"
    )
    one, two, three, four = (
        policy.decide(facts(number=number, caller=caller))
        for number, caller in (
            ("+36201234567", "1001"), ("+36301234567", "1001"), ("+36201234567", "1009"), ("1001", "2001"),
        )
    )  # fmt: skip
    assert one is two
    assert (three.target, three.changes) == (ToCluster("pbx-main"), (SetParameter("CallerId", "+3611111111"),))
    assert (four.target, four.changes) == (None, ())
    assert one.changes == (SetParameter("CallerId", "+3612222222"),)


def test_more_words_than_are_remembered_are_decided_all_the_same(context, facts):
    rows = b"".join(b"+3620%07d,+361%07d\n" % (row, row) for row in range(20_000))
    rules = (
        b"rules:\n  - {name: it, on: Call, rewrite: {set: {CallerId: {table: t, column: c, by: number}}}, allow: true}"
    )
    policy = compile_policy([Source("rules/tables/t.csv", b"number,c\n" + rows), Source("0.yaml", rules)], context)
    for row in (*range(20_000), *range(0, 20_000, 999)):
        decision = policy.decide(facts(number=f"+3620{row:07}"))
        assert decision.changes == (SetParameter("CallerId", f"+361{row:07}"),)


@pytest.mark.parametrize(
    ("action", "problem"),
    [
        ("reroute: {table: lrc, column: cluster}", "4:22: unknown table `lrc`, did you mean `lcr`?"),
        (
            "reroute: {table: xyzzy, column: cluster}",
            "4:22: unknown table `xyzzy`; tables are files in a folder `tables` below the rules folder",
        ),
        ("reroute: {table: [lcr], column: cluster}", "4:22: `table` of `reroute` should be text, here is a list"),
        ("reroute: {table: lcr}", "4:14: `reroute` has no `column`"),
        ("reroute: {column: cluster}", "4:14: `reroute` has no `table`"),
        (
            "reroute: {table: lcr, column: clutser}",
            "4:35: the table `lcr` has no column `clutser`, did you mean `cluster`?",
        ),
        (
            "reroute: {table: lcr, column: x}",
            "4:35: the table `lcr` has no column `x`, it has `cluster`, `app`",
        ),
        ("reroute: {table: lcr, colum: cluster, column: cluster}",
         "4:27: unknown key `colum` in `reroute`, did you mean `column`?"),
        ("reroute: {table: lcr, column: app}", "4:35: unknown cluster `crm` at `+36*` of table `lcr`"),
        (
            "reroute: {table: lcr, column: cluster, by: app}",
            "4:48: the table `lcr` holds numbers, `app` is none",
        ),
        (
            "reroute: {table: lcr, column: cluster, by: nubmer}",
            "4:48: `by` of `reroute` names nothing that a message has, did you mean `number`?",
        ),
        ("reroute: {cluster: {table: callers, column: shown}}",
         "4:49: unknown cluster `+3611111111` at `10*` of table `callers`"),
        ("rewrite: {set: {command: {table: lcr, column: app}}}",
         "4:21: `command` names the message and cannot be rewritten"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_where_it_stands(tabled, action, problem):
    with pytest.raises(ProblemsError) as caught:
        tabled(f"on: Call\n    {action}")
    assert [str(each).partition(":")[2] for each in caught.value.problems] == [problem]


def test_apps_named_in_a_column_are_checked(tabled):
    with pytest.raises(ProblemsError) as caught:
        tabled("on: IncomingCall\n    reroute: {app: {table: lcr, column: cluster}}")
    (problem,) = caught.value.problems
    assert str(problem) == "0.yaml:4:41: unknown app `pbx-main` at `+36*` of table `lcr`"


def test_an_address_takes_values_in_its_query_only(rule, facts):
    policy = rule("on: IncomingCall\n    reroute: {url: 'http://10.0.0.9:8001/pbx?of={{caller}}&x=1'}")
    asked = facts(kind=Kind.NOTIFICATION, name="IncomingCall", caller="+36201234567")
    assert policy.decide(asked).target == ToUrl("http://10.0.0.9:8001/pbx?of=%2B36201234567&x=1")
