"""What a file of cases says, as values. ``reading`` makes them, ``running`` runs them."""

from collections.abc import Mapping

from msgspec import Struct

from interceptor.rehearsal import Message
from interceptor.values import Place, Verb, Verdict


class Expect(Struct, frozen=True, kw_only=True):
    """What should become of a message; ``None`` is not looked at.

    ``rules`` and ``shadow`` are names in the order of reading, ``limited`` those whose limit was reached.
    ``parameters`` are as they leave, ``None`` for one that should not be there; their names are as they were written.
    ``target`` is the name of a cluster or of an app, or an address; so are ``mirrors``. ``code`` and ``message`` are
    what a command is told, ``verbs`` what a notification is.
    """

    place: Place
    verdict: Verdict | None = None
    reason: str | None = None
    rules: tuple[str, ...] | None = None
    shadow: tuple[str, ...] | None = None
    parameters: Mapping[str, str | None] | None = None
    target: str | None = None
    code: int | None = None
    message: str | None = None
    verbs: tuple[Verb, ...] | None = None
    tags: tuple[str, ...] | None = None
    mirrors: tuple[str, ...] | None = None
    limited: tuple[str, ...] | None = None


class Step(Struct, frozen=True, kw_only=True):
    """One message, sent ``repeat`` times, ``every`` so many seconds; each time it should come to the same.

    It is sent ``after`` so many seconds from what was sent before it.
    """

    place: Place
    message: Message
    expect: Expect
    repeat: int = 1
    after: float = 0.0
    every: float = 0.0


class Case(Struct, frozen=True, kw_only=True):
    """One case. Limits count over its steps and begin anew with the next case.

    ``scenario`` is the path of a scenario as it was written, for a case that has no steps; then ``expect`` has the
    ``rules`` and ``shadow`` of which each should have acted at least once.
    """

    name: str
    place: Place
    steps: tuple[Step, ...] = ()
    scenario: str = ""
    expect: Expect | None = None

    @property
    def label(self) -> str:
        """How reports name it."""
        return f"{self.place.file}:{self.place.line} {self.name}"
