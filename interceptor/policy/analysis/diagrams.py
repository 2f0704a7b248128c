"""Sets of messages as decision diagrams: exact, small where policies are small, and equal when they hold the same.

A message has one value in each dimension; dimensions have a fixed order, values are numbered. A node asks one dimension
and has edges, each a set of its values (the bits of an int) and where they lead. Nodes are kept once, so two sets are
equal when their numbers are. Every operation costs steps; when none are left it raises :class:`TooLarge`, and whoever
asked says that it was not decided.

Laws: the edges of a node are disjoint, cover the dimension, lead to different nodes and only to later dimensions; no
node has one edge.
"""

from collections.abc import Callable, Iterator
from typing import Final

NONE: Final = 0
ALL: Final = 1
_END: Final = 1 << 30  # after the last dimension: where the two leaves stand

Edges = tuple[tuple[int, int], ...]


class TooLarge(Exception):  # noqa: N818 - an outcome, not a fault
    """What was asked needs more steps than there are."""


class Diagrams:
    """Makes and keeps the nodes over some dimensions; ``sizes`` says how many values each has."""

    def __init__(self, sizes: tuple[int, ...], steps: int) -> None:
        self.full: Final = tuple((1 << size) - 1 for size in sizes)
        self.steps = steps
        self._levels: list[int] = [_END, _END]
        self._edges: list[Edges] = [(), ()]
        self._known: dict[tuple[int, Edges], int] = {}
        self._both: dict[tuple[int, int], int] = {}
        self._either: dict[tuple[int, int], int] = {}
        self._without: dict[tuple[int, int], int] = {}
        self._supports: dict[int, dict[int, int]] = {}

    def level(self, node: int) -> int:
        """The dimension that a node asks first; beyond every dimension for the leaves."""
        return self._levels[node]

    def edges(self, node: int) -> Edges:
        """The edges of a node; none for the leaves."""
        return self._edges[node]

    def only(self, level: int, values: int, inside: int = ALL) -> int:
        """The set ``inside``, of dimensions after ``level``, as far as that dimension has one of ``values``."""
        return self.branch(level, ((values, inside), (self.full[level] & ~values, NONE)))

    def branch(self, level: int, edges: Edges) -> int:
        """The node with these edges; they are disjoint and cover the dimension, but may lead to the same."""
        merged: dict[int, int] = {}
        for values, child in edges:
            if values:
                merged[child] = merged.get(child, 0) | values
        if len(merged) == 1:
            return next(iter(merged))
        key = (level, tuple([(values, child) for child, values in sorted(merged.items())]))
        node = self._known.get(key)
        if node is None:
            node = self._known[key] = len(self._levels)
            self._levels.append(level)
            self._edges.append(key[1])
        return node

    def both(self, one: int, two: int) -> int:
        """What is in both sets."""
        if two in (one, ALL):
            return one
        if one == ALL:
            return two
        if NONE in (one, two):
            return NONE
        key = (one, two) if one < two else (two, one)
        found = self._both.get(key)
        if found is None:
            found = self._both[key] = self._combined(one, two, self.both)
        return found

    def without(self, one: int, two: int) -> int:
        """What is in ``one`` and not in ``two``."""
        if one in (NONE, two) or two == ALL:
            return NONE
        if two == NONE:
            return one
        found = self._without.get((one, two))
        if found is None:
            found = self._without[one, two] = self._combined(one, two, self.without)
        return found

    def other(self, one: int) -> int:
        """What is not in the set."""
        return self.without(ALL, one)

    def either(self, one: int, two: int) -> int:
        """What is in one of the sets."""
        if one in (NONE, two) or two == ALL:
            return two
        if two == NONE or one == ALL:
            return one
        key = (one, two) if one < two else (two, one)
        found = self._either.get(key)
        if found is None:
            found = self._either[key] = self._combined(one, two, self.either)
        return found

    def within(self, one: int, two: int) -> bool:
        """Whether all of ``one`` is in ``two``."""
        return self.without(one, two) == NONE

    def _combined(self, one: int, two: int, combine: Callable[[int, int], int]) -> int:
        self.steps -= 1
        if self.steps < 0:
            raise TooLarge
        first, second = self._levels[one], self._levels[two]
        if first < second:
            return self.branch(first, tuple((values, combine(child, two)) for values, child in self._edges[one]))
        if second < first:
            return self.branch(second, tuple((values, combine(one, child)) for values, child in self._edges[two]))
        edges: list[tuple[int, int]] = []
        pairs = self._edges[two]
        self.steps -= len(pairs) * len(self._edges[one]) // 8
        for values, child in self._edges[one]:
            for others, beside in pairs:
                common = values & others
                if common:
                    edges.append((common, combine(child, beside)))
        return self.branch(first, tuple(edges))

    def support(self, node: int) -> dict[int, int]:
        """Per dimension that matters the values with which a message can be in the set at all."""
        found = self._supports.get(node)
        if found is None:
            found = {}
            if node > ALL:
                found = self._support(node)
            self._supports[node] = found
        return found

    def _support(self, node: int) -> dict[int, int]:
        level, here = self._levels[node], 0
        below: list[dict[int, int]] = []
        for values, child in self._edges[node]:
            if child != NONE:
                here |= values
                below.append(self.support(child))
        found = {level: here}
        for each in set(below[0]).intersection(*below[1:]):
            union = 0
            for support in below:
                union |= support[each]
            found[each] = union
        return found

    def boxes(self, node: int) -> Iterator[dict[int, int]]:
        """The set as disjoint boxes, each the values of the dimensions that matter in it."""
        if node == ALL:
            yield {}
        elif node != NONE:
            level = self._levels[node]
            for values, child in self._edges[node]:
                if child != NONE:
                    for box in self.boxes(child):
                        yield {level: values, **box}

    def holds(self, node: int, point: dict[int, int]) -> bool:
        """Whether the message with the value ``point[dimension]`` in each dimension, a single bit, is in the set."""
        while node > ALL:
            bit = point[self._levels[node]]
            node = next(child for values, child in self._edges[node] if values & bit)
        return node == ALL
