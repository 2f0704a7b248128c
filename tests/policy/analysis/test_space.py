"""The laws of the space: every message has a point, conditions hold exactly there, messages made are what was asked."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.policy.analysis.diagrams import NONE
from interceptor.policy.analysis.space import Space
from interceptor.policy.names import ANY
from interceptor.policy.readings import Readings
from interceptor.values import Facts, Kind
from tests.policy import test_properties as written

NAMES = ("Call", "Hangup", "SendSms", "Route", "call", "Foo", "FOO", "Unheard", "")


@pytest.fixture(scope="module")
def messages(world):
    number = st.sampled_from(written.NUMBERS).map(lambda text: None if text == "" else world.number(text))
    return st.builds(
        Facts,
        kind=st.sampled_from(Kind),
        name=st.sampled_from(NAMES),
        app=st.sampled_from(written.APPS),
        source=st.sampled_from(written.SOURCES),
        number=number,
        caller=number,
        values=st.dictionaries(st.sampled_from(("foo", "bar")), st.sampled_from(written.TEXTS)),
        headers=st.dictionaries(st.just("x-tenant"), st.sampled_from(written.TEXTS)),
        exchange=st.sampled_from(("e1", "e2", "e3", "")),
        at=st.integers(0, 14 * 24).map(lambda hours: 1_731_600_000.0 + hours * 3600),  # November 2024
    )


@pytest.mark.timeout(180)  # a hundred conditions, each asked of a whole world of messages
@given(data=st.data())
def test_a_condition_holds_where_its_set_is_and_what_is_made_of_the_set_fits_it(data, world, messages):
    policy = written.compiled(data.draw(written.rules), world)
    space = Space([rule.when for rule in policy.rules], [rule.names for rule in policy.rules], world, 1_000_000)
    diagrams, readings = space.diagrams, Readings()
    tests = [None if rule.when is None else rule.when.test(readings) for rule in policy.rules]
    sets = [space.set_of(rule.when) for rule in policy.rules]
    for test, messages_of in zip(tests, sets, strict=True):
        for facts in space.messages(messages_of):
            assert test is None or test(facts)
    for facts in data.draw(st.lists(messages, min_size=1, max_size=6)):
        point = space.point(facts)
        assert point is not None
        if facts.app or facts.kind is Kind.NOTIFICATION:  # others are refused before the rules are asked
            assert diagrams.holds(space.universe, point)
        for rule, test, messages_of in zip(policy.rules, tests, sets, strict=True):
            assert diagrams.holds(messages_of, point) == (test is None or test(facts))
            names = {name.lower() for name in rule.names.get(facts.kind, ())}
            named = ANY in names or facts.name.lower() in names
            assert diagrams.holds(space.names(rule.names, facts.kind), point) == named


masks = st.integers(0, 2**4 - 1)


@st.composite
def sets_of_points(draw, diagrams):
    """A set over three dimensions of four values, and the points in it."""
    boxes = draw(st.lists(st.tuples(masks, masks, masks), max_size=4))
    node, points = NONE, set()
    for one, two, three in boxes:
        inside = diagrams.only(0, one, diagrams.only(1, two, diagrams.only(2, three)))
        node = diagrams.either(node, inside)
        points |= {
            (a, b, c)
            for a in range(4)
            for b in range(4)
            for c in range(4)
            if one >> a & 1 and two >> b & 1 and three >> c & 1
        }
    return node, points


@settings(max_examples=min(settings().max_examples, 2_000))
@given(data=st.data())
def test_diagrams_do_what_sets_do(data):
    from interceptor.policy.analysis.diagrams import Diagrams

    diagrams = Diagrams((4, 4, 4), 1_000_000)
    (one, first), (two, second) = data.draw(sets_of_points(diagrams)), data.draw(sets_of_points(diagrams))
    every = {(a, b, c) for a in range(4) for b in range(4) for c in range(4)}

    def points(node):
        return {point for point in every if diagrams.holds(node, {level: 1 << at for level, at in enumerate(point)})}

    assert points(diagrams.both(one, two)) == first & second
    assert points(diagrams.either(one, two)) == first | second
    assert points(diagrams.without(one, two)) == first - second
    assert points(diagrams.other(one)) == every - first
    assert diagrams.within(one, two) == (first <= second)
    assert (one == two) == (first == second)
    boxes = [
        {(a, b, c) for a, b, c in every if all(box.get(level, 15) >> at & 1 for level, at in enumerate((a, b, c)))}
        for box in diagrams.boxes(one)
    ]
    assert set().union(*boxes) == first
    assert sum(map(len, boxes)) == len(first)
    support = diagrams.support(one)
    assert all(support.get(level, 15) >> at & 1 for point in first for level, at in enumerate(point))
