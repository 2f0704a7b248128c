"""Answers to list commands, several of them made into one: what a cluster of several PBXs answers as if it were one.

A list is one element of an answer (``ActiveCalls``, ``Calls``, ``Extensions``) with an item for each call or extension.
The first answer that has items is the ground: its bytes stay, save for its items, its count and, where something is
missing, its code and message. Items of the others are put in as they were written, each on a line like those of the
ground; a prefix or default namespace that means something else there is declared on the item itself, and characters of
another encoding are written as references.

Items keep the order of the PBX they come from. Where each PBX sorts its own by ``StartTime``, the whole is sorted so,
newest first or oldest first as they do it; where one does not, the items of one PBX follow those of the one before.
Extensions that are alike stand once.
"""

import codecs
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from heapq import merge
from typing import Final

from lxml import etree
from msgspec import Struct

from interceptor.wire.answers import escape
from interceptor.wire.knowledge import lower
from interceptor.wire.xml import local_name, parse, stripped

COMMANDS: Final = frozenset({"ListActiveCalls", "GetCallHistory", "ListCallHistory", "ListExtensions"})
"""The commands whose answers can be merged; names as the reference spells them."""
ROWS_MOST: Final = 10_000  # of one PBX, for the sake of a page far back
_PAYLOADS: Final = frozenset({"activecalls", "calls", "extensions"})
_EXTENSIONS: Final = "extensions"
_NEWEST_FIRST: Final = "calls"  # the history, where the answers themselves do not show it
_COUNT: Final = "numberofcalls"
_TAG: Final = re.compile(
    rb"<!--.*?-->|<\?.*?\?>|<!\[CDATA\[.*?\]\]>|</[^>]*>|<(?P<opens>[^\s/>!?]+)(?:[^\"'>]|\"[^\"]*\"|'[^']*')*>",
    re.DOTALL,
)
_NAME: Final = re.compile(rb"<[^\s/>]+")
_CALL_ID: Final = re.compile(r"[^\s<>]{1,64}")


class Item(Struct, frozen=True):
    """One entry of a list: its bytes with those before it, when it began, what it says."""

    lead: bytes
    written: bytes
    start: datetime | None
    texts: tuple[str, ...]
    namespaces: dict[str | None, str]


class Span(Struct, frozen=True):
    """An element directly in the root: its tags lie from ``start`` to ``opened`` and from ``closing`` to ``end``."""

    name: str
    start: int
    opened: int
    closing: int
    end: int


class Listing(Struct, frozen=True):
    """An answer that can be read as a list. ``total`` is the count it tells, where it tells one."""

    body: bytes
    encoding: str
    parts: tuple[Span, ...]
    payload: Span
    items: tuple[Item, ...]
    tail: bytes
    total: int | None
    namespaces: dict[str | None, str]


class Page(Struct, frozen=True):
    """Which part of a list is asked for; ``number`` counts from 0."""

    number: int
    rows: int


def read_listing(body: bytes) -> Listing | None:
    """The list in an answer, ``None`` where there is none or it cannot be read; never raises."""
    clean = stripped(body)
    root = parse(clean, len(clean))
    if root is None:
        return None
    payloads = [each for each in root if lower(local_name(each)) in _PAYLOADS]
    if len(payloads) != 1:
        return None
    found = _places(clean, root, payloads[0])
    if found is None:
        return None
    parts, inside = found
    payload = parts[root.index(payloads[0])]
    items: list[Item] = []
    at = payload.opened
    for element, (start, end) in zip(payloads[0], inside, strict=True):
        items.append(
            Item(
                clean[at:start],
                clean[start:end],
                _start(element),
                tuple(f"{local_name(each)}={(each.text or '').strip()}" for each in element.iter()),
                dict(element.nsmap),
            )
        )
        at = end
    encoding = codecs.lookup(root.getroottree().docinfo.encoding or "utf-8").name
    return Listing(
        clean,
        "utf-8" if encoding == "ascii" else encoding,
        parts,
        payload,
        tuple(items),
        clean[at : payload.closing],
        _total(root),
        dict(payloads[0].nsmap),
    )


def merged(listings: Sequence[Listing], page: Page | None = None, outcome: tuple[int, str] | None = None) -> bytes:
    """One answer with the items of all, at least one of them; of a ``page``, those that stand on it.

    With ``outcome`` it has this code and this message in the place of its own.
    """
    ground = next((each for each in listings if each.items), listings[0])
    rows = _in_order(listings)
    if page is not None:
        rows = rows[page.number * page.rows : (page.number + 1) * page.rows]
    edits: list[tuple[int, int, bytes]] = []
    if [item for _, item in rows] != list(ground.items):
        lead = ground.items[0].lead if ground.items and ground.items[0].lead.isspace() else b""
        content = b"".join(
            item.lead + item.written if listing is ground else lead + _as_in(ground, listing, item)
            for listing, item in rows
        )
        edits.append((ground.payload.opened, ground.payload.closing, content + ground.tail))
    if len(listings) > 1 and any(each.total is not None for each in listings):
        total = sum(len(each.items) if each.total is None else each.total for each in listings)
        edits += _texts(ground, {_COUNT: str(total)})
    if outcome is not None:
        edits += _texts(ground, {"code": str(outcome[0]), "message": escape(outcome[1])})
    body, done, pieces = ground.body, 0, []
    for start, end, instead in sorted(edits):
        pieces += [body[done:start], instead]
        done = end
    return b"".join((*pieces, body[done:]))


