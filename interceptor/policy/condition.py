"""Conditions as they were written: atoms from the matchers, joined by and, or, not.

A condition is a value that can be looked at (for explanations, for analysis); its ``test`` makes what runs. An *offer*
is what makes the compiled set fast: keys under which a rule can be filed, so that a message finds the rules that can
match it without asking the others.

Law: when a condition holds for a message, at least one key of its offer is found for it; when the offer is ``exact``,
the condition holds for every message that finds one. So an offer without keys is that of a condition that never holds.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct

from interceptor.policy.readings import Readings
from interceptor.values import Facts

Test = Callable[[Facts], bool]
Positions = tuple[int, ...]
Probe = Callable[[Facts, list[int]], None]
_SHOWN: Final = 5  # values of one condition that are told in words
_LONGEST_SHOWN: Final = 80


class Lookup(Protocol):
    """One way of finding rules by something that the message carries. Equal lookups share one table."""

    @property
    def rank(self) -> int:
        """Which lookup to take where two are equally selective: the lowest."""
        ...

    def probe(self, table: Mapping[Any, Positions], readings: Readings) -> Probe:
        """What appends to a list the positions that a message finds in ``table``."""
        ...

    def __hash__(self) -> int: ...


Key = tuple[Lookup, Hashable]


class Offer(Struct, frozen=True, gc=False):
    """Keys to file a rule under."""

    keys: tuple[Key, ...]
    exact: bool = True


class Condition(Protocol):
    """What must hold for a rule to act."""

    def test(self, readings: Readings) -> Test:
        """The condition as a function of the facts."""
        ...

    def offer(self) -> Offer | None:
        """Keys to file a rule with this condition under, if there are any."""
        ...

    def expects(self) -> str:
        """What it asks of a message, in words close to the language."""
        ...

    def sees(self, facts: Facts, readings: Readings) -> str:
        """What the message has where this condition looks, in the same words."""
        ...


class AllOf(Struct, frozen=True, gc=False):
    """Every part holds."""

    parts: tuple[Condition, ...]

    def test(self, readings: Readings) -> Test:
        return all_of([part.test(readings) for part in self.parts])

    def offer(self) -> Offer | None:
        offers = [offer for offer in (part.offer() for part in self.parts) if offer is not None]
        if not offers:
            return None
        best = min(offers, key=lambda offer: max((key[0].rank for key in offer.keys), default=-1))
        return best if len(self.parts) == 1 else Offer(best.keys, exact=False)

    def expects(self) -> str:
        return " and ".join(_bracketed(part) for part in self.parts)

    def sees(self, facts: Facts, readings: Readings) -> str:
        return _seen(self.parts, facts, readings)


class AnyOf(Struct, frozen=True):
    """At least one part holds."""

    parts: tuple[Condition, ...]

    def test(self, readings: Readings) -> Test:
        return any_of([part.test(readings) for part in self.parts])

    def offer(self) -> Offer | None:
        keys: dict[Key, None] = {}
        exact = True
        for part in self.parts:
            offer = part.offer()
            if offer is None:
                return None
            keys.update(dict.fromkeys(offer.keys))
            exact = exact and offer.exact
        return Offer(tuple(keys), exact)

    def expects(self) -> str:
        return " or ".join(_bracketed(part) for part in self.parts)

    def sees(self, facts: Facts, readings: Readings) -> str:
        return _seen(self.parts, facts, readings)


class Not(Struct, frozen=True):
    """The part does not hold. What is missing in a message is not equal to anything, so it holds for that too."""

    part: Condition

    def test(self, readings: Readings) -> Test:
        test = self.part.test(readings)
        return lambda facts: not test(facts)

    def offer(self) -> Offer | None:
        return None

    def expects(self) -> str:
        return f"not {_bracketed(self.part)}"

    def sees(self, facts: Facts, readings: Readings) -> str:
        return self.part.sees(facts, readings)


def _bracketed(part: Condition) -> str:
    return f"({part.expects()})" if isinstance(part, AllOf | AnyOf) else part.expects()


def _seen(parts: tuple[Condition, ...], facts: Facts, readings: Readings) -> str:
    """What several conditions look at, each thing once."""
    return ", ".join(dict.fromkeys(part.sees(facts, readings) for part in parts))


def any_word(words: Sequence[str]) -> str:
    """Several words of which one is meant: ``a, b or c``; of very many the first few."""
    if len(words) == 1:
        return words[0]
    if len(words) > _SHOWN:
        return f"{', '.join(words[: _SHOWN - 1])} or one of {len(words) - _SHOWN + 1} others"
    return f"{', '.join(words[:-1])} or {words[-1]}"


def quoted(value: str) -> str:
    """A text out of a message or a rule as it is told: in backticks, the middle of a long one left out."""
    if len(value) > _LONGEST_SHOWN:
        value = f"{value[: _LONGEST_SHOWN - 20]}…{value[-19:]}"
    return f"`{value}`"


def membership[T](values: tuple[T, ...]) -> "tuple[T, ...] | frozenset[T]":
    """What to ask whether a value is among ``values``: few stay a tuple, which takes a fifth of the room of a set."""
    return values if len(values) <= 3 else frozenset(values)


def joined(parts: tuple[Condition, ...]) -> Condition:
    """One condition that holds when every part does; nested conjunctions are laid flat."""
    flat = tuple(inner for part in parts for inner in (part.parts if isinstance(part, AllOf) else (part,)))
    return flat[0] if len(flat) == 1 else AllOf(flat)


def either(parts: tuple[Condition, ...]) -> Condition:
    """One condition that holds when one of the parts does."""
    return parts[0] if len(parts) == 1 else AnyOf(parts)


def all_of(tests: list[Test]) -> Test:
    """A test that holds when each of ``tests`` does."""
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        one, two = tests
        return lambda facts: one(facts) and two(facts)
    several = tuple(tests)

    def each(facts: Facts) -> bool:
        for test in several:  # noqa: SIM110 - all() over a generator takes four times as long
            if not test(facts):
                return False
        return True

    return each


def any_of(tests: list[Test]) -> Test:
    """A test that holds when one of ``tests`` does."""
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        one, two = tests
        return lambda facts: one(facts) or two(facts)
    several = tuple(tests)

    def some(facts: Facts) -> bool:
        for test in several:  # noqa: SIM110 - any() over a generator takes four times as long
            if test(facts):
                return True
        return False

    return some
