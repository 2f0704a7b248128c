"""What the policy is told about the house around it, so that it can be compiled without knowing it."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from interceptor.pacing import Pace, unhurried
from interceptor.values import Kind, Mode, Number, NumberClass, Verdict


def _not_known(_: str) -> bool:
    return False


def _nothing_inside(_: str) -> tuple[Number, ...]:
    return ()


class Context(Struct, frozen=True):
    """The names that rules may use, and what happens where no rule decides.

    ``number`` gives a number its canonical form; ``is_canonical`` tells of a text, at a hundredth of the cost, that it
    is one already (where it does not hold, nothing is known). ``inside`` tells the numbers that a text which is not one
    clean number may dial. ``parameters`` are the parameter names that the wire knows; where it is empty, the spelling
    of parameter names is not checked. ``spellings`` are other names for some of them, in lower case, each with the one
    that messages have it by. ``secrets`` are parameters and headers, in lower case, whose values nothing may
    tell. ``calls`` are those, in lower case, that name a call, the one that counts first. ``mode`` is that of
    everything; where it is not ``enforce``, the defaults do not count. ``pace`` is called now and then while a policy
    is compiled.

    What only the analysis of a policy asks: the ``country`` that numbers are read for, the plan of ``extensions``, the
    country's ``emergency`` numbers in canonical form (``None`` where these are not known), and per kind the names of
    the messages that ``dial`` a number, each with the parameters, in lower case, that may carry it; the number classes
    that rules have ``declared`` for numbers of their own.
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
    spellings: Mapping[str, str] = {}
    secrets: frozenset[str] = frozenset(("password",))
    inside: Callable[[str], tuple[Number, ...]] = _nothing_inside
    calls: tuple[str, ...] = ()
    mode: Mode = Mode.ENFORCE
    is_canonical: Callable[[str], object] = _not_known
    country: str = ""
    extensions: tuple[str, ...] | None = None
    emergency: tuple[str, ...] | None = None
    dial: Mapping[Kind, Mapping[str, tuple[str, ...]]] = {}
    declared: tuple[tuple[NumberClass, Any], ...] = ()
    pace: Pace = unhurried

    def parameter(self, written: str) -> str:
        """The name that a parameter has in messages, however it is spelled."""
        name = written.lower()
        return self.spellings.get(name, name)

    def canonical(self, text: str) -> str:
        """The canonical form of a number."""
        return text if self.is_canonical(text) else self.number(text).canonical

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
