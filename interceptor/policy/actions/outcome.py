"""What actions act on, and what an action is."""

from typing import Protocol

from interceptor.values import Change, Kind, Refusal, Reply, Target, Verdict

EVERY_KIND = frozenset(Kind)


class Outcome:
    """A decision in the making; the actions of the rules that match write into it, in the order of reading."""

    __slots__ = ("changes", "kind", "refusal", "reply", "rule", "tags", "target", "verdict")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.rule = ""  # the name of the rule whose actions write
        self.verdict: Verdict | None = None
        self.changes: list[Change] = []
        self.target: Target | None = None
        self.refusal: Refusal | None = None
        self.reply: Reply | None = None
        self.tags: list[str] = []


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

    def act(self, outcome: Outcome) -> None:
        """Do it."""
        ...
