"""### Tests on numbers

Numbers are compared in their canonical form: international (`+36201234567`) for public numbers, the digits alone for
extensions and emergency numbers. So `06 20 123 4567`, `0036201234567` and `+36201234567` are one number, in the rule
and in the message. A plain value or a list means *is this number*, `exact` the same; beside it:

| test | holds when the number |
| --- | --- |
| `prefix` | begins with this, in canonical form: `+3620`, or `10` for the extensions 1000 to 1099 |
| `class` | is `emergency`, `premium`, `satellite`, `shared_cost`, `toll_free`, `mobile`, `fixed`, `internal`, `other` |
| `country` | belongs to this country: `HU`, `DE`, … |
| `type` | is in the number plan `fixed_line`, `mobile`, `fixed_line_or_mobile` (where the plan cannot tell), `toll_free`, `premium_rate`, `shared_cost`, `voip`, `personal_number`, `pager`, `uan`, `voicemail`; or `short`, `emergency`, `extension`, `unknown` |
| `length` | has so many digits, the plus aside: `4`, `3..6`, `12..` (at least), `..6` (at most) |
| `table` | stands in this table, or begins with an entry that stands for beginnings; with `column` and `is`: in a row that has this value, or one of a list, in that column |
| `exists` | `true`: the message has such a number at all; `false`: it has none |
| `not`, `any`, `all` | see above |

What is not one clean number (`sip:+36201234567@trunk`, a digit too many, a variable of the PBX such as `$item`) keeps
its text, and is `other`, or of the class of the costliest number inside it if that is `premium`, `satellite` or
`shared_cost`. No test on the number itself holds for it. So a policy that denies some numbers and allows the rest has a
hole there: it should allow by class, as the shipped rules do, or deny `class: other`, too.

    when:
      number: {class: [mobile, fixed], country: HU, not: {prefix: "+3690"}}
      caller: {table: customers, column: tier, is: [gold, platinum]}
"""  # noqa: D400, D415, E501 - a page of the manual

import re
from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any, Final, Literal

from msgspec import Struct
from phonenumbers import SUPPORTED_REGIONS

from interceptor import document
from interceptor.document import Fields, Node, Text
from interceptor.policy.condition import (
    Condition,
    Not,
    Offer,
    Positions,
    Probe,
    Test,
    any_word,
    either,
    membership,
    quoted,
)
from interceptor.policy.grammar import Grammar, Reading
from interceptor.policy.members import KEYS, KeyOf, Rows, read_rows, rows_shape, table_lookup
from interceptor.policy.readings import Readings
from interceptor.policy.shapes import TEXT, TRUTH, Shape, Shapes, one_of
from interceptor.policy.spans import Span, any_span, read_spans
from interceptor.policy.texts import by_length, shortest
from interceptor.values import Facts, Number, NumberClass, NumberType

Party = Literal["number", "caller"]
By = Literal["exact", "prefix", "country", "class", "type", "length"]
_RANKS: Final[dict[By, int]] = {"exact": 1, "prefix": 4, "country": 8, "class": 9, "type": 11, "length": 13}
_LONGEST_FILED: Final = 20  # numbers are shorter; an index by length has no room for spans that go beyond
_PREFIX: Final = re.compile(r"\+?[0-9*#]+")
_COUNTRIES: Final = frozenset(SUPPORTED_REGIONS)
_CLASSES: Final = tuple(number_class.value for number_class in NumberClass)
_TYPES: Final = tuple(number_type.value for number_type in NumberType)


_ATTRIBUTES: Final[dict[By, str]] = {
    "exact": "canonical",
    "country": "country",
    "class": "number_class",
    "type": "number_type",
}


def length_of(number: Number) -> int:
    """How many characters the canonical form has, the plus aside."""
    canonical = number.canonical
    return len(canonical) - (canonical[:1] == "+")


