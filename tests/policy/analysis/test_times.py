"""Moments: several clocks, clock changes and dates fall together as they do."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.policy import Source, compile_policy
from interceptor.policy.analysis import times
from interceptor.policy.analysis.space import Space
from interceptor.policy.readings import Readings
from interceptor.values import Facts, Kind

WHEN = """holidays:
  hungary: {01-01: New Year, 2026-04-06: Easter Monday, 12-24..12-26: Christmas}
rules:
  - name: it
    on: Call
    when:
      any:
        - time: {days: mon-fri, hours: "22:00-06:00"}
        - time: {days: sat, hours: "09:00-18:00", zone: America/New_York}
        - time: {holidays: hungary, hours: "08:00-12:00"}
        - time: {dates: ["2027-03-28", "2035-05-05..2035-05-07", 02-29], zone: Asia/Kolkata}
    deny: true
"""


@pytest.fixture(scope="module")
def space(world):
    (rule,) = compile_policy([Source("p.yaml", WHEN.encode())], world).rules
    return Space([rule.when], [rule.names], world, 100_000), rule.when


def at(*when, zone="Europe/Budapest"):
    return datetime(*when, tzinfo=ZoneInfo(zone)).timestamp()


@given(
    instant=st.one_of(
        st.integers(int(at(2024, 1, 2)), int(at(2031, 12, 20))),
        st.integers(int(at(2026, 3, 28)), int(at(2026, 3, 30))),
        st.integers(int(at(2026, 4, 5)), int(at(2026, 4, 8))),
        st.integers(int(at(2035, 5, 4)), int(at(2035, 5, 8))),
        st.integers(int(at(2028, 2, 28)), int(at(2028, 3, 1))),
    )
)
def test_every_instant_has_a_moment_at_which_the_same_holds(space, instant):
    made, when = space
    facts = Facts(Kind.COMMAND, "Call", "crm", "", None, None, {}, {}, float(instant))
    assert made.diagrams.holds(made.set_of(when), made.point(facts)) == when.test(Readings())(facts)


def test_what_two_clocks_show_never_falls_together(world):
    text = """rules:
  - {name: both, on: Call, when: {time: {hours: "12:00-13:00"}, all: [{time: {hours: "12:00-13:00", zone: Asia/Tokyo}}]}, deny: true}
  - {name: some, on: Call, when: {time: {hours: "12:00-13:00"}, all: [{time: {hours: "20:00-21:00", zone: Asia/Tokyo}}]}, deny: true}
  - {name: more, on: Call, when: {time: {hours: "12:00-13:00"}, all: [{time: {hours: "19:00-20:00", zone: Asia/Tokyo}}]}, deny: true}
"""  # noqa: E501 - a rule a line
    rules = compile_policy([Source("p.yaml", text.encode())], world).rules
    space = Space([rule.when for rule in rules], [rule.names for rule in rules], world, 100_000)
    assert [bool(list(space.messages(space.set_of(rule.when)))) for rule in rules] == [False, True, True]


def test_the_years_are_gone_through_once_for_times_that_are_written_alike(world):
    one, two = (compile_policy([Source(name, WHEN.encode())], world).rules[0] for name in ("p.yaml", "q.yaml"))
    found = [times.moments_of((rule.when,), "Europe/Budapest") for rule in (one, two)]
    assert found[0] is found[1]
    (other,) = compile_policy([Source("p.yaml", WHEN.replace("01-01:", "01-02:").encode())], world).rules
    assert times.moments_of((other.when,), "Europe/Budapest") is not found[0]


def test_too_many_instants_are_free_and_nothing_is_guessed(world, monkeypatch):
    monkeypatch.setattr(times, "_MOST", 10)
    others = WHEN.replace("22:00-06:00", "22:01-06:00")  # what is known of times is remembered
    (rule,) = compile_policy([Source("p.yaml", others.encode())], world).rules
    space = Space([rule.when], [rule.names], world, 100_000)
    node = space.set_of(rule.when)
    assert not space.sure(node)
    assert all(rule.when.test(Readings())(facts) for facts in space.messages(node))


def test_hours_are_told_as_they_are_written(world):
    def told(*written):
        text = "rules:\n" + "".join(
            f"  - {{name: r{index}, on: Call, when: {{time: {when}}}, deny: true}}\n"
            for index, when in enumerate(written)
        )
        rules = compile_policy([Source("p.yaml", text.encode())], world).rules
        moments = times.Moments([rule.when for rule in rules], "Europe/Budapest")
        one, *others = (moments.holds(rule.when) for rule in rules)
        for each in others:
            one &= ~each
        return moments.told(one)

    assert told("{days: mon-fri, hours: '18:00-24:00'}") == "mon-fri 18:00-24:00"
    assert told("{days: mon-fri}", "{hours: '08:00-18:00'}") == "mon-fri 00:00-08:00 and 18:00-24:00"
    assert told("{dates: 12-24}", "{hours: '08:00-18:00'}") == "on 12-24, not mon-sun 08:00-18:00"
    assert told("{dates: 12-24}", "{hours: '08:00-18:00'}", "{hours: '20:00-21:00'}").startswith("such as ")