def call_ids(body: bytes) -> tuple[str, ...]:
    """The ids of the calls that an answer tells of, as they are written; none where it cannot be read."""
    root = parse(body, len(body)) if b"allId" in body or b"allid" in body.lower() else None
    if root is None:
        return ()
    texts = ((each.text or "").strip() for each in root.iter() if lower(local_name(each)) == "callid")
    return tuple(text for text in texts if _CALL_ID.fullmatch(text))


def _places(
    body: bytes, root: "etree._Element", payload: "etree._Element"
) -> tuple[tuple[Span, ...], list[tuple[int, int]]] | None:
    """Where the elements of the root stand, and those of the payload; ``None`` where we would not cut as is read."""
    opened: list[tuple[bytes, int, int]] = []
    parts: list[Span] = []
    inside: list[tuple[bytes, int, int]] = []
    wanted = root.index(payload)
    for tag in _TAG.finditer(body):
        name = tag["opens"]
        if name is not None:
            opened.append((name, *tag.span()))
            if not tag[0].endswith(b"/>"):
                continue
            closing = tag.end()
        elif not tag[0].startswith(b"</"):
            continue
        else:
            closing = tag.start()
        if not opened:
            return None
        name, start, begins = opened.pop()
        if len(opened) == 1:
            parts.append(Span(_local(name), start, begins, closing, tag.end()))
        elif len(opened) == 2 and len(parts) == wanted:
            inside.append((name, start, tag.end()))
    if opened or [each.name for each in parts] != [local_name(each) for each in root]:
        return None
    if [_local(name) for name, _, _ in inside] != [local_name(each) for each in payload]:
        return None
    return tuple(parts), [(start, end) for _, start, end in inside]


def _local(name: bytes) -> str:
    return name.rpartition(b":")[2].decode("utf-8", "replace")


def _start(element: "etree._Element") -> datetime | None:
    for child in element:
        if lower(local_name(child)) == "starttime":
            try:
                return datetime.fromisoformat((child.text or "").strip())
            except ValueError:
                return None
    return None


def _total(root: "etree._Element") -> int | None:
    for child in root:
        text = (child.text or "").strip()
        if lower(local_name(child)) == _COUNT and text.isascii() and text.isdigit() and len(text) < 12:
            return int(text)
    return None


def _in_order(listings: Sequence[Listing]) -> list[tuple[Listing, Item]]:
    rows = [[(each, item) for item in each.items] for each in listings]
    if lower(listings[0].payload.name) == _EXTENSIONS:
        return list({item.texts: (each, item) for each, item in reversed(list(_all(rows)))}.values())[::-1]
    newest_first = _newest_first(listings)
    if newest_first is None:
        return list(_all(rows))
    return list(merge(*rows, key=lambda row: _at(row[1]), reverse=newest_first))


def _all(rows: Sequence[Sequence[tuple[Listing, Item]]]) -> Iterator[tuple[Listing, Item]]:
    return (row for part in rows for row in part)


def _newest_first(listings: Sequence[Listing]) -> bool | None:
    """How all of them are sorted by their start; ``None`` where they are not, or cannot be compared."""
    starts = [[item.start for item in each.items] for each in listings]
    every = [start for part in starts for start in part]
    if None in every or len({start.tzinfo is None for start in every if start is not None}) > 1:
        return None
    times = [[start for start in part if start is not None] for part in starts]
    rising = all(part == sorted(part) for part in times)
    falling = all(part == sorted(part, reverse=True) for part in times)
    if rising and falling:
        return lower(listings[0].payload.name) == _NEWEST_FIRST
    return falling if rising or falling else None


def _at(item: Item) -> datetime:
    assert item.start is not None
    return item.start


def _as_in(ground: Listing, listing: Listing, item: Item) -> bytes:
    """An item of another answer as it means the same in the ground."""
    written = item.written
    if listing.encoding != ground.encoding and not written.isascii():
        written = written.decode(listing.encoding).encode(ground.encoding, "xmlcharrefreplace")
    declared = b""
    for prefix in {*listing.namespaces, *ground.namespaces}:
        here, there = listing.namespaces.get(prefix), ground.namespaces.get(prefix)
        if here == there:
            continue
        if prefix is None:
            if not re.search(rb"^<[^>]*\sxmlns\s*=", written):
                declared += b' xmlns="%b"' % escape(here or "").encode("ascii", "xmlcharrefreplace")
        elif here is not None and re.search(rb"[<\s]%b:" % re.escape(prefix.encode()), written):
            declared += b' xmlns:%b="%b"' % (prefix.encode(), escape(here).encode("ascii", "xmlcharrefreplace"))
    if not declared:
        return written
    name = _NAME.match(written)
    assert name is not None
    return written[: name.end()] + declared + written[name.end() :]


def _texts(listing: Listing, texts: dict[str, str]) -> Iterator[tuple[int, int, bytes]]:
    """The edits that give elements directly in the root these texts, by their names in lower case."""
    for part in listing.parts:
        text = texts.get(lower(part.name))
        if text is not None and part.closing < part.end:
            yield part.opened, part.closing, text.encode("ascii", "xmlcharrefreplace")
