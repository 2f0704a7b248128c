"""The number that a message dials, and its caller's, as far as the conditions on them tell numbers apart.

A number has a region (see ``regions.py``) and features: class, country, type, length. Which features a number has is
asked of the same reader that reads it at run time. For a number that a policy names they are known. For the endless
rest of a region they are not, but for a few that cannot be: emergency numbers are a list, extensions follow the plan, a
country has its code. What is left open is settled by finding a number; where none is found, nothing is said.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from typing import Any, Final

import phonenumbers
from msgspec import Struct
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, SUPPORTED_REGIONS, PhoneNumberFormat, PhoneNumberType

from interceptor.policy.analysis.diagrams import ALL, NONE, Diagrams
from interceptor.policy.analysis.regions import ABSENT, Regions, bits
from interceptor.policy.condition import Test, any_word
from interceptor.policy.context import Context
from interceptor.policy.members import Rows
from interceptor.policy.numbers import (
    NumberClassIn,
    NumberCountryIn,
    NumberIn,
    NumberInTable,
    NumberLength,
    NumberStarts,
    NumberTypeIn,
    Party,
    length_of,
)
from interceptor.values import Facts, Kind, Number, NumberClass, NumberType

_LONGEST_SURE: Final = 16  # a plus and the fifteen digits of E.164; the class of more hangs on how it was written
_LENGTHS: Final = 65  # the last stands for this many and more
_ELSEWHERE: Final = "elsewhere"  # every country that is not asked for
_TAILS: Final = ("", "0", "1", "12", "123", "1234", "12345", "123456", "1234567", "12345678", "123456789", "1234567890")
_MOST_TRIED: Final = 400
_MOST_SCANNED: Final = 20_000  # entries of a table among which some are looked for
_MOST_LISTED: Final = 40

Position = tuple[int, tuple[int, ...]]
"""A region and features, each a single bit."""

Asked = tuple[NumberInTable, Test, bool]
"""A condition that regions do not tell, its test, and how that is to come out."""


def sure_number(canonical: str) -> bool:
    """Whether the features of a number with this canonical form do not hang on how it was written."""
    return len(canonical) <= _LONGEST_SURE


class Feature(Struct, frozen=True):
    """Something about numbers that conditions ask for: its values in order; the first is that of no number."""

    values: tuple[Any, ...]
    of: Callable[[Number], Any]

    @property
    def size(self) -> int:
        return len(self.values)

    def mask(self, values: Iterable[Any]) -> int:
        """The bits of these values."""
        wanted = set(values)
        return sum(1 << index for index, value in enumerate(self.values) if value in wanted)


def _class_of(number: Number) -> NumberClass:
    return number.number_class


def _type_of(number: Number) -> NumberType:
    return number.number_type


class PartyValues:
    """What the conditions of a policy on one party need: its regions, and the features they ask for."""

    def __init__(self, party: Party, conditions: Iterable[Any], context: Context) -> None:
        self.party: Final = party
        self._context: Final = context
        self._declared: Final = {number_class for number_class, _ in context.declared}
        values: set[str] = set()
        prefixes: set[str] = set()
        countries: set[str] = set()
        spans: set[Any] = set()
        asked: set[str] = set()
        for condition in conditions:
            match condition:
                case NumberIn():
                    values.update(condition.numbers)
                case NumberStarts():
                    prefixes.update(condition.prefixes)
                case NumberInTable():
                    for entry, begins in condition.rows.table.entries():
                        (prefixes if begins else values).add(entry)
                case NumberClassIn():
                    asked.add("class")
                case NumberCountryIn():
                    asked.add("country")
                    countries.update(condition.countries)
                case NumberTypeIn():
                    asked.add("type")
                case NumberLength():
                    asked.add("length")
                    spans.update(condition.spans)
                case _:
                    pass
        if "class" in asked:
            values.update(context.emergency or ())
        self.regions: Final = Regions(values, prefixes)
        self.features: Final = {name: self._feature(name, countries, spans) for name in sorted(asked)}
        self._found: Final[dict[tuple[int, tuple[int, ...]], Number | None]] = {}  # as many as boxes were looked into
        self._placed: Final[dict[Position, list[Number]]] = {}
        self._unplaced: Final = iter(_examples(context.country))

    def _feature(self, name: str, countries: set[str], spans: set[Any]) -> Feature:
        if name == "class":
            return Feature((None, *NumberClass), _class_of)
        if name == "type":
            return Feature((None, *NumberType), _type_of)
        if name == "country":
            return Feature(
                (None, "", *sorted(countries), _ELSEWHERE),
                lambda number: number.country if number.country in countries or not number.country else _ELSEWHERE,
            )
        # Lengths that lie in the same spans are one.
        groups: dict[tuple[bool, ...], int] = {}
        group = [groups.setdefault(tuple(span.holds(each) for span in spans), each) for each in range(_LENGTHS)]
        return Feature((None, *groups.values()), lambda number: group[min(length_of(number), _LENGTHS - 1)])

    def in_table(self, rows: Rows) -> int:
        """The regions whose numbers lead to one of these rows."""
        found = 0
        for region, (text, exact) in enumerate(self.regions.keys, 1):
            # No entry is longer than the region's own text and fits, so all that begin with it lead where this leads.
            if rows.hold(text if exact else f"{text}~"):
                found |= 1 << region
        return found

    def lengths(self, condition: NumberLength) -> int:
        """The lengths that a condition holds for."""
        feature = self.features["length"]
        return feature.mask(value for value in feature.values[1:] if any(span.holds(value) for span in condition.spans))

    def universe(self, diagrams: Diagrams, level: int) -> int:
        """The numbers that may be, over the regions at ``level`` and the features after it."""
        features = tuple(self.features.values())
        if not features:
            return ALL
        made: dict[tuple[tuple[int, ...], ...], int] = {}
        by_child: dict[int, int] = {}
        for region in range(self.regions.size):
            boxes = self._possible(region)
            child = made.get(boxes)
            if child is None:
                child = NONE
                for box in boxes:
                    inside = ALL
                    for at in reversed(range(len(features))):
                        inside = diagrams.only(level + 1 + at, box[at], inside)
                    child = diagrams.either(child, inside)
                made[boxes] = child
            by_child[child] = by_child.get(child, 0) | 1 << region
        return diagrams.branch(level, tuple((values, child) for child, values in by_child.items()))

    def _possible(self, region: int) -> tuple[tuple[int, ...], ...]:
        """Boxes of feature values that numbers of a region may have."""
        if region == 0:
            return (tuple(1 for _ in self.features),)
        text, exact = self.regions.key(region)
        if exact and sure_number(text):
            number = self._context.number(text)
            if number.canonical == text:
                return (self.position(number)[1],)
        return tuple(
            tuple(
                self._open(name, feature, text, exact=exact, internal=internal)
                for name, feature in self.features.items()
            )
            for internal in self._internal(text)
        )

    def _internal(self, text: str) -> tuple[bool | None, ...]:
        """Whether numbers that begin so may be extensions; ``None`` where that is not asked or not known."""
        plan = self._context.extensions
        if plan is None or "class" not in self.features:
            return (None,)
        fits = any(
            len(text) <= len(pattern) and all(at in ("x", "X", here) for at, here in zip(pattern, text, strict=False))
            for pattern in plan
        )
        return (False, True) if fits else (False,)

    def _open(self, name: str, feature: Feature, text: str, *, exact: bool, internal: bool | None) -> int:
        every = (1 << feature.size) - 2
        if name == "class":
            if internal:
                return feature.mask((NumberClass.INTERNAL, *self._declared))
            sure = set() if internal is None else {NumberClass.INTERNAL}
            if self._context.emergency is not None:
                sure.add(NumberClass.EMERGENCY)
            return every & ~feature.mask(sure - self._declared)
        if name == "country":
            if internal:
                return feature.mask(("",))
            possible = _countries_of(text, self._context.country)
            if possible is None:
                return every
            known = feature.values
            return feature.mask({"", *(each if each in known else _ELSEWHERE for each in possible)})
        if name == "length":
            lengths = feature.of
            least = len(text) - (text[:1] == "+")
            last = least if exact else _LENGTHS - 1
            return feature.mask({lengths(_number("1" * each)) for each in range(max(least, 0), last + 1)})
        return every

    def position(self, number: Number | None) -> Position:
        """The region of a number and its features, each a single bit."""
        if number is None:
            return ABSENT, tuple(1 for _ in self.features)
        features = tuple(1 << feature.values.index(feature.of(number)) for feature in self.features.values())
        return 1 << self.regions.of(number.canonical), features

    def told(self, regions: int, features: Sequence[int | None]) -> str:
        """Some numbers in words; ``""`` for all of them."""
        every = (1 << self.regions.size) - 1
        asked = [
            f"{name} {_feature_text(feature, values)}"
            for (name, feature), values in zip(self.features.items(), features, strict=True)
            if values is not None
        ]
        if regions == every and not asked:
            return ""
        word = "to" if self.party == "number" else "with caller"
        if regions == ABSENT:
            return "without a number" if self.party == "number" else "without a caller"
        numbers = regions & ~ABSENT
        told = "any number" if numbers == every & ~ABSENT else self.regions.told(numbers)
        none = " or none" if regions & ABSENT and not asked else ""
        return ", ".join([f"{word} {told}{none}", *asked])

    def find(self, regions: int, features: tuple[int, ...], asked: Sequence[Asked] = ()) -> Number | None:
        """A number in one of these regions with these features, for which each test comes out as ``asked``.

        ``None`` where none will do; ``LookupError`` where none was found.
        """
        place = regions, features
        if asked:
            found = self._first(regions, features, asked)
        elif place in self._found:
            found = self._found[place]
        else:
            found = self._found[place] = self._first(regions, features, ())
        if found is _NOBODY:
            raise LookupError
        return found

    def _first(self, regions: int, features: tuple[int, ...], asked: Sequence[Asked]) -> Number | None:
        listed = self._listed(regions, [test.rows for test, _, outcome in asked if outcome])
        for number in chain(listed, self._candidates(regions, features)):
            if _meets(self.position(number), regions, features):
                facts = self._facts(number)
                if all(test(facts) is outcome for _, test, outcome in asked):
                    return number
        return _NOBODY

    def _facts(self, number: Number | None) -> Facts:
        dialled, caller = (number, None) if self.party == "number" else (None, number)
        return Facts(Kind.COMMAND, "", "", "", dialled, caller, {}, {}, 0.0)

    def _listed(self, regions: int, tables: Iterable[Rows]) -> list[Number]:
        """Some numbers of these regions out of tables that are too large to be told apart entry by entry."""
        read = self._context.number
        found: list[Number] = []
        for rows in tables:
            for region in islice(bits(regions & ~ABSENT), 12):
                text, exact = self.regions.key(region)
                entries = iter([(text, False)] if exact else islice(rows.table.inside(text), _MOST_SCANNED))
                held = (each for each in entries if rows.hold(each[0] + "~" * each[1]))
                for entry, begins in islice(held, _MOST_LISTED):
                    found += islice(self._continued(entry), _MOST_LISTED) if begins else (read(entry),)
        return found

    def _candidates(self, regions: int, features: tuple[int, ...]) -> Iterator[Number | None]:
        if regions & ABSENT and (self.party == "caller" or regions != (1 << self.regions.size) - 1):
            yield None
        read = self._context.number
        some = []
        for _, region in zip(range(12), bits(regions & ~ABSENT), strict=False):
            text, exact = self.regions.key(region)
            if text:
                some.append((text, exact))
        # A number that looks like one first, then the shortest that will do, then whatever there is.
        for text, exact in some:
            if exact:
                yield read(text)
        if regions >> self.regions.of("+") & 1 or regions >> self.regions.of("") & 1:
            yield from self._examples(regions, features)
        for text, exact in some:
            if not exact:
                yield from self._continued(text)
        yield from self._examples(regions, features)
        for text in (*(self._context.emergency or ()), *_extensions(self._context.extensions or ())):
            yield read(text)
        for text in ("0", "1", "12345", "x", "+", "+999", "#"):
            yield read(text)
        if regions & ABSENT:
            yield None

    def _continued(self, text: str) -> Iterator[Number]:
        read = self._context.number
        numbers = [example for example in _examples(self._context.country) if example.startswith(text)][:40]
        code = next((str(each) for each in _CODES if text.startswith(f"+{each}")), "")
        numbers += [text + example[len(text) :] for example in _by_code().get(code, ()) if len(example) > len(text)]
        numbers += [text + tail for tail in reversed(_TAILS)]
        numbers += [text + digit * 7 for digit in "23456789"]
        numbers += [text + digit for digit in "0123456789*#"]
        for pattern in self._context.extensions or ():
            if len(pattern) > len(text):
                numbers += [text + pattern[len(text) :].lower().replace("x", digit) for digit in "0123456789"]
        numbers += [text + "x", text + "000000000000"]
        for each in dict.fromkeys(numbers[:_MOST_TRIED]):
            yield read(each)

    def _examples(self, regions: int, features: tuple[int, ...]) -> Iterator[Number]:
        """Every country's numbers that are there.

        They are over a thousand and asked for again and again: what was read before is found by its place.
        """
        for position, numbers in self._placed.items():
            if _meets(position, regions, features):
                yield from numbers
        for text in self._unplaced:
            number = self._context.number(text)
            position = self.position(number)
            self._placed.setdefault(position, []).append(number)
            if _meets(position, regions, features):
                yield number


def _meets(position: Position, regions: int, features: tuple[int, ...]) -> bool:
    region, here = position
    return bool(regions & region) and all(one & two for one, two in zip(here, features, strict=True))


_CODES: Final = tuple(sorted(COUNTRY_CODE_TO_REGION_CODE, key=lambda code: -len(str(code))))
_PLAIN: Final = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE)
_KINDS: Final = (
    *_PLAIN,
    PhoneNumberType.PREMIUM_RATE,
    PhoneNumberType.TOLL_FREE,
    PhoneNumberType.SHARED_COST,
    PhoneNumberType.VOIP,
    PhoneNumberType.PERSONAL_NUMBER,
    PhoneNumberType.UAN,
    PhoneNumberType.PAGER,
    PhoneNumberType.VOICEMAIL,
)


def _feature_text(feature: Feature, values: int) -> str:
    def words(mask: int) -> list[str]:
        return [_value_text(feature.values[index]) for index in bits(mask)]

    inside = values & ~1
    outside = (1 << feature.size) - 2 & ~inside
    if inside.bit_count() <= outside.bit_count():
        return any_word(words(inside))
    return f"not {any_word(words(outside))}" if outside else "any"


def _value_text(value: Any) -> str:
    return str(value.value) if isinstance(value, NumberClass | NumberType) else str(value) or "none"


@lru_cache(8)
def _examples(country: str) -> tuple[str, ...]:
    """A number of every type of every country, this one's first, in canonical form."""
    found: list[str] = []
    for region in (country, *sorted(SUPPORTED_REGIONS)):
        for kind in _KINDS:
            number = phonenumbers.example_number_for_type(region, kind) if region in SUPPORTED_REGIONS else None
            if number is not None:
                found.append(phonenumbers.format_number(number, PhoneNumberFormat.E164))
    for code in phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS:
        number = phonenumbers.example_number_for_non_geo_entity(code)
        if number is not None:
            found.append(phonenumbers.format_number(number, PhoneNumberFormat.E164))
    return tuple(dict.fromkeys(found))


@lru_cache(1)
def _by_code() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for example in _examples(""):
        code = next(str(each) for each in _CODES if example.startswith(f"+{each}"))
        found.setdefault(code, []).append(example)
    return {code: tuple(examples) for code, examples in found.items()}


@lru_cache(4096)
def _countries_of(text: str, country: str) -> frozenset[str] | None:
    """The countries that canonical numbers which begin so may belong to; ``None`` where that is not known."""
    if not text:
        return None
    if text[0] != "+":
        return frozenset((country,)) if country else None
    found: set[str] = set()
    for code, regions in COUNTRY_CODE_TO_REGION_CODE.items():
        begin = f"+{code}"
        if begin.startswith(text) or text.startswith(begin):
            found.update(regions)
    return frozenset(found)


def _extensions(plan: tuple[str, ...]) -> Iterator[str]:
    for pattern in plan:
        for digit in "0123456789":
            yield pattern.lower().replace("x", digit)


def _number(text: str) -> Number:
    return Number(text, text, "", NumberClass.OTHER)


_NOBODY: Final = _number("")  # where none was found
