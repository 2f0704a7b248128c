"""The rules that were in force before and still decide: those that calls in progress began with.

They are let go when no such call goes on, when there are too many of them, and when config does not want it so.
"""

from collections.abc import Callable
from typing import Final

from interceptor.policy import RuleSet

MOST_SETS: Final = 3
MOST_RULES: Final = 100_000  # of all older sets together; the newest of them is kept whatever its size
YOUNG_SECONDS: Final = 180.0  # so long a call that was asked for may take to tell its id


class OlderRules:
    """Sets of rules by their revision, the oldest first."""

    def __init__(self, most_rules: int = MOST_RULES) -> None:
        self._most_rules = most_rules
        self._sets: dict[str, tuple[RuleSet, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._sets)

    def __len__(self) -> int:
        return len(self._sets)

    def find(self, revision: str) -> RuleSet | None:
        """The rules of this revision, if they still decide."""
        found = self._sets.get(revision)
        return None if found is None else found[0]

    def keep(self, rules: RuleSet, instead: RuleSet, at: float) -> None:
        """Others decide ``instead`` of these rules, from this Unix time in seconds on."""
        self._sets.pop(instead.revision, None)
        self._sets[rules.revision] = rules, at
        while len(self._sets) > MOST_SETS or (
            len(self._sets) > 1 and sum(len(each.rules) for each, _ in self._sets.values()) > self._most_rules
        ):
            del self._sets[next(iter(self._sets))]

    def drop(self, revision: str) -> None:
        """Let one go: it decides beside them now."""
        self._sets.pop(revision, None)

    def clear(self) -> None:
        """Let all of them go."""
        self._sets.clear()

    def let_go(self, at: float, in_progress: Callable[[str], bool]) -> None:
        """Forget the rules that no call ``in_progress`` began with."""
        for revision, (_, since) in list(self._sets.items()):
            if at - since > YOUNG_SECONDS and not in_progress(revision):
                del self._sets[revision]
