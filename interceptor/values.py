"""The values that every part of the house shares: what was asked, what was decided, where it goes.

``policy``, ``wire`` and ``audit`` do not know each other; they meet in these types, and ``pipeline.py`` introduces
them. Every value is frozen. The hot ones are :class:`msgspec.Struct`, which costs a tenth of a frozen dataclass to
make.
"""

import unicodedata
from collections.abc import Mapping
from enum import Enum
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import force_setattr


class Kind(Enum):
    """What a message is: asked of the PBX, told by the PBX, or one instruction in an app's answer."""

    COMMAND = "command"
    NOTIFICATION = "notification"
    VERB = "verb"

    __hash__ = object.__hash__  # members are single; Enum's own is made in Python and costs ten times as much


class NumberClass(Enum):
    """What dialling a number means, for price and for duty."""

    EMERGENCY = "emergency"
    PREMIUM = "premium"
    SATELLITE = "satellite"
    SHARED_COST = "shared_cost"
    TOLL_FREE = "toll_free"
    MOBILE = "mobile"
    FIXED = "fixed"
    INTERNAL = "internal"
    OTHER = "other"

    __hash__ = object.__hash__  # members are single; Enum's own is made in Python and costs ten times as much


class NumberType(Enum):
    """What the number plan says that a number is; our own extensions and the short numbers of a country beside it."""

    FIXED_LINE = "fixed_line"
    MOBILE = "mobile"
    FIXED_LINE_OR_MOBILE = "fixed_line_or_mobile"
    TOLL_FREE = "toll_free"
    PREMIUM_RATE = "premium_rate"
    SHARED_COST = "shared_cost"
    VOIP = "voip"
    PERSONAL_NUMBER = "personal_number"
    PAGER = "pager"
    UAN = "uan"
    VOICEMAIL = "voicemail"
    SHORT = "short"
    EMERGENCY = "emergency"
    EXTENSION = "extension"
    UNKNOWN = "unknown"

    __hash__ = object.__hash__  # members are single; Enum's own is made in Python and costs ten times as much


class Number(Struct, frozen=True, gc=False):
    """A dialled or calling number in its one canonical form.

    ``canonical`` is E.164 with ``+`` for public numbers (``+36201234567``), the bare digits for extensions and
    emergency numbers (``1099``, ``112``), and the text as written where it is no number at all. ``country`` is the
    ISO 3166 code in capitals, ``""`` where there is none.
    """

    written: str
    canonical: str
    country: str
    number_class: NumberClass
    number_type: NumberType = NumberType.UNKNOWN


class CallFacts(Struct, frozen=True, gc=False):
    """The running call that a message is about, as far as it is known.

    ``owned`` says that its app was told of the call before. ``state`` and ``direction`` are words of the rules
    language, ``""`` where nothing that passed has shown them.
    """

    owned: bool = False
    state: str = ""
    direction: str = ""


class Facts(Struct, frozen=True, gc=False):
    """All that a condition may see: the message as it arrived, who sent it, and when.

    ``values`` maps parameter names in lower case to their decoded text; ``headers`` maps header names in lower case to
    theirs; ``source`` is the peer's address without its port; ``app`` is ``""`` for a sender we do not know; ``at`` is
    Unix time in seconds; ``exchange`` is the id of the exchange it came in. ``call`` is ``None`` for a message that
    names no call, and where no rule asks for calls.
    """

    kind: Kind
    name: str
    app: str
    source: str
    number: Number | None
    caller: Number | None
    values: Mapping[str, str]
    headers: Mapping[str, str]
    at: float
    exchange: str = ""
    call: CallFacts | None = None


class Verdict(Enum):
    """How the reading of the rules ended."""

    ALLOW = "allow"
    DENY = "deny"
    ANSWER = "answer"

    __hash__ = object.__hash__  # members are single; Enum's own is made in Python and costs ten times as much


class Mode(Enum):
    """How far a rule goes: it acts, it only says that it would have, or it is not read."""

    ENFORCE = "enforce"
    SHADOW = "shadow"
    OFF = "off"


class Refusal(Struct, frozen=True, gc=False):
    """What the asker of a refused message is told: a code of the PBX's dialect and one sentence."""

    code: int
    message: str


