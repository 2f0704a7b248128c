"""The space of all messages, as far as the conditions of some rules tell them apart.

Dimensions in order: name (with the kind), app, number and caller (region, then features), source, time, share of all
calls, the call that a message is about, each parameter and header that is asked for, and last the tests that look
inside a text or that nothing is known of, each true or false. :meth:`Space.set_of` turns a condition into the set of
the messages it holds for.

Laws: a message has one point in the space, and a condition holds for it exactly if the point is in the condition's
set. A point may have no message: some are known to have none and lie outside of ``universe``; what may be among the
others is settled by :meth:`Space.messages`, which makes real ones. So *never* is said of an empty set, *happens* of a
message.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain, islice
from typing import Any, Final

from msgspec.structs import replace

from interceptor.policy.analysis.callings import CALLS, calls_text
from interceptor.policy.analysis.diagrams import ALL, NONE, Diagrams
from interceptor.policy.analysis.names import MessageNames
from interceptor.policy.analysis.parties import PartyValues
from interceptor.policy.analysis.regions import ABSENT, Regions, bits
from interceptor.policy.analysis.samples import continued
from interceptor.policy.analysis.sources import Places
from interceptor.policy.analysis.times import moments_of
from interceptor.policy.condition import AllOf, AnyOf, Condition, Not, Test, any_word
from interceptor.policy.context import Context
from interceptor.policy.matchers.app import AppIn
from interceptor.policy.matchers.call import CallExists, CallIn, CallOwned
from interceptor.policy.matchers.sample import Sampled, place
from interceptor.policy.matchers.source import SourceIn
from interceptor.policy.matchers.time import Dated, Weekly
from interceptor.policy.members import Rows
from interceptor.policy.names import ANY, Names
from interceptor.policy.numbers import (
    NumberClassIn,
    NumberCountryIn,
    NumberExists,
    NumberIn,
    NumberInTable,
    NumberLength,
    NumberStarts,
    NumberTypeIn,
    Party,
)
from interceptor.policy.readings import Readings
from interceptor.policy.tags import NamesBelow, Tagged
from interceptor.policy.texts import TextExists, TextField, TextIn, TextInTable, TextStarts
from interceptor.values import Facts, Kind, Number

_NUMBER_TESTS: Final = (
    NumberClassIn,
    NumberCountryIn,
    NumberExists,
    NumberIn,
    NumberInTable,
    NumberLength,
    NumberStarts,
    NumberTypeIn,
)
_CALL_TESTS: Final = (CallExists, CallOwned, CallIn)
_TEXT_TESTS: Final = (TextExists, TextIn, TextInTable, TextStarts)
_MOST_BOXES: Final = 60
_MOST_EXCHANGES: Final = 20_000
_MOST_REGIONS: Final = 20
_PARTIES: Final[tuple[Party, ...]] = ("number", "caller")
_TIMES: Final = (Weekly, Dated)
_MOST_ENTRIES: Final = 20_000  # of a table whose entries are told apart

Box = dict[int, int]
"""Per dimension that matters the values in it."""


def atoms(condition: Condition | None) -> Iterator[Any]:
    """The conditions that a condition is made of, without what joins them."""
    match condition:
        case None:
            return
        case AllOf() | AnyOf():
            for part in condition.parts:
                yield from atoms(part)
        case Not():
            yield from atoms(condition.part)
        case Tagged():
            yield condition
            for tagger in condition.rules:
                yield from atoms(tagger.when)
        case _:
            yield condition


def _told_apart(condition: Any) -> bool:
    """Whether the space knows what a condition asks; what it does not know is free."""
    match condition:
        case NumberInTable():
            return len(condition.rows.table) <= _MOST_ENTRIES
        case TextInTable():
            return not condition.rows.table.numbers and len(condition.rows.table) <= _MOST_ENTRIES
        case _:
            return isinstance(
                condition, (*_NUMBER_TESTS, *_TEXT_TESTS, *_CALL_TESTS, *_TIMES, AppIn, SourceIn, Tagged, Sampled)
            )


class Space:
    """Everything that ``conditions`` and ``names`` can tell apart."""

    def __init__(
        self, conditions: Iterable[Condition | None], names: Iterable[Names], context: Context, steps: int
    ) -> None:
        self.context: Final = context
        conditions = (*conditions, *(condition for _, condition in context.declared))
        found = list(dict.fromkeys(atom for condition in conditions for atom in atoms(condition)))
        self._readings: Final = Readings()
        below = [tagger.names for each in found if isinstance(each, Tagged) for tagger in each.rules]
        self._names: Final = MessageNames((*names, *map(_listed, below)), context)
        self._tagged: dict[Tagged, int] = {}
        self._apps: Final = (*sorted(context.apps), "")
        sizes = [self._names.size, len(self._apps)]
        self._party_levels: dict[Party, int] = {}
        self._parties: dict[Party, PartyValues] = {}
        for party in _PARTIES:
            mine = [each for each in found if isinstance(each, _NUMBER_TESTS) and each.party == party]
            if mine:
                values = PartyValues(party, filter(_told_apart, mine), context)
                self._party_levels[party], self._parties[party] = len(sizes), values
                sizes += [values.regions.size, *(feature.size for feature in values.features.values())]
        self._places: Final = Places(
            network for each in found if isinstance(each, SourceIn) for network in each.networks
        )
        self._source_level: Final = len(sizes)
        self._moments: Final = moments_of(tuple(each for each in found if isinstance(each, _TIMES)), context.zone)
        self._time_level: Final = len(sizes) + 1
        self._shares: Final = sorted({each.percent for each in found if isinstance(each, Sampled)})
        self._share_level: Final = len(sizes) + 2
        self._call_level: Final = len(sizes) + 3
        self.asks_for_calls: Final = any(isinstance(each, _CALL_TESTS) for each in found)
        sizes += [self._places.size, max(self._moments.size, 1), len(self._shares) + 1]
        sizes.append(len(CALLS) if self.asks_for_calls else 1)
        self._fields: dict[TextField, tuple[int, Regions]] = {}
        opaque = [
            each for each in found if not _told_apart(each) or (isinstance(each, _TIMES) and not self._moments.known)
        ]
        for field in dict.fromkeys(each.field for each in found if hasattr(each, "field")):
            of_field = [each for each in found if getattr(each, "field", None) == field]
            texts = {text for each in of_field if isinstance(each, TextIn) for text in each.values}
            tables = [each.rows.table for each in of_field if isinstance(each, TextInTable) and _told_apart(each)]
            texts.update(entry for table in tables for entry, _ in table.entries())
            prefixes = (prefix for each in of_field if isinstance(each, TextStarts) for prefix in each.prefixes)
            regions = Regions(texts, prefixes)
            self._fields[field] = len(sizes), regions
            sizes.append(regions.size)
        self._opaque: Final = {each: len(sizes) + index for index, each in enumerate(opaque)}
        self._tests: Final[dict[Any, Test]] = {each: each.test(self._readings) for each in opaque}
        sizes += [2] * len(opaque)
        self.diagrams: Final = Diagrams(tuple(sizes), steps)
        self._open_levels: Final = {
            *self._opaque.values(),
            *(
                self._party_levels[party] + 1 + index
                for party, values in self._parties.items()
                for index in range(len(values.features))
            ),
        }
        self.universe: Final = self._universe()

    # conditions as sets

    def set_of(self, condition: Condition | None) -> int:
        """The messages that a condition holds for; ``None`` holds for all."""
        diagrams = self.diagrams
        match condition:
            case None:
                return ALL
            case AllOf():
                found = ALL
                for part in reversed(condition.parts):
                    found = diagrams.both(self.set_of(part), found)
                return found
            case AnyOf():
                found = NONE
                for part in condition.parts:
                    found = diagrams.either(found, self.set_of(part))
                return found
            case Not():
                return diagrams.other(self.set_of(condition.part))
            case AppIn():
                return diagrams.only(
                    1, sum(1 << index for index, app in enumerate(self._apps) if app in condition.apps)
                )
            case SourceIn():
                return diagrams.only(self._source_level, self._places.inside(condition.networks))
            case Tagged():
                return self._tagged_set(condition)
            case Sampled():
                index = self._shares.index(condition.percent)
                return diagrams.only(self._share_level, (2 << index) - 1)
            case CallExists() | CallOwned() | CallIn():
                values = sum(1 << index for index, call in enumerate(CALLS) if condition.holds(call))
                return diagrams.only(self._call_level, values)
            case Weekly() | Dated() if self._moments.known:
                return diagrams.only(self._time_level, self._moments.holds(condition))
            case _:
                number_test = isinstance(condition, _NUMBER_TESTS) and _told_apart(condition)
                if number_test:
                    return self._number_set(condition)
                text_test = isinstance(condition, _TEXT_TESTS) and _told_apart(condition)
                return self._text_set(condition) if text_test else self._opaque_set(condition)

    def _text_set(self, condition: Any) -> int:
        level, regions = self._fields[condition.field]
        match condition:
            case TextIn():
                values = regions.equal(condition.values)
            case TextStarts():
                values = regions.beginning(condition.prefixes)
            case TextInTable():
                hold = condition.rows.hold
                values = regions.equal(text for text, _ in condition.rows.table.entries() if hold(text))
            case _:
                values = self.diagrams.full[level] & ~ABSENT
        return self.diagrams.only(level, values)

    def _tagged_set(self, condition: Tagged) -> int:
        found = self._tagged.get(condition)
        if found is None:
            diagrams, found = self.diagrams, NONE
            for tagger in condition.rules:
                names = NONE
                for kind in Kind:
                    names = diagrams.either(names, self.names(_listed(tagger.names), kind))
                found = diagrams.either(found, diagrams.both(names, self.set_of(tagger.when)))
            self._tagged[condition] = found
        return found

    def _number_set(self, condition: Any) -> int:
        party = self._parties[condition.party]
        level = self._party_levels[condition.party]
        only = self.diagrams.only
        match condition:
            case NumberIn():
                return only(level, party.regions.equal(condition.numbers))
            case NumberStarts():
                return only(level, party.regions.beginning(condition.prefixes))
            case NumberInTable():
                return only(level, party.in_table(condition.rows))
            case NumberClassIn():
                return self._feature_set(party, level, "class", party.features["class"].mask(condition.classes))
            case NumberCountryIn():
                return self._feature_set(party, level, "country", party.features["country"].mask(condition.countries))
            case NumberTypeIn():
                return self._feature_set(party, level, "type", party.features["type"].mask(condition.types))
            case NumberLength():
                return self._feature_set(party, level, "length", party.lengths(condition))
            case _:
                return only(level, self.diagrams.full[level] & ~1)

    def _feature_set(self, party: PartyValues, level: int, feature: str, values: int) -> int:
        return self.diagrams.only(level + 1 + tuple(party.features).index(feature), values)

    def _opaque_set(self, condition: Any) -> int:
        """A test that looks inside a text: known for the texts that are named, free for all others.

        One that looks into a large table is free where the table tells numbers apart that nothing else does.
        """
        diagrams, level = self.diagrams, self._opaque[condition]
        free = diagrams.only(level, 2)
        if isinstance(condition, NumberInTable):
            at, regions = self._party_levels[condition.party], self._parties[condition.party].regions
            yes, no = _told_by_table(condition.rows, regions)
            return diagrams.branch(at, ((yes, ALL), (no, NONE), (diagrams.full[at] & ~yes & ~no, free)))
        field = getattr(condition, "field", None)
        if not isinstance(field, TextField):
            return free
        at, regions = self._fields[field]
        test = self._tests[condition]
        yes = no = 0
        for region in range(regions.size):
            text, exact = ("", True) if region == 0 else regions.key(region)
            if exact and test(_with_text(field, None if region == 0 else text)):
                yes |= 1 << region
            elif exact:
                no |= 1 << region
        return diagrams.branch(at, ((yes, ALL), (no, NONE), (diagrams.full[at] & ~yes & ~no, free)))

    def names(self, names: Names, kind: Kind) -> int:
        """The messages of one kind that a rule's ``on`` names."""
        return self.diagrams.only(0, self._names.mask(names, kind))

    def kind(self, kind: Kind) -> int:
        """All messages of one kind."""
        return self.diagrams.only(0, self._names.all_of(kind))

    def known_apps(self) -> int:
        """The messages of apps that we know."""
        return self.diagrams.only(1, self.diagrams.full[1] >> 1)

    def _universe(self) -> int:
        found = ALL
        for party in reversed(self._parties):
            possible = self._parties[party].universe(self.diagrams, self._party_levels[party])
            found = self.diagrams.both(possible, found)
        # A command or a verb of no app that we know is refused before the rules are asked.
        known = self.diagrams.either(self.kind(Kind.NOTIFICATION), self.known_apps())
        found = self.diagrams.both(known, found)
        if "number" in self._parties:
            silent = self.diagrams.only(self._party_levels["number"], ABSENT)
            dialling = self.diagrams.only(0, self._names.dialling())
            found = self.diagrams.both(self.diagrams.either(dialling, silent), found)
        return found

    # messages as points

    def point(self, facts: Facts) -> dict[int, int] | None:
        """The point of a message, a single bit per dimension; ``None`` for a time outside of those looked at."""
        moment = self._moments.of(facts.at) if self._moments.known else 0
        if moment is None:
            return None
        point = {
            0: 1 << self._names.of(facts.kind, facts.name),
            1: 1 << self._apps.index(facts.app if facts.app in self._apps else ""),
            self._source_level: 1 << self._places.of(self._readings.address(facts.source)),
            self._time_level: 1 << moment,
            self._share_level: 1 << sum(not share.test(self._readings)(facts) for share in self._sampled()),
            self._call_level: 1 << CALLS.index(facts.call) if self.asks_for_calls else 1,
        }
        for party, values in self._parties.items():
            level = self._party_levels[party]
            region, features = values.position(facts.number if party == "number" else facts.caller)
            point[level] = region
            point.update({level + 1 + index: feature for index, feature in enumerate(features)})
        for field, (level, regions) in self._fields.items():
            point[level] = 1 << regions.of(_text_of(field, facts))
        for condition, level in self._opaque.items():
            point[level] = 2 if self._tests[condition](facts) else 1
        return point

    def _sampled(self) -> list[Sampled]:
        return [Sampled(percent, self.context.calls) for percent in self._shares]

    def _with_exchange(self, facts: Facts, shares: int) -> Facts:
        """The message with the id of an exchange that falls into one of these parts of all calls."""
        if shares != self.diagrams.full[self._share_level]:
            bounds = sorted(share.below for share in self._sampled())
            for exchange, at in _exchanges():
                if shares >> bisect_right(bounds, at) & 1:
                    return replace(facts, exchange=exchange)
        return facts

    def box(self, box: Box) -> int:
        """A box as a set."""
        found = ALL
        for level in sorted(box, reverse=True):
            found = self.diagrams.only(level, box[level], found)
        return found

    def told(self, box: Box) -> Iterator[str]:
        """A box in words, dimension by dimension; those in which everything is inside are left out."""
        full = self.diagrams.full
        yield self._names.told(box.get(0, full[0]))
        apps = self._told_apps(box.get(1, full[1]))
        if apps:
            yield apps
        dials = box.get(0, full[0]) & self._names.dialling()
        for party, level in self._party_levels.items():
            values = self._parties[party]
            features = [box.get(level + 1 + index) for index in range(len(values.features))]
            words = values.told(box.get(level, full[level]), features)
            if words and (dials or party != "number"):
                yield words
        if self._source_level in box:
            places = [self._places.told(place) for place in bits(box[self._source_level])]
            yield f"from {any_word(places)}"
        for field, (level, regions) in self._fields.items():
            if level in box:
                yield _told_field(field, regions, box[level])
        if self._call_level in box:
            yield calls_text(CALLS[index] for index in bits(box[self._call_level]))
        for condition, level in self._opaque.items():
            if level in box:
                yield f", {'' if box[level] == 2 else 'not '}{condition.expects()}"
        if self._share_level in box:
            shares = [f"{share}%" for share in self._shares]
            parts = [
                f"up to {shares[at]}" if at < len(shares) else f"beyond {shares[-1]}"
                for at in bits(box[self._share_level])
            ]
            yield f", sample {any_word(parts)}"
        if self._time_level in box:
            yield f", {self._moments.told(box[self._time_level])}"

    def _told_apps(self, values: int) -> str:
        """The apps of a box; ``""`` for all that we know, beside which only notifications can have none."""
        known = self._apps[:-1]
        inside = [app for index, app in enumerate(known) if values >> index & 1]
        outside = [app for app in known if app not in inside]
        if not inside:
            return "without an app"
        if not outside:
            return ""
        return f"by {any_word(inside)}" if len(inside) <= len(outside) else f"not by {any_word(outside)}"

    @property
    def asks_source(self) -> bool:
        """Some condition looks at the sender's address."""
        return self._places.size > 1

    @property
    def asks_time(self) -> bool:
        """Some condition looks at the time."""
        return bool(self._moments.conditions)

    @property
    def zone(self) -> str:
        """The clock on which times are told."""
        return self._moments.zone

    def texts(self, facts: Facts) -> Iterator[tuple[TextField, str]]:
        """The parameters and headers of a message that conditions look at."""
        for field in self._fields:
            text = _text_of(field, facts)
            if text is not None:
                yield field, text

    def sure(self, node: int) -> bool:
        """Whether there are messages in the set without looking for one: it is not empty, and asks nothing open.

        ``node`` is the set itself, not yet cut to the universe: what that says of features leaves some to every region.
        """
        asks_nothing_open = not self._open_levels & self.diagrams.support(node).keys()
        return asks_nothing_open and self.diagrams.both(node, self.universe) != NONE

    def messages(self, node: int) -> Iterator[Facts]:
        """Real messages in a set, at most one from each of its first boxes; ``None`` may be found where there are."""
        for box in islice(self.diagrams.boxes(self.diagrams.both(node, self.universe)), _MOST_BOXES):
            facts = self._message(box)
            if facts is not None:
                yield facts

    def _message(self, box: Box) -> Facts | None:
        full = self.diagrams.full
        kind, name = self._names.example(box.get(0, full[0]))
        app = self._apps[next(bits(box.get(1, full[1])))]
        source = self._places.example(next(bits(box.get(self._source_level, full[self._source_level]))))
        at = 1_704_186_000.0
        if self._moments.known and self._moments.size:
            at = self._moments.example(next(bits(box.get(self._time_level, full[self._time_level]))))
        parties: dict[Party, Number | None] = {"number": None, "caller": None}
        for party, values in self._parties.items():
            level = self._party_levels[party]
            features = tuple(
                box.get(level + 1 + index, full[level + 1 + index]) for index in range(len(values.features))
            )
            tables = [
                (test, self._tests[test], box[at_level] == 2)
                for test, at_level in self._opaque.items()
                if getattr(test, "party", None) == party and at_level in box
            ]
            try:
                parties[party] = values.find(box.get(level, full[level]), features, tables)
            except LookupError:
                return None
        call = CALLS[next(bits(box.get(self._call_level, full[self._call_level])))]
        facts = Facts(kind, name, app, source, parties["number"], parties["caller"], {}, {}, at, call=call)
        facts = self._with_exchange(facts, box.get(self._share_level, full[self._share_level]))
        for field, (level, regions) in self._fields.items():
            asked = [
                (test, self._tests[test], box[at_level] == 2)
                for test, at_level in self._opaque.items()
                if getattr(test, "field", None) == field and at_level in box
            ]
            try:
                text = _find_text(field, regions, box.get(level, full[level]), asked)
            except LookupError:
                return None
            if text is not None:
                (facts.headers if field.part == "headers" else facts.values)[field.name] = text  # type: ignore[index]
        point = self.point(facts)
        return facts if point is not None and all(point[level] & values for level, values in box.items()) else None


