"""Which calls are whose: an app acts on the calls it was told about, and sees no others.

An app holds a call once a notification of that call has gone to it: the call that it asked for tells itself with
CallConnected, any other with IncomingCall, CallChanged and the like. What is not its own does not exist for it, in the
PBX's own words (601), and does not stand in the lists it gets.

:class:`Holdings` is a table of a size that never changes, in memory that it is given; several workers may share it
behind one ``guard``. A holding that nobody renews is forgotten after ``KEPT_SECONDS``, or earlier where its row is
needed: the oldest of the few that may stand there goes first.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from interceptor.rows import Rows
from interceptor.wire import knowledge
from interceptor.wire.knowledge import MessageType, Role, lower
from interceptor.wire.markup import Markup, read_markup

if TYPE_CHECKING:
    from mmap import mmap

KEPT_SECONDS: Final = 7 * 86_400
_LISTS: Final = frozenset({"listactivecalls", "getcallhistory", "listcallhistory"})
_ITEMS: Final = frozenset({"callinfo", "call"})
_EXTENSIONS: Final = "listextensions"
_EXTENSION_ITEM: Final = "extensionsummary"
_COUNT: Final = "numberofcalls"


class Holdings:
    """The calls that each app holds; ids are compared as they are written."""

    def __init__(
        self, memory: "bytearray | mmap | None" = None, guard: AbstractContextManager[None] | None = None
    ) -> None:
        self._rows = Rows(memory, guard)

    def hold(self, app: str, call: str, at: float) -> None:
        """The app is told of the call at this Unix time, in seconds."""
        self._rows.put(f"{app}\0{call}", at)

    def holds(self, app: str, call: str, at: float) -> bool:
        """Whether the app was told of the call not too long ago."""
        found = self._rows.find(f"{app}\0{call}")
        return found is not None and at - found[0] <= KEPT_SECONDS


def named_calls(message: MessageType | None, values: Mapping[str, str]) -> tuple[str, ...]:
    """The ids of the calls that a message names, in its order."""
    return tuple(value for name, value in values.items() if value and knowledge.role(message, name) is Role.CALL_ID)


def is_list(name: str) -> bool:
    """Whether a command's answer lists calls or extensions."""
    return lower(name) in _LISTS or lower(name) == _EXTENSIONS


def filtered(
    name: str, body: bytes, sees_call: Callable[[str], bool], sees_extension: Callable[[str], bool]
) -> bytes | None:
    """The answer to a list command without what the app may not see; ``None`` where all of it may be seen.

    Every other byte stays, in its order, and a count of calls is lowered by what was taken out. Of an answer that
    cannot be read an empty ``Response`` is left: nobody could tell apart what it lists.
    """
    markup = read_markup(body)
    if markup is None:
        return b"<Response/>" if b"<" in body else None
    if lower(name) == _EXTENSIONS:
        _take_out(markup, _EXTENSION_ITEM, ("id",), sees_extension)
    else:
        taken = sum(_take_out(markup, item, ("callid",), sees_call) for item in _ITEMS)
        if taken:
            _lower_count(markup, taken)
    return markup.written() if markup.edited else None


def _take_out(markup: Markup, item: str, keys: tuple[str, ...], sees: Callable[[str], bool]) -> int:
    taken = 0
    for element in markup.root.descendants():
        if lower(element.name) != item or not element.children:
            continue
        key = next((child.verb.text.strip() for child in element.children if lower(child.name) in keys), "")
        if not sees(key):
            markup.remove_line(element)
            taken += 1
    return taken


def _lower_count(markup: Markup, taken: int) -> None:
    for element in markup.root.descendants():
        text = element.verb.text.strip()
        if lower(element.name) == _COUNT and text.isascii() and text.isdigit():
            markup.set_text(element, str(max(0, int(text) - taken)))