class Verb(Struct, frozen=True):
    """One OzML instruction: its name, its attributes in order, its text, and the verbs inside it."""

    name: str
    attributes: tuple[tuple[str, str], ...] = ()
    text: str = ""
    children: tuple["Verb", ...] = ()


class Reply(Struct, frozen=True):
    """An answer that a rule gives in place of the other side.

    To a notification it is a list of ``verbs``; to a command it is ``code`` and ``message``.
    """

    verbs: tuple[Verb, ...] = ()
    code: int = 200
    message: str = "Command successfully executed"


class Pattern(Protocol):
    """A compiled regular expression that runs in linear time."""

    def sub(self, replacement: str, text: str) -> str: ...


class SetParameter(Struct, frozen=True):
    """Give a parameter this value, adding the parameter where it is missing."""

    name: str
    value: str


class RemoveParameter(Struct, frozen=True):
    """Take a parameter out."""

    name: str


class RenameParameter(Struct, frozen=True):
    """Give a parameter another name, its value untouched."""

    name: str
    to: str


class ReplaceInParameter(Struct, frozen=True):
    r"""Replace every match of a regular expression in a parameter's value; ``\1`` stands for the first group."""

    name: str
    pattern: Any  # a Pattern; msgspec does not know protocols
    replacement: str


Change = SetParameter | RemoveParameter | RenameParameter | ReplaceInParameter


class ToCluster(Struct, frozen=True):
    """Send the message to this cluster of PBX endpoints."""

    cluster: str


class ToApp(Struct, frozen=True):
    """Send the notification to this app, at the address that config gives for it."""

    app: str


class ToUrl(Struct, frozen=True):
    """Send the notification to this address."""

    url: str


Target = ToCluster | ToApp | ToUrl


class Decision(Struct, frozen=True, gc=False):
    """The whole answer of the policy to one message.

    ``reason`` is a stable code: ``rule`` (a rule ended the reading), ``limit`` (what a rule does with messages over its
    limit ended it) or ``default`` (none did), and those that the pipeline adds before the policy is asked. ``rule`` is
    the name of the rule that ended the reading, ``""`` for a default. ``rules`` are the rules that acted, in order,
    each as ``file:line name``; ``shadow`` those that would have. Where the verdict is ``deny``, ``refusal`` says what
    the asker is told; where it is ``answer``, ``reply`` is the answer. ``limited`` are those of ``rules`` and
    ``shadow`` whose limit was reached, ``slots`` the numbers of what limits took and is to be given back when the
    exchange has ended. Copies of the message go to ``mirrors``.
    """

    verdict: Verdict
    reason: str
    revision: str
    rule: str = ""
    rules: tuple[str, ...] = ()
    shadow: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    target: Target | None = None
    refusal: Refusal | None = None
    reply: Reply | None = None
    tags: tuple[str, ...] = ()
    limited: tuple[str, ...] = ()
    slots: tuple[int, ...] = ()
    owns_any: bool = False
    mirrors: tuple[Target, ...] = ()


class Place(Struct, frozen=True, gc=False):
    """Where in a file something stands; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Severity(Enum):
    """How bad a problem is: an error keeps a file from being used, a warning and a note do not."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    __hash__ = object.__hash__  # members are single; Enum's own is made in Python and costs ten times as much


class Problem(Struct, frozen=True, gc=False):
    """One thing wrong with a file that a person wrote. ``code`` is stable, ``message`` is one line for the person.

    What was written may hold line breaks and control characters; the message tells them and does not obey them.
    """

    place: Place
    message: str
    code: str
    severity: Severity = Severity.ERROR

    def __post_init__(self) -> None:
        if not self.message.isprintable():
            written = (each if each.isprintable() else each.encode("unicode_escape").decode() for each in self.message)
            force_setattr(self, "message", "".join(written))

    def __str__(self) -> str:
        if self.severity is Severity.ERROR:
            return f"{self.place}: {self.message}"
        return f"{self.place}: {self.severity.value}: {self.message}"


class ProblemsError(Exception):
    """A file cannot be used; every problem of it is told at once."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def bare_name(name: str) -> str:
    """A name as a lenient reader might see it: blanks, controls and marks passed over, look-alikes made ASCII."""
    return "".join(c for c in unicodedata.normalize("NFKD", name) if "!" <= c <= "~")
