"""What a record may show of a message: passwords never, DTMF digits and numbers as configured.

What is masked depends on the *names* of the parameters, and messages of one kind carry the same names again and again:
so the answer is worked out once per set of names (:class:`Mask`) and remembered.
"""

import re
from collections.abc import Mapping
from enum import Enum

from msgspec import Struct

from interceptor.settings import Masking

HIDDEN = "***"

# Names that mean a secret wherever they stand, as a whole or as a part of a longer name (`UserPassword`, `api_key`).
# The protocol's own list comes from the caller; this one stands behind it, for names that nobody has listed.
SECRET_WORDS = (
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "configxml",
)

REMEMBERED = 4096  # sets of names; more than a busy PBX shows, less than a flood of invented names would cost


class Way(Enum):
    """How a parameter's value is hidden."""

    WHOLE = "whole"
    NUMBER = "number"


class Mask(Struct, frozen=True, gc=False):
    """The parameters to hide in messages with one set of names, each with the way to do it."""

    ways: tuple[tuple[str, Way], ...]
    masked: tuple[str, ...]


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
            if len(self._masks) >= REMEMBERED:
                self._masks.clear()
            found = self._masks[key] = self._read(values, secrets, dtmf, numbers)
        return found

    def _read(
        self, values: Mapping[str, str], secrets: frozenset[str], dtmf: frozenset[str], numbers: frozenset[str]
    ) -> Mask:
        ways: list[tuple[str, Way]] = []
        for name in values:
            way = self.way(name, secrets, dtmf, numbers)
            if way is not None:
                ways.append((name, way))
        return Mask(tuple(ways), tuple(name for name, _ in ways))

    def way(self, name: str, secrets: frozenset[str], dtmf: frozenset[str], numbers: frozenset[str]) -> Way | None:
        """How the value of the parameter ``name`` is hidden; ``None`` when it may be shown."""
        lower = name.lower()
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
    return any(word in name for word in SECRET_WORDS)


_USERINFO = re.compile(r"(?<=//)[^/?#\s]*@")
_QUERY_VALUE = re.compile(r"([?&;#])([^=&;#?\s]+)=([^&;#\s]*)")


def mask_url(text: str) -> str:
    """``text`` with the user names and passwords of the addresses in it hidden, and the secrets in their queries.

    Nothing else of it changes; text without an address comes back as it is.
    """
    if "//" in text and "@" in text:
        text = _USERINFO.sub(HIDDEN + "@", text)
    if "=" in text and "?" in text:
        text = _QUERY_VALUE.sub(_hide_query_value, text)
    return text


def _hide_query_value(found: re.Match[str]) -> str:
    mark, name, _ = found.groups()
    return f"{mark}{name}={HIDDEN}" if is_secret_name(name.lower()) else found.group()


def path_alone(path: str) -> str:
    """The path of a request without any query, also without one that came with no question mark (``/command=…``)."""
    path = path.partition("?")[0].partition("#")[0]
    if "=" in path or "%" in path:
        lower = path.lower()
        ends = [at for at in (lower.find("="), lower.find("%3d"), lower.find("%3f")) if at >= 0]
        if ends:
            path = path[: path.rfind("/", 0, min(ends)) + 1]
    return mask_url(path) if "@" in path else path
