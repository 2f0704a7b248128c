"""With the reader of numbers that runs: no text means a number that the space has no place for."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import SUPPORTED_REGIONS

from interceptor.policy import Source, compile_policy
from interceptor.policy.analysis.space import Space
from interceptor.policy.readings import Readings
from interceptor.values import Facts, Kind
from interceptor.wire.numbers import NumberReader, emergency_numbers
from tests.policy.conftest import CONTEXT

WHEN = """rules:
  - name: it
    on: Call
    when:
      any:
        - number: {class: [premium, mobile], country: [HU, DE]}
        - number: {prefix: ["+36", "+3690", "+49", "1", "+88"], type: [mobile, short], length: "4..12"}
        - number: ["112", "+3612345678", "1001", "+4915112345678", "06901234567"]
        - number: {class: [emergency, internal]}
        - caller: {class: satellite, country: US}
    deny: true
"""
digits = st.text(alphabet="0123456789", min_size=1, max_size=20)
beginnings = st.sampled_from(
    ("", "+", "00", "0", "06", "+36", "0036", "+3690", "+49", "+1", "+88", "011", "1", "11", "x")
)
texts = st.one_of(st.tuples(beginnings, digits).map("".join), st.text(max_size=12))


def context_of(country, *extensions):
    return msgspec.structs.replace(
        CONTEXT,
        number=NumberReader(country, extensions).read,
        country=country,
        extensions=extensions,
        emergency=emergency_numbers(country),
    )


HUNGARY = context_of("HU", "1xxx", "2xxx")


@pytest.fixture(scope="module", params=["HU", "US", "DE"])
def country(request):
    return context_of(request.param, "1xxx", "2xxx", "77")


@pytest.fixture(scope="module")
def told_apart(country):
    (rule,) = compile_policy([Source("p.yaml", WHEN.encode())], country).rules
    return rule, Space([rule.when], [rule.names], country, 100_000)


@given(data=st.data())
def test_every_text_has_a_place_where_the_conditions_hold_that_hold_for_it(country, told_apart, data):
    rule, space = told_apart
    node, test = space.set_of(rule.when), rule.when.test(Readings())
    for text in data.draw(st.lists(texts, min_size=20, max_size=40)):
        facts = Facts(Kind.COMMAND, "Call", "crm", "", country.number(text), country.number(text), {}, {}, 1.7e9)
        point = space.point(facts)
        assert space.diagrams.holds(space.universe, point), text
        assert space.diagrams.holds(node, point) == test(facts)


@pytest.mark.parametrize(
    "when",
    [
        "{prefix: '+3690', class: premium}",
        "{prefix: '+36', class: mobile, country: HU}",
        "{class: satellite}",
        "{class: emergency}",
        "{class: internal, prefix: '2'}",
        "{country: HU, type: voip}",
        "{country: JP, class: toll_free}",
        "{class: other, prefix: '+36'}",
        "{length: 3, not: {class: emergency}}",
        "{class: shared_cost, not: {country: HU}}",
    ],
)
def test_a_number_is_found_for_what_people_write(when):
    text = f"rules:\n  - {{name: it, on: Call, when: {{number: {when}}}, deny: true}}\n"
    (rule,) = compile_policy([Source("p.yaml", text.encode())], HUNGARY).rules
    space = Space([rule.when], [rule.names], HUNGARY, 100_000)
    facts = next(space.messages(space.set_of(rule.when)))
    assert rule.when.test(Readings())(facts)


@pytest.mark.parametrize("country", ["HU", "US", "GB", "NE"])
def test_the_emergency_numbers_are_those_that_the_reader_takes_for_such(country):
    reader = NumberReader(country)
    short = [f"{number:0{length}}" for length in (2, 3, 4) for number in range(10**length)]
    known = emergency_numbers(country)
    assert {text for text in short if reader.read(text).number_class.value == "emergency"} == {*known} & {*short}
    assert all(reader.read(text).canonical == text for text in known)


def test_nearly_every_country_has_emergency_numbers():
    assert sum(bool(emergency_numbers(country)) for country in ("HU", "DE", "US", "GB", "AR", "JP", "ZA")) == 7
    assert emergency_numbers("TA") == ()
    assert "TA" in SUPPORTED_REGIONS
