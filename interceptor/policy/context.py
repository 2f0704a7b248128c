"""What the policy is told about the house around it, so that it can be compiled without knowing it."""

from collections.abc import Callable

from msgspec import Struct

from interceptor.values import Kind, Number, Verdict


class Context(Struct, frozen=True):
    """The names that rules may use, and what happens where no rule decides.

    ``number`` gives a number its canonical form. ``parameters`` are the parameter names that the wire knows; where it
    is empty, the spelling of parameter names is not checked.
    """

    commands: tuple[str, ...]
    notifications: tuple[str, ...]
    verbs: tuple[str, ...]
    apps: frozenset[str]
    clusters: frozenset[str]
    defaults: dict[Kind, Verdict]
    zone: str
    number: Callable[[str], Number]
    parameters: frozenset[str] = frozenset()

    def names(self, kind: Kind) -> tuple[str, ...]:
        """The message names of one kind that are known."""
        match kind:
            case Kind.COMMAND:
                return self.commands
            case Kind.NOTIFICATION:
                return self.notifications
            case Kind.VERB:
                return self.verbs


class Source(Struct, frozen=True):
    """One rules file: its name as problems should show it, and its bytes."""

    file: str
    data: bytes