class NumberLookup(Struct, frozen=True, gc=False):
    """Rules by the number dialled, or by the caller's."""

    party: Party
    by: By

    @property
    def rank(self) -> int:
        return _RANKS[self.by] + (self.party == "caller")

    def probe(self, table: Mapping[Any, Positions], readings: Readings) -> Probe:
        number_of = attrgetter(self.party)
        if self.by == "prefix":
            return _prefix_probe(by_length(table), number_of, readings)
        attribute = length_of if self.by == "length" else attrgetter(_ATTRIBUTES[self.by])

        def find(facts: Facts, hits: list[int]) -> None:
            number = number_of(facts)
            if number is not None:
                found = table.get(attribute(number))
                if found is not None:
                    hits.extend(found)

        return find


def _prefix_probe(
    lengths: tuple[tuple[int, dict[str, Positions]], ...],
    number_of: Callable[[Facts], Number | None],
    readings: Readings,
) -> Probe:
    def begins(canonical: str) -> Positions:
        return tuple(at for length, prefixes in lengths for at in prefixes.get(canonical[:length], ()))

    look = readings.remembering(begins)

    def find(facts: Facts, hits: list[int]) -> None:
        number = number_of(facts)
        if number is not None:
            found = look(number.canonical)
            if found:
                hits.extend(found)

    return find


class NumberIn(Struct, frozen=True, gc=False):
    """The number is one of ``numbers``, in canonical form."""

    party: Party
    numbers: tuple[str, ...]

    def test(self, _readings: Readings) -> Test:
        numbers = membership(self.numbers)
        if self.party == "caller":
            return lambda facts: (number := facts.caller) is not None and number.canonical in numbers
        return lambda facts: (number := facts.number) is not None and number.canonical in numbers

    def offer(self) -> Offer | None:
        lookup = NumberLookup(self.party, "exact")
        return Offer(tuple((lookup, number) for number in self.numbers))

    def expects(self) -> str:
        return f"{self.party} {any_word(self.numbers)}"

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return told_number(facts, self.party)


class NumberStarts(Struct, frozen=True, gc=False):
    """The number begins with one of ``prefixes``."""

    party: Party
    prefixes: tuple[str, ...]

    def test(self, _readings: Readings) -> Test:
        prefixes = self.prefixes
        if self.party == "caller":
            return lambda facts: (number := facts.caller) is not None and number.canonical.startswith(prefixes)
        return lambda facts: (number := facts.number) is not None and number.canonical.startswith(prefixes)

    def offer(self) -> Offer | None:
        lookup = NumberLookup(self.party, "prefix")
        return Offer(tuple((lookup, prefix) for prefix in self.prefixes))

    def expects(self) -> str:
        return f"{self.party} prefix {any_word(self.prefixes)}"

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return told_number(facts, self.party)


class NumberClassIn(Struct, frozen=True):
    """The number is of one of ``classes``."""

    party: Party
    classes: tuple[NumberClass, ...]

    def test(self, _readings: Readings) -> Test:
        classes = self.classes
        if self.party == "caller":
            return lambda facts: (number := facts.caller) is not None and number.number_class in classes
        return lambda facts: (number := facts.number) is not None and number.number_class in classes

    def offer(self) -> Offer | None:
        lookup = NumberLookup(self.party, "class")
        return Offer(tuple((lookup, number_class) for number_class in self.classes))

    def expects(self) -> str:
        return f"{self.party} class {any_word([each.value for each in self.classes])}"

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return told_number(facts, self.party)


class NumberCountryIn(Struct, frozen=True):
    """The number belongs to one of ``countries``."""

    party: Party
    countries: tuple[str, ...]

    def test(self, _readings: Readings) -> Test:
        countries = membership(self.countries)
        if self.party == "caller":
            return lambda facts: (number := facts.caller) is not None and number.country in countries
        return lambda facts: (number := facts.number) is not None and number.country in countries

    def offer(self) -> Offer | None:
        lookup = NumberLookup(self.party, "country")
        return Offer(tuple((lookup, country) for country in self.countries))

    def expects(self) -> str:
        return f"{self.party} country {any_word(self.countries)}"

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return told_number(facts, self.party, lambda number: number.country or "no country")


