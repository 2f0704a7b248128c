"""What a record may show of a message: passwords never, DTMF digits and numbers as configured.

What is masked depends on the *names* of the parameters, and messages of one kind carry the same names again and again:
so the answer is worked out once per set of names (:class:`Mask`) and remembered.
"""

import re
from collections.abc import Mapping
from enum import Enum

from msgspec import Struct

from interceptor.settings import Masking
from interceptor.values import bare_name

HIDDEN = "***"

# Names that mean a secret wherever they stand, as a whole or as a part of a longer name (`UserPassword`, `api_key`).
# The protocol's own list comes from the caller; this one stands behind it, for names that nobody has listed.
SECRET_WORDS = (
    "password",
    "passwd",
    "passwort",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "configxml",
)

_NAME = re.compile(r"[^\s{}<>\"':,;|=]{0,64}")  # what a parameter's name can look like

REMEMBERED = 1024  # sets of names; more than a busy PBX shows, less than a flood of invented names would cost
REMEMBERED_BYTES = 2048  # all names of a set together; a longer set is no message of the reference


class Way(Enum):
    """How a parameter's value is hidden."""

    WHOLE = "whole"
    NUMBER = "number"


class Mask(Struct, frozen=True, gc=False):
    """The parameters to hide in messages with one set of names, each with the way to do it.

    ``bodies`` are "names" that are no names but a body of another format, with a secret somewhere in it.
    """

    ways: tuple[tuple[str, Way], ...]
    masked: tuple[str, ...]
    bodies: tuple[str, ...] = ()


class Masker:
    """Decides by names what is hidden, and hides it."""

    def __init__(self, masking: Masking) -> None:
        self._digits = masking.numbers
        self._hides_dtmf = masking.dtmf
        self._masks: dict[tuple[object, ...], Mask] = {}

    @property
    def hides_numbers(self) -> bool:
        """Whether numbers are masked at all."""
        return self._digits is not None

    def mask(
        self, values: Mapping[str, str], secrets: frozenset[str], dtmf: frozenset[str], numbers: frozenset[str]
    ) -> Mask:
        """What to hide in a message whose parameters are ``values``; names are in lower case."""
        key = (secrets, dtmf, numbers, *values)
        found = self._masks.get(key)
        if found is None:
            found = self._read(values, secrets, dtmf, numbers)
            if sum(map(len, values)) <= REMEMBERED_BYTES:
                if len(self._masks) >= REMEMBERED:
                    self._masks.clear()
                self._masks[key] = found
        return found

    def _read(
        self, values: Mapping[str, str], secrets: frozenset[str], dtmf: frozenset[str], numbers: frozenset[str]
    ) -> Mask:
        ways: list[tuple[str, Way]] = []
        bodies: list[str] = []
        for name in values:
            way = self.way(name, secrets, dtmf, numbers)
            if way is not None:
                ways.append((name, way))
                if _NAME.fullmatch(name) is None:
                    bodies.append(name)
        return Mask(tuple(ways), tuple(HIDDEN if name in bodies else name for name, _ in ways), tuple(bodies))

    def way(self, name: str, secrets: frozenset[str], dtmf: frozenset[str], numbers: frozenset[str]) -> Way | None:
        """How the value of the parameter ``name`` is hidden; ``None`` when it may be shown."""
        lower = name.lower()
        if not (name.isascii() and name.isprintable()):  # `Pass\0word` is refused because others may read it so
            lower = bare_name(lower).lower()
        if lower in secrets or is_secret_name(lower) or (self._hides_dtmf and lower in dtmf):
            return Way.WHOLE
        if self._digits is not None and lower in numbers:
            return Way.NUMBER
        return None

    def hide(self, value: str, way: Way) -> str:
        """``value`` as the record may show it."""
        return HIDDEN if way is Way.WHOLE else self.number(value)

    def number(self, text: str) -> str:
        """A number with only its last digits to be seen; whole where numbers are not masked."""
        if self._digits is None or not text:
            return text
        digits = [character for character in text if character.isdigit()]
        hidden = len(digits) - self._digits
        if hidden <= 0:
            # A short extension shows whole; what is no number at all (a SIP name) shows nothing.
            return "".join(digits) or HIDDEN
        return "*" * hidden + "".join(digits[hidden:])


def is_secret_name(name: str) -> bool:
    """Whether a parameter of this name, in lower case, holds a secret by its mere name."""
    return name == "pass" or any(word in name for word in SECRET_WORDS)


_USERINFO = re.compile(r"(?<=//)[^/?#\s]*@")
# `name=` after a mark, or at the start; the same once more escaped, as it stands in an address inside an address. The
# possessive `++` keeps the time linear, whatever a sender writes.
_ASSIGNED = re.compile(r"(?:^|[?&;#,\s]|%3F|%26|%3B)([^=&;#?,\s%]++)(?:=|%3D)", re.IGNORECASE)
_VALUE_END = re.compile(r"[&;#\s]|%26|%3B", re.IGNORECASE)


def _names_a_secret(text: str) -> bool:
    """Whether a word that means a secret may stand somewhere: each of the words has one of these in it.

    Six searches cost less than one regular expression, and written out less than in a loop.
    """
    text = text.lower()
    return (
        "pass" in text or "pwd" in text or "secret" in text or "token" in text or "api" in text or "configxml" in text
    )


def may_tell(text: str) -> bool:
    """Whether :func:`mask_text` has to look at ``text`` at all: cheap, and true too often rather than too seldom."""
    if "@" in text and "//" in text:
        return True
    return ("=" in text or "%3" in text) and _names_a_secret(text)


def mask_text(text: str) -> str:
    """``text`` with user names and passwords of addresses hidden, and every ``name=value`` whose name is a secret's.

    Nothing else of it changes.
    """
    if "@" in text and "//" in text:
        text = _USERINFO.sub(HIDDEN + "@", text)
    if "=" in text or "%3" in text:
        text = _hide_assigned(text)
    return text


def _hide_assigned(text: str) -> str:
    if not _names_a_secret(text):
        return text
    parts: list[str] = []
    done = 0
    for found in _ASSIGNED.finditer(text):
        if found.start() >= done and is_secret_name(found[1].lower()):
            end = _VALUE_END.search(text, found.end())
            parts += (text[done : found.end()], HIDDEN)
            done = len(text) if end is None else end.start()
    parts.append(text[done:])
    return "".join(parts)


def path_alone(path: str) -> str:
    """The path of a request without any query, also one that came with no question mark (``/command=…``)."""
    path = path.partition("?")[0].partition("#")[0]
    if "=" in path or "%" in path:
        lower = path.lower()
        ends = [at for at in (lower.find("="), lower.find("%3d"), lower.find("%3f")) if at >= 0]
        if ends:
            path = path[: path.rfind("/", 0, min(ends)) + 1]
    return mask_text(path) if "@" in path else path
