"""Finds the rules that can match a message without asking the others.

Every rule is filed under the most selective key that its condition offers: a number, a prefix, an app, a network. A
message is looked up in the tables of its name, and what it finds there, with the rules that offered no key, are the
candidates. So the cost of a decision follows the rules that can match, not the rules that exist.

A rule that is for a few apps is filed in tables of each of them, so that messages of others do not meet it.

Names that the same rules are for share an index. Where very many rules are for the same names, they get tables of their
own that all those names share: then memory follows the rules and not rules times names, and a message is looked up in
few tables all the same.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Final

from msgspec import Struct

from interceptor.pacing import Pace, paced, unhurried
from interceptor.policy.condition import AllOf, Condition, Key, Lookup, Offer, Positions, Probe, Test, all_of
from interceptor.policy.matchers.app import AppLookup
from interceptor.policy.names import ANY
from interceptor.policy.readings import Readings

SHARED_FROM: Final = 100_000  # rules times names
FEW_APPS: Final = 4


class Filed(Struct, frozen=True, gc=False):
    """Where a rule is found: its names, its keys (``None``: always a candidate; empty: never), its apps (none: all)."""

    position: int
    names: frozenset[str]
    keys: tuple[Key, ...] | None
    apps: tuple[str, ...]


class NameIndex(Struct, frozen=True):
    """Where messages of one name look: in the tables behind ``probes`` and in those of their app.

    Rules in ``always`` are always candidates.
    """

    probes: tuple[Probe, ...]
    always: Positions
    of_app: dict[str, tuple[Probe, ...]]


class Parts:
    """Asks the parts of conditions for their offers and tests, each once: equal parts of many rules are one object.

    ``pace`` is called now and then by who asks.
    """

    __slots__ = ("_kept", "_offers", "_tests", "pace", "readings")

    def __init__(self, readings: Readings, pace: Pace = unhurried) -> None:
        self.readings = readings
        self.pace = pace
        self._offers: dict[int, Offer | None] = {}
        self._tests: dict[tuple[int, ...], Test] = {}
        self._kept: list[Condition] = []  # what an identity stands for must not go away

    def offer(self, part: Condition) -> Offer | None:
        """Keys to file a rule with this part under."""
        try:
            return self._offers[id(part)]
        except KeyError:
            self._kept.append(part)
            offer = self._offers[id(part)] = part.offer()
            return offer

    def test(self, parts: Sequence[Condition]) -> Test | None:
        """A test that holds when all ``parts`` do, each of which was asked for its offer; ``None`` for no parts."""
        if not parts:
            return None
        one = tuple(map(id, parts))
        test = self._tests.get(one)
        if test is None:
            test = self._tests[one] = all_of([part.test(self.readings) for part in parts])
        return test


class Filing:
    """Chooses, over all rules of one kind together, what each is filed under."""

    def __init__(self, conditions: Iterable[Condition | None], asked: Parts) -> None:
        self._asked = asked
        self._parts = [_conjuncts(condition) for condition in paced(conditions, asked.pace)]
        self._uses: Counter[Key] = Counter(
            key
            for parts in paced(self._parts, asked.pace)
            for part in parts
            if (offer := asked.offer(part))
            for key in offer.keys
        )

    def choose(self, position: int, names: frozenset[str]) -> tuple[Filed, Test | None]:
        """Where the rule at ``position`` is filed, and the test that remains when it is found there."""
        parts = self._parts[position]
        offers = [(offer, part) for part in parts if (offer := self._asked.offer(part)) is not None]
        if not offers:
            return Filed(position, names, None, ()), self._asked.test(parts)
        best, filed = offers[0] if len(offers) == 1 else min(offers, key=self._cost)
        app, apps = next((each for each in offers if each[0] is not best and _is_few_apps(each[0])), (None, None))
        rest = [part for part in parts if (part is not filed or not best.exact) and part is not apps]
        of = () if app is None else tuple(str(value) for _, value in app.keys)
        return Filed(position, names, best.keys, of), self._asked.test(rest)

    def _cost(self, offered: tuple[Offer, Condition]) -> tuple[int, int, int]:
        uses, keys = self._uses, offered[0].keys
        if len(keys) == 1:
            return uses[keys[0]], keys[0][0].rank, 1
        if not keys:  # it never holds: nothing is more selective
            return 0, 0, 0
        return max(uses[key] for key in keys), max(key[0].rank for key in keys), len(keys)


def _is_few_apps(offer: Offer) -> bool:
    return (
        offer.exact
        and 0 < len(offer.keys) <= FEW_APPS
        and all(isinstance(lookup, AppLookup) for lookup, _ in offer.keys)
    )


def _conjuncts(condition: Condition | None) -> tuple[Condition, ...]:
    if condition is None:
        return ()
    return condition.parts if isinstance(condition, AllOf) else (condition,)


def build(
    filed: Sequence[Filed], known: Iterable[str], readings: Readings, pace: Pace = unhurried
) -> tuple[dict[str, NameIndex], NameIndex]:
    """The index of every name, under the name and under it in lower case; and that of all names beside them."""
    groups: dict[frozenset[str], list[Filed]] = {}
    for entry in paced(filed, pace):
        groups.setdefault(entry.names, []).append(entry)
    mentioned = {name for names in groups for name in names} - {ANY}
    shared = {
        names: _shelve(group, readings, pace)
        for names, group in groups.items()
        if len(group) * (len(mentioned) if ANY in names else len(names)) >= SHARED_FROM
    }
    made: dict[tuple[frozenset[str], ...], NameIndex] = {}

    def index(name: str) -> NameIndex:
        fitting = tuple(names for names in groups if name in names or ANY in names)
        if fitting not in made:
            few = (entry for names in fitting if names not in shared for entry in groups[names])
            shelves = [_shelve(few, readings, pace), *(shared[names] for names in fitting if names in shared)]
            made[fitting] = _together(shelves)
        return made[fitting]

    indexes = {name: index(name) for name in (*known, *sorted(mentioned))}
    return {name.lower(): found for name, found in indexes.items()} | indexes, index(ANY)


def _together(shelves: Sequence[NameIndex]) -> NameIndex:
    of_app: dict[str, tuple[Probe, ...]] = {}
    for shelf in shelves:
        for app, probes in shelf.of_app.items():
            of_app[app] = of_app.get(app, ()) + probes
    probes = tuple(probe for shelf in shelves for probe in shelf.probes)
    return NameIndex(probes, tuple(sorted(at for shelf in shelves for at in shelf.always)), of_app)


def _shelve(group: Iterable[Filed], readings: Readings, pace: Pace) -> NameIndex:
    tables: dict[str | None, dict[Lookup, dict[Hashable, list[int]]]] = {None: {}}
    always: list[int] = []
    for entry in paced(group, pace):
        if entry.keys is None:
            always.append(entry.position)
            continue
        for app in entry.apps or (None,):
            of_app = tables.setdefault(app, {})
            for lookup, value in entry.keys:
                of_app.setdefault(lookup, {}).setdefault(value, []).append(entry.position)
    probes = {app: _probes(of_app, readings, pace) for app, of_app in tables.items()}
    return NameIndex(probes.pop(None), tuple(always), {app: found for app, found in probes.items() if app is not None})


def _probes(tables: dict[Lookup, dict[Hashable, list[int]]], readings: Readings, pace: Pace) -> tuple[Probe, ...]:
    ordered = sorted(tables.items(), key=lambda table: table[0].rank)
    return tuple(
        lookup.probe({value: tuple(positions) for value, positions in paced(table.items(), pace)}, readings)
        for lookup, table in ordered
    )
