"""What actions act on, and what an action is."""

from collections.abc import Iterable
from typing import Protocol

from interceptor.policy.columns import Column
from interceptor.values import Change, Facts, Kind, Refusal, Reply, Target, Verdict

EVERY_KIND = frozenset(Kind)


class Outcome:
    """A decision in the making; the actions of the rules that match write into it, in the order of reading.

    ``facts`` may only be asked for by actions that vary: what the others make of a message is remembered for the next.
    """

    __slots__ = (
        "_facts",
        "changes",
        "kind",
        "mirrors",
        "owns_any",
        "refusal",
        "reply",
        "rule",
        "tags",
        "target",
        "verdict",
    )

    def __init__(self, kind: Kind, facts: Facts | None = None) -> None:
        self.kind = kind
        self._facts = facts
        self.rule = ""  # the name of the rule whose actions write
        self.verdict: Verdict | None = None
        self.changes: list[Change] = []
        self.target: Target | None = None
        self.mirrors: list[Target] = []
        self.refusal: Refusal | None = None
        self.reply: Reply | None = None
        self.tags: list[str] = []
        self.owns_any = False

    @property
    def facts(self) -> Facts:
        """The message that is decided."""
        assert self._facts is not None
        return self._facts


class Action(Protocol):
    """One thing that a rule does when it matches. Actions are values; equal ones do the same."""

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds of messages that it can be done to."""
        ...

    @property
    def ends(self) -> bool:
        """The reading ends with it."""
        ...

    @property
    def reads(self) -> tuple[Column, ...] | None:
        """What it does beside its rule matching depends on: these columns for the message; ``None``: on more of it."""
        ...

    def act(self, outcome: Outcome) -> None:
        """Do it."""
        ...


def together(actions: Iterable[Action]) -> tuple[Column, ...] | None:
    """What all of these read, as one of them says it."""
    found: dict[Column, None] = {}
    for action in actions:
        reads = action.reads
        if reads is None:
            return None
        found.update(dict.fromkeys(reads))
    return tuple(found)