@lru_cache(1)
def _exchanges() -> tuple[tuple[str, int], ...]:
    """Ids of exchanges, and where each stands among all calls."""
    return tuple((exchange, place(exchange)) for exchange in map("e{}".format, range(_MOST_EXCHANGES)))


def _told_field(field: TextField, regions: Regions, values: int) -> str:
    if values == ABSENT:
        return f"without {field.told()}"
    words = "any" if field.secret else regions.told(values & ~ABSENT)
    return f"with {field.told()} {words}{' or none' if values & ABSENT else ''}"


def _told_by_table(rows: Rows, regions: Regions) -> tuple[int, int]:
    """The regions all of which a table holds, and those of which it holds nothing."""
    yes, no = 0, ABSENT
    for region, (text, exact) in enumerate(regions.keys, 1):
        if exact or next(rows.table.inside(text), None) is None:
            if rows.hold(text if exact else f"{text}~"):
                yes |= 1 << region
            else:
                no |= 1 << region
    return yes, no


def _listed(names: NamesBelow) -> Names:
    return {kind: frozenset((ANY,)) if found is None else found for kind, found in names.items()}


def _text_of(field: TextField, facts: Facts) -> str | None:
    return (facts.headers if field.part == "headers" else facts.values).get(field.name)


def _with_text(field: TextField, text: str | None) -> Facts:
    texts = {} if text is None else {field.name: text}
    values, headers = ({}, texts) if field.part == "headers" else (texts, {})
    return Facts(Kind.COMMAND, "", "", "", None, None, values, headers, 0.0)


def _find_text(field: TextField, regions: Regions, wanted: int, asked: list[tuple[Any, Test, bool]]) -> str | None:
    """A text of a field in one of these regions for which each test comes out as asked; ``LookupError``: none found."""

    def good(text: str | None) -> bool:
        facts = _with_text(field, text)
        return bool(wanted >> regions.of(text) & 1) and all(test(facts) is outcome for _, test, outcome in asked)

    if good(None):
        return None
    tests = [condition for condition, _, outcome in asked if outcome]
    for region in islice(bits(wanted & ~1), _MOST_REGIONS):
        text, exact = regions.key(region)
        for candidate in (text,) if exact else chain(continued(text, tests), _out_of_tables(text, tests)):
            if good(candidate):
                return candidate
    raise LookupError


def _out_of_tables(beginning: str, tests: Iterable[Any]) -> Iterator[str]:
    """Some texts that begin so out of tables that are too large to be told apart entry by entry."""
    for test in tests:
        if isinstance(test, TextInTable):
            entries = islice(test.rows.table.inside(beginning), _MOST_ENTRIES)
            yield from (entry for entry, _ in entries if test.rows.hold(entry))