class NumberTypeIn(Struct, frozen=True):
    """The number is of one of ``types``."""

    party: Party
    types: tuple[NumberType, ...]

    def test(self, _readings: Readings) -> Test:
        types = self.types
        if self.party == "caller":
            return lambda facts: (number := facts.caller) is not None and number.number_type in types
        return lambda facts: (number := facts.number) is not None and number.number_type in types

    def offer(self) -> Offer | None:
        lookup = NumberLookup(self.party, "type")
        return Offer(tuple((lookup, number_type) for number_type in self.types))

    def expects(self) -> str:
        return f"{self.party} type {any_word([each.value for each in self.types])}"

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return told_number(facts, self.party, lambda number: number.number_type.value)


class NumberLength(Struct, frozen=True):
    """The length of the number lies in one of ``spans``."""

    party: Party
    spans: tuple[Span, ...]

    def test(self, _readings: Readings) -> Test:
        spans = self.spans
        number_of = attrgetter(self.party)

        def fits(facts: Facts) -> bool:
            number = number_of(facts)
            if number is None:
                return False
            length = length_of(number)
            return any(span.holds(length) for span in spans)

        return fits

    def offer(self) -> Offer | None:
        if any(span.most is None or span.most > _LONGEST_FILED for span in self.spans):
            return None
        lookup = NumberLookup(self.party, "length")
        lengths = (length for length in range(_LONGEST_FILED + 1) if any(span.holds(length) for span in self.spans))
        return Offer(tuple((lookup, length) for length in lengths))

    def expects(self) -> str:
        return f"{self.party} length {any_span(self.spans)}"

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return told_number(facts, self.party, lambda number: f"length {length_of(number)}")


class NumberInTable(Struct, frozen=True):
    """The number leads to one of ``rows`` of a table: itself, or the longest of its beginnings that stands there."""

    party: Party
    rows: Rows

    def test(self, _readings: Readings) -> Test:
        hold = self.rows.hold
        if self.party == "caller":
            return lambda facts: (number := facts.caller) is not None and hold(number.canonical)
        return lambda facts: (number := facts.number) is not None and hold(number.canonical)

    def offer(self) -> Offer | None:
        lookup = table_lookup(self.party, self.rows, _KEYS_OF[self.party])
        return Offer(tuple((lookup, key) for key in self.rows.found_by()))

    def expects(self) -> str:
        return f"{self.party} {self.rows.expects()}"

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return told_number(facts, self.party, lambda number: self.rows.seen(number.canonical))


def _canonical_number(facts: Facts) -> str | None:
    return None if facts.number is None else facts.number.canonical


def _canonical_caller(facts: Facts) -> str | None:
    return None if facts.caller is None else facts.caller.canonical


_KEYS_OF: Final[dict[Party, KeyOf]] = {"number": _canonical_number, "caller": _canonical_caller}


class NumberExists(Struct, frozen=True):
    """The message has such a number."""

    party: Party

    def test(self, _readings: Readings) -> Test:
        if self.party == "caller":
            return lambda facts: facts.caller is not None
        return lambda facts: facts.number is not None

    def offer(self) -> Offer | None:
        return None

    def expects(self) -> str:
        return f"a {self.party}"

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return told_number(facts, self.party)


def told_number(facts: Facts, party: Party, beside: Callable[[Number], str] | None = None) -> str:
    """One of the two numbers of a message, with something ``beside`` it: its class, where nothing else is asked for."""
    number = facts.caller if party == "caller" else facts.number
    if number is None:
        return f"no {party}"
    canonical = (
        number.canonical if number.canonical.isalnum() or number.canonical[:1] == "+" else quoted(number.canonical)
    )
    return f"{canonical} ({number.number_class.value if beside is None else beside(number)})"


def read_number_test(node: Node, reading: Reading, party: Party, *, classes: bool = True) -> Condition | None:
    """The tests on one of the two numbers of a message; without ``classes`` all but that on its class."""
    return _grammar(party, classes).read(node, reading)


