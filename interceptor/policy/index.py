"""Finds the rules that can match a message without asking the others.

Every rule is filed under the most selective key that its condition offers: a number, a prefix, an app, a network. A
message is looked up in the tables of its name, and what it finds there, with the rules that offered no key, are the
candidates. So the cost of a decision follows the rules that can match, not the rules that exist.

Names that the same rules are for share an index. Where very many rules are for the same names, they get tables of their
own that all those names share: then memory follows the rules and not rules times names, and a message is looked up in
few tables all the same.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Final

from msgspec import Struct

from interceptor.policy.condition import AllOf, Condition, Key, Lookup, Offer, Positions, Probe, Test, all_of
from interceptor.policy.names import ANY
from interceptor.policy.readings import Readings

SHARED_FROM: Final = 100_000  # rules times names


class Filed(Struct, frozen=True):
    """A rule's position in the order of reading, its names, and its keys (none: always a candidate)."""

    position: int
    names: frozenset[str]
    keys: tuple[Key, ...]


class NameIndex(Struct, frozen=True):
    """Where messages of one name look: in the tables behind ``probes``; rules in ``always`` are always candidates."""

    probes: tuple[Probe, ...]
    always: Positions


class Filing:
    """Chooses, over all rules together, what each is filed under."""

    def __init__(self, conditions: Iterable[Condition | None], readings: Readings) -> None:
        self._readings = readings
        self._parts = [_conjuncts(condition) for condition in conditions]
        # Equal parts of rules that were read together are one object, which is asked once.
        self._offers: dict[int, Offer | None] = {}
        self._tests: dict[tuple[int, ...], Test] = {}
        self._uses: Counter[Key] = Counter()
        for parts in self._parts:
            for part in parts:
                if id(part) not in self._offers:
                    self._offers[id(part)] = part.offer()
                offer = self._offers[id(part)]
                if offer is not None:
                    self._uses.update(offer.keys)

    def choose(self, position: int) -> tuple[tuple[Key, ...], Test | None]:
        """The keys to file the rule at ``position`` under, and the test that remains when it is found by them."""
        parts = self._parts[position]
        offers = [self._offers[id(part)] for part in parts]
        best: Offer | None = None
        cost: tuple[int, int, int] | None = None
        for offer in offers:
            if offer is not None:
                here = self._cost(offer)
                if cost is None or here < cost:
                    best, cost = offer, here
        rest = [part for part, offer in zip(parts, offers, strict=True) if offer is not best or not _is_exact(best)]
        return () if best is None else best.keys, self._test(rest) if rest else None

    def _test(self, parts: list[Condition]) -> Test:
        one = tuple(map(id, parts))
        test = self._tests.get(one)
        if test is None:
            test = self._tests[one] = all_of([part.test(self._readings) for part in parts])
        return test

    def _cost(self, offer: Offer) -> tuple[int, int, int]:
        uses = self._uses
        return max(uses[key] for key in offer.keys), max(key[0].rank for key in offer.keys), len(offer.keys)


def _is_exact(offer: Offer | None) -> bool:
    return offer is not None and offer.exact


def _conjuncts(condition: Condition | None) -> tuple[Condition, ...]:
    if condition is None:
        return ()
    return condition.parts if isinstance(condition, AllOf) else (condition,)


def build(filed: Sequence[Filed], known: Iterable[str], readings: Readings) -> tuple[dict[str, NameIndex], NameIndex]:
    """The index of every name, under the name and under it in lower case; and that of all names beside them."""
    groups: dict[frozenset[str], list[Filed]] = {}
    for entry in filed:
        groups.setdefault(entry.names, []).append(entry)
    mentioned = {name for names in groups for name in names} - {ANY}
    shared = {
        names: _shelve(group, readings)
        for names, group in groups.items()
        if len(group) * (len(mentioned) if ANY in names else len(names)) >= SHARED_FROM
    }
    made: dict[tuple[frozenset[str], ...], NameIndex] = {}

    def index(name: str) -> NameIndex:
        fitting = tuple(names for names in groups if name in names or ANY in names)
        if fitting not in made:
            few = (entry for names in fitting if names not in shared for entry in groups[names])
            shelves = [_shelve(few, readings), *(shared[names] for names in fitting if names in shared)]
            probes = tuple(probe for shelf in shelves for probe in shelf.probes)
            made[fitting] = NameIndex(probes, tuple(sorted(at for shelf in shelves for at in shelf.always)))
        return made[fitting]

    indexes = {name: index(name) for name in (*known, *sorted(mentioned))}
    return {name.lower(): found for name, found in indexes.items()} | indexes, index(ANY)


def _shelve(group: Iterable[Filed], readings: Readings) -> NameIndex:
    tables: dict[Lookup, dict[Hashable, list[int]]] = {}
    always: list[int] = []
    for entry in group:
        if not entry.keys:
            always.append(entry.position)
        for lookup, value in entry.keys:
            tables.setdefault(lookup, {}).setdefault(value, []).append(entry.position)
    ordered = sorted(tables.items(), key=lambda table: table[0].rank)
    probes = tuple(
        lookup.probe({value: tuple(positions) for value, positions in table.items()}, readings)
        for lookup, table in ordered
    )
    return NameIndex(probes, tuple(always))
