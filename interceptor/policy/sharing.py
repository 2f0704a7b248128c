"""One value in place of many equal ones: a hundred thousand rules have few different actions, apps and hours."""

from collections.abc import Hashable
from typing import Final

from interceptor.policy.condition import AllOf, Condition

_REMEMBERED: Final = 4096


class Sharing:
    """Remembers values that were seen, with a bound."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[Hashable, object] = {}

    def one[T](self, value: T) -> T:
        """``value``, or an equal one of the same type that was seen before; what has no hash is left as it is."""
        try:
            found = self._seen.get((type(value), value))
        except TypeError:
            return value
        if found is not None:
            return found  # type: ignore[return-value]  # the type is part of the key
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()
        self._seen[type(value), value] = value
        return value

    def condition(self, condition: Condition | None) -> Condition | None:
        """The condition with those of its parts shared that stand beside each other."""
        if isinstance(condition, AllOf):
            return self.one(AllOf(tuple(self.one(part) for part in condition.parts)))
        return None if condition is None else self.one(condition)