@cache
def _grammar(party: Party, classes: bool) -> Grammar:
    what = f"`{party}`"

    def exact(nodes: tuple[Text, ...], reading: Reading) -> Condition | None:
        numbers = [_number(entry, reading, what) for entry in nodes]
        return NumberIn(party, tuple(dict.fromkeys(number for number in numbers if number is not None)))

    def prefix(nodes: tuple[Text, ...], reading: Reading) -> Condition | None:
        return NumberStarts(party, shortest(tuple(_prefix(entry, reading, what) for entry in nodes)))

    def number_class(nodes: tuple[Text, ...], reading: Reading) -> Condition | None:
        words = [document.one_of(entry, _CLASSES, reading.problems, "number class") for entry in nodes]
        return NumberClassIn(party, tuple(NumberClass(word) for word in dict.fromkeys(words) if word is not None))

    def number_type(nodes: tuple[Text, ...], reading: Reading) -> Condition | None:
        words = [document.one_of(entry, _TYPES, reading.problems, "number type") for entry in nodes]
        return NumberTypeIn(party, tuple(NumberType(word) for word in dict.fromkeys(words) if word is not None))

    def length(nodes: tuple[Text, ...], reading: Reading) -> Condition | None:
        spans = read_spans(nodes, reading, f"`length` of {what}", counts=True)
        return NumberLength(party, spans) if spans else None

    def country(nodes: tuple[Text, ...], reading: Reading) -> Condition | None:
        return NumberCountryIn(party, tuple(dict.fromkeys(_country(entry, reading) for entry in nodes)))

    def exists(nodes: tuple[Text, ...], reading: Reading) -> Condition | None:
        there = document.boolean(nodes[0], reading.problems, f"`exists` of {what}")
        return NumberExists(party) if there else Not(NumberExists(party))

    def table(node: Fields, reading: Reading) -> Condition | None:
        rows = read_rows(node, reading, what, numbers=True)
        return either(tuple(NumberInTable(party, each) for each in rows)) if rows else None

    readers = {
        "exact": exact,
        "prefix": prefix,
        **({"class": number_class} if classes else {}),
        "country": country,
        "type": number_type,
        "length": length,
        "exists": exists,
        **dict.fromkeys(KEYS, exact),  # read by ``table``, together
    }
    tests = {
        name: Grammar(f"`{name}` of {what}", reader, {}, plain=name != "exists").read
        for name, reader in readers.items()
    }
    return Grammar(what, exact, tests, table, together=KEYS)


def _number(node: Text, reading: Reading, what: str) -> str | None:
    if not any(character.isdigit() for character in node.value):
        hint = document.nearest(node.value, _CLASSES).replace("`?", "` of `class`?")
        reading.problems.add(
            node.place, f"{what} should be a number, here is `{node.value}`{hint}", "not_a_phone_number"
        )
        return None
    return reading.context.canonical(node.value)


def _prefix(node: Text, reading: Reading, what: str) -> str:
    prefix = re.sub(r"[\s()/.-]", "", node.value)
    if not _PREFIX.fullmatch(prefix):
        message = f"`prefix` of {what} should be the begin of a number, here is `{node.value}`"
        reading.problems.add(node.place, message, "not_a_prefix")
    elif prefix.startswith("0"):
        message = f"no canonical number begins with `{node.value}`; write it in international form, as in `+3620`"
        reading.problems.add(node.place, message, "national_prefix")
    return prefix


def _country(node: Text, reading: Reading) -> str:
    if node.value not in _COUNTRIES:
        upper = node.value.upper()
        hint = f", did you mean `{upper}`?" if upper in _COUNTRIES else ", it should be two letters such as `HU`"
        reading.problems.add(node.place, f"unknown country `{node.value}`{hint}", "unknown_country")
    return node.value


def number_shape(shapes: Shapes) -> Shape:
    """What can be written where numbers are tested."""
    tests = {
        "exact": TEXT,
        "prefix": TEXT,
        "class": one_of(_CLASSES),
        "country": one_of(sorted(_COUNTRIES)),
        "type": one_of(_TYPES),
        "length": TEXT,
        "exists": TRUTH,
    }
    page = __doc__ or ""
    return shapes.grammar("number", TEXT, {**shapes.tests("number", tests, page), **rows_shape(shapes, page)})
