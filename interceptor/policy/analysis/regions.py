"""Texts and numbers as far as exact values and beginnings tell them apart.

The values and prefixes that a policy names cut all texts into finitely many regions: each value is one, and each prefix
is one without the values and longer prefixes in it. No region is empty, since texts are longer than any prefix and what
follows it is free. Regions are numbered in the order of their texts, so all that begins alike lies together. Region 0
is "there is none".
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final

_MOST_LISTED: Final = 6
ABSENT: Final = 1  # the bit of region 0


class Regions:
    """The regions that some values and prefixes make."""

    def __init__(self, values: Iterable[str], prefixes: Iterable[str]) -> None:
        keys = {(prefix, False) for prefix in prefixes} | {(value, True) for value in values} | {("", False)}
        self.keys: Final = sorted(keys)
        self.size: Final = len(self.keys) + 1
        self._at: Final = {key: index + 1 for index, key in enumerate(self.keys)}
        self._lengths: Final = sorted({len(text) for text, exact in self.keys if not exact}, reverse=True)

    def key(self, region: int) -> tuple[str, bool]:
        """The text of a region other than 0, and whether it is that text alone."""
        return self.keys[region - 1]

    def equal(self, values: Iterable[str]) -> int:
        """The regions of these values."""
        found = 0
        for value in values:
            found |= 1 << self._at[value, True]
        return found

    def beginning(self, prefixes: Iterable[str]) -> int:
        """The regions of all that begins with one of these."""
        found = 0
        for prefix in prefixes:
            first = self._at[prefix, False]
            found |= (1 << self._end(prefix)) - (1 << first)
        return found

    def _end(self, prefix: str) -> int:
        if not prefix:
            return self.size
        return bisect_left(self.keys, True, key=lambda key: key[0] >= prefix and not key[0].startswith(prefix)) + 1

    def of(self, text: str | None) -> int:
        """The region that a text lies in."""
        if text is None:
            return 0
        found = self._at.get((text, True))
        if found is not None:
            return found
        return next(
            self._at[text[:length], False]
            for length in self._lengths
            if length <= len(text) and (text[:length], False) in self._at
        )

    def told(self, regions: int) -> str:
        """Some regions other than 0 in words: ``+36… but not +3690… or 1001``."""
        return self._told(regions, 0, len(self.keys)) or "none"

    def _told(self, regions: int, first: int, last: int) -> str:
        """What lies in a prefix, whose region has the index ``first``; all that begins with it ends before ``last``."""
        prefix = self.keys[first][0]
        every = ((1 << last + 1) - 1) & ~((1 << first + 1) - 1)
        here = regions & every
        name = f"{prefix}…" if prefix else "any"
        if here == every:
            return name
        if here >> first + 1 & 1:
            return f"{name} but not {_listed(self._inner(every & ~here, first, last))}"
        return _listed(self._inner(here, first, last)) if here else ""

    def _inner(self, regions: int, first: int, last: int) -> list[str]:
        found: list[str] = []
        index = first + 1
        while index < last:
            text, exact = self.keys[index]
            after = index + 1 if exact else self._end(text) - 1
            inside = regions >> index + 1 & 1
            told = ((text or "empty") if inside else "") if exact else self._told(regions, index, after)
            if told:
                found.append(told)
            index = after
        return found if len(found) == 1 else [f"({told})" if " but not " in told else told for told in found]


def _listed(words: list[str]) -> str:
    if len(words) > _MOST_LISTED:
        return f"{', '.join(words[: _MOST_LISTED - 1])} or {len(words) - _MOST_LISTED + 1} others"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def bits(mask: int) -> Iterator[int]:
    """The numbers of the bits that are set, lowest first."""
    digits = f"{mask:b}"[::-1]  # searching in text is faster than arithmetic with long numbers
    at = digits.find("1")
    while at >= 0:
        yield at
        at = digits.find("1", at + 1)
