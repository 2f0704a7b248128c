"""Regular expressions that run in linear time, over any text that the wire can give.

RE2 has no backtracking, so no pattern that a rule brings and no text that a sender brings can make it slow; it has no
look-around and no back-references in patterns either. Texts are searched as UTF-8; bytes on the wire that were no UTF-8
come as surrogates and go back unchanged.
"""

import re
from functools import lru_cache
from typing import Any, Final

import re2

from interceptor.document import Node, Problems, text, warn_unquoted

LONGEST: Final = 2000
_ESCAPE: Final = re.compile(r"\\(.?)", re.DOTALL)


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    return options


_OPTIONS: Final = _options()


class LinearPattern:
    """One compiled expression; equal when written equally."""

    __slots__ = ("_compiled", "source")

    def __init__(self, source: str) -> None:
        """Raise ``ValueError`` when ``source`` is no expression that RE2 takes."""
        self.source = source
        try:
            self._compiled: Any = re2.compile(source.encode("utf-8", "surrogateescape"), _OPTIONS)
        except re2.error as fault:
            cause = fault.args[0] if fault.args else "cannot be compiled"
            raise ValueError(cause.decode("utf-8", "replace") if isinstance(cause, bytes) else str(cause)) from None

    @property
    def groups(self) -> int:
        """How many groups the expression has."""
        return int(self._compiled.groups)

    def found_in(self, value: str) -> bool:
        """The expression fits some part of ``value``."""
        return self._compiled.search(value.encode("utf-8", "surrogateescape")) is not None

    def sub(self, replacement: str, value: str) -> str:
        r"""``value`` with every match replaced; ``\1`` in the replacement stands for the first group."""
        pieces = _pieces(replacement)

        def put_together(match: Any) -> bytes:
            return b"".join((match.group(piece) or b"") if isinstance(piece, int) else piece for piece in pieces)

        changed: bytes = self._compiled.sub(put_together, value.encode("utf-8", "surrogateescape"))
        return changed.decode("utf-8", "surrogateescape")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LinearPattern) and other.source == self.source

    def __hash__(self) -> int:
        return hash(self.source)

    def __repr__(self) -> str:
        return f"LinearPattern({self.source!r})"


def read_pattern(node: Node, problems: Problems, what: str, *, secret: bool = False) -> LinearPattern | None:
    """A regular expression as a rule writes it; one for a ``secret`` is not shown."""
    source = text(node, problems, what)
    if source is None:
        return None
    if len(source) > LONGEST:
        problems.add(node.place, f"{what} is longer than {LONGEST} characters", "regex_too_long")
        return None
    try:
        return LinearPattern(source)
    except ValueError as fault:
        problems.add(node.place, f"{what} cannot be read{'' if secret else f': {fault}'}", "bad_regex")
        return None


@lru_cache(maxsize=1024)
def _pieces(replacement: str) -> tuple[bytes | int, ...]:
    """The replacement taken apart: bytes to put as they are, and numbers of groups."""
    pieces: list[bytes | int] = []
    end = 0
    for found in _ESCAPE.finditer(replacement):
        pieces.append(replacement[end : found.start()].encode("utf-8", "surrogateescape"))
        pieces.append(int(found[1]) if found[1].isdecimal() else found[1].encode())
        end = found.end()
    pieces.append(replacement[end:].encode("utf-8", "surrogateescape"))
    return tuple(pieces)


def read_replacement(node: Node, pattern: LinearPattern, problems: Problems) -> str | None:
    r"""A replacement: text with ``\0`` for the whole match, ``\1`` to ``\9`` for groups, ``\\`` for a backslash."""
    replacement = text(node, problems, "`with`")
    warn_unquoted(node, problems)
    if replacement is None:
        return None
    for found in _ESCAPE.finditer(replacement):
        name = found[1]
        if name in tuple("0123456789"):
            if int(name) > pattern.groups:
                message = f"`\\{name}` names a group that `{pattern.source}` does not have"
                problems.add(node.place, message, "unknown_group")
                return None
        elif name != "\\":
            message = "a backslash stands only before the number of a group (`\\1`) or another backslash"
            problems.add(node.place, message, "bad_replacement")
            return None
    return replacement
