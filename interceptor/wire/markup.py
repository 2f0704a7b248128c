"""OzML with the places of everything in it, so that one verb can change and every other byte stays.

What a document means is read by the one parser of the house (``xml.py``). Where it stands is found by cutting the same
bytes at their tags, which is unambiguous in a document that is well-formed and has no document type. The two are laid
side by side, element by element; where they should differ, nothing is believed and the document counts as unreadable.

Laws: without an edit the bytes are those that came; an edit touches the bytes of its own place only; what is written is
ASCII, everything else as a character reference, so that it reads the same in every encoding.
"""

import re
from collections.abc import Iterator

from lxml import etree
from msgspec import Struct

from interceptor.values import Verb
from interceptor.wire.answers import escape
from interceptor.wire.knowledge import lower, parameter_name
from interceptor.wire.ozml import ROOTS, read_verb
from interceptor.wire.xml import MAX_BYTES, MAX_DEPTH, local_name, parse, stripped

_TAG = re.compile(
    rb"<!--.*?-->|<\?.*?\?>|<!\[CDATA\[.*?\]\]>"
    rb"|</(?P<closes>[^\s>]+)\s*>"
    rb"|<(?P<opens>[^\s/>!?]+)(?P<inside>(?:\s+[^\s=/>]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*)\s*(?P<empty>/?)>",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(rb"\s+(?P<name>[^\s=]+)\s*=\s*(?P<quote>[\"'])(?P<value>.*?)(?P=quote)", re.DOTALL)
_OPENING = re.compile(rb"<([^\s/>]+)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")


class Attribute(Struct, frozen=True):
    """An attribute: its local name and value as they are read, and where it stands.

    ``start`` and ``end`` enclose the whole of it with the blank before; the value alone lies, between its quotes, from
    ``value_start`` to ``value_end``.
    """

    name: str
    value: str
    start: int
    end: int
    name_start: int
    name_end: int
    value_start: int
    value_end: int


class Element:
    """An element and its place: the tags lie from ``start`` to ``opened`` and from ``closing`` to ``end``.

    ``texts`` are the places of its own text, between its tags, its children and comments; character data in CDATA is
    one of them with its marks. ``around`` are the elements that it stands in, as verbs and the root first: an element
    that led up as well as down would keep every document until the collector comes.
    """

    __slots__ = ("around", "attributes", "children", "closing", "end", "name", "opened", "start", "texts", "verb")

    def __init__(self, name: str, around: tuple[Verb, ...], start: int, opened: int, verb: Verb) -> None:
        self.name = name
        self.around = around
        self.start = start
        self.opened = opened
        self.closing = opened
        self.end = opened
        self.attributes: tuple[Attribute, ...] = ()
        self.children: list[Element] = []
        self.texts: list[tuple[int, int]] = []
        self.verb = verb

    @property
    def depth(self) -> int:
        """How many elements it stands in; 1 for a verb directly in the root."""
        return len(self.around)

    def attribute(self, name: str) -> Attribute | None:
        """The first attribute of this name, in any case and any spelling of the reference."""
        return next((each for each in self.attributes if parameter_name(each.name) == parameter_name(name)), None)

    def descendants(self) -> Iterator["Element"]:
        """Every element inside, in document order."""
        for child in self.children:
            yield child
            yield from child.descendants()


def is_attribute_name(name: str) -> bool:
    """Whether an attribute can have this name: the parameter of a command can have any."""
    return _NAME.match(name) is not None


class Markup:
    """A document that can be read, and the changes to be made to it."""

    def __init__(self, body: bytes, root: Element) -> None:
        self.body = body
        self.root = root
        self._edits: list[tuple[int, int, bytes]] = []

    @property
    def edited(self) -> bool:
        """Whether anything is to change."""
        return bool(self._edits)

    def set_attribute(self, element: Element, name: str, value: str) -> None:
        """Give every attribute of this name the value, in place; add one where there is none."""
        found = [each for each in element.attributes if parameter_name(each.name) == parameter_name(name)]
        for each in found:
            self._edits.append((each.value_start, each.value_end, _written(value)))
        if not found:
            if not is_attribute_name(name):
                raise ValueError(f"`{name}` is no name that OzML can hold")
            at = self._end_of_name(element)
            self._edits.append((at, at, b" " + name.encode() + b'="' + _written(value) + b'"'))

    def remove_attribute(self, element: Element, name: str) -> None:
        """Take out every attribute of this name."""
        for each in element.attributes:
            if parameter_name(each.name) == parameter_name(name):
                self._edits.append((each.start, each.end, b""))

    def rename_attribute(self, element: Element, name: str, to: str) -> None:
        """Give every attribute of this name another; its value stays as it is written."""
        if not is_attribute_name(to):
            raise ValueError(f"`{to}` is no name that OzML can hold")
        for each in element.attributes:
            if parameter_name(each.name) == parameter_name(name):
                self._edits.append((each.name_start, each.name_end, to.encode()))

    def set_text(self, element: Element, text: str) -> None:
        """Give an element this text instead of its own; blanks around what was there stay, children stay."""
        body, first = self.body, True
        for start, end in element.texts:
            piece = body[start:end]
            if piece.isspace():
                continue
            lead = len(piece) - len(piece.lstrip())
            trail = len(piece) - len(piece.rstrip())
            self._edits.append((start + lead, end - trail, _written(text) if first else b""))
            first = False
        if first:
            self._insert(element, _written(text))

    def remove(self, element: Element) -> None:
        """Take an element out with all that is in it."""
        self._edits.append((element.start, element.end, b""))

    def remove_line(self, element: Element) -> None:
        """Take an element out with the blanks before it, so that a list of lines stays one."""
        start = element.start
        while self.body[start - 1 : start].isspace():
            start -= 1
        self._edits.append((start, element.end, b""))

    def replace(self, element: Element, written: bytes) -> None:
        """Put other elements, as :func:`~interceptor.wire.ozml.encode_fragment` writes them, in an element's place."""
        self._edits.append((element.start, element.end, written))

    def written(self) -> bytes:
        """The document with its changes. An edit inside an element that is taken out goes with it.

        What is put where something is taken out comes first, and stays.
        """
        body, done = self.body, 0
        pieces: list[bytes] = []
        for start, end, instead in sorted(self._edits, key=lambda edit: (edit[0], edit[1] > edit[0], -edit[1])):
            if start < done:
                continue
            pieces += (body[done:start], instead)
            done = end
        return b"".join((*pieces, body[done:]))

    def _end_of_name(self, element: Element) -> int:
        match = _OPENING.match(self.body, element.start)
        assert match is not None
        return match.end()

    def _insert(self, element: Element, written: bytes) -> None:
        if element.closing > element.opened or self.body[element.opened - 2 : element.opened] != b"/>":
            self._edits.append((element.opened, element.opened, written))
            return
        match = _OPENING.match(self.body, element.start)
        assert match is not None
        end = b">" + written + b"</" + match[1] + b">"
        self._edits.append((element.opened - 2, element.opened, end))


def read_markup(body: bytes, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Markup | None:
    """An answer with its places, ``None`` where it cannot be read or has no root of OzML; never raises.

    A document in UTF-16 is read, and written, in UTF-8.
    """
    if len(body) > max_bytes:
        return None
    clean = body if body.startswith(b"<") else stripped(body)
    before = body[: len(body) - len(clean)] if body.endswith(clean) else b""
    tree = parse(clean, max_bytes, max_depth)
    if tree is None or lower(local_name(tree)) not in ROOTS:
        return None
    root = _lay_side_by_side(clean, tree, len(before))
    return None if root is None else Markup(before + clean, root)


def _lay_side_by_side(body: bytes, tree: "etree._Element", offset: int) -> Element | None:
    elements = zip(tree.iter(), _with_all_inside(read_verb(tree)), strict=True)
    root: Element | None = None
    open_elements: list[Element] = []
    inside: Element | None = None
    at = 0
    for tag in _TAG.finditer(body):
        start, end = tag.span()
        if inside is not None and start > at:
            inside.texts.append((at + offset, start + offset))
        at = end
        if tag["opens"] is not None:
            read, verb = next(elements, (None, None))
            if read is None or verb is None or verb.name != _local(tag["opens"]):
                return None
            around = () if inside is None else (*inside.around, inside.verb)
            element = Element(verb.name, around, start + offset, end + offset, verb)
            attributes = _attributes(read, tag, offset)
            if attributes is None:
                return None
            element.attributes = attributes
            if inside is not None:
                inside.children.append(element)
            elif root is not None:
                return None
            root = root or element
            if not tag["empty"]:
                open_elements.append(element)
                inside = element
        elif tag["closes"] is not None:
            if inside is None or inside.name != _local(tag["closes"]):
                return None
            inside.closing, inside.end = start + offset, end + offset
            open_elements.pop()
            inside = open_elements[-1] if open_elements else None
        elif body.startswith(b"<![", start) and inside is not None:
            inside.texts.append((start + offset, end + offset))
    return root if inside is None and next(elements, None) is None else None


def _with_all_inside(verb: Verb) -> Iterator[Verb]:
    """It and every verb inside, in document order."""
    yield verb
    for child in verb.children:
        yield from _with_all_inside(child)


def _attributes(read: "etree._Element", tag: re.Match[bytes], offset: int) -> tuple[Attribute, ...] | None:
    values = list(read.attrib.items())
    found: list[Attribute] = []
    base = tag.start("inside") + offset
    for written in _ATTRIBUTE.finditer(tag["inside"]):
        raw = written["name"]
        if raw == b"xmlns" or raw.startswith(b"xmlns:"):
            continue
        if len(found) >= len(values):
            return None
        name, value = (str(part) for part in values[len(found)])
        name = name.rpartition("}")[2]
        if name != _local(raw):
            return None
        spans = (*written.span(), *written.span("name"), *written.span("value"))
        found.append(Attribute(name, value, *(base + place for place in spans)))
    return tuple(found) if len(found) == len(values) else None


def _local(raw: bytes) -> str | None:
    """A tag's or attribute's local name; ``None`` where it is not ASCII, which no name of OzML is."""
    return raw.rpartition(b":")[2].decode("ascii") if raw.isascii() else None


def _written(text: str) -> bytes:
    return escape(text).encode("ascii", "xmlcharrefreplace")
