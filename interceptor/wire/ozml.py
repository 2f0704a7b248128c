"""OzML: the verbs that an app answers a notification with.

Element and attribute names are compared without case at the PBX; here they are kept as written, and
:func:`values_of` gives the comparable form. Text between verbs means nothing and is dropped; so are comments.
"""

import re

from lxml import etree

from interceptor.values import Verb
from interceptor.wire.answers import escape
from interceptor.wire.knowledge import lower, parameter_name, verb
from interceptor.wire.xml import MAX_BYTES, MAX_DEPTH, local_name, parse, stripped

ROOTS = frozenset(("response", "ozml", "request"))
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")


def encode_verbs(verbs: tuple[Verb, ...]) -> bytes:
    """A whole document with these verbs in it; no verbs make the empty answer, which has no opinion.

    Raises ``ValueError`` for a name that XML cannot hold: verbs that a file holds are to be tried when it is read.
    """
    pieces = ['<?xml version="1.0" encoding="utf-8"?>\r\n<Response>']
    for each in verbs:
        _write(each, pieces)
    pieces.append("</Response>")
    return "".join(pieces).encode()


def encode_fragment(verbs: tuple[Verb, ...]) -> bytes:
    """These verbs as they stand inside a document, in ASCII, so that they read the same in every encoding.

    Raises ``ValueError`` as :func:`encode_verbs`.
    """
    pieces: list[str] = []
    for each in verbs:
        _write(each, pieces)
    return "".join(pieces).encode("ascii", "xmlcharrefreplace")


def _write(each: Verb, pieces: list[str]) -> None:
    for name in (each.name, *(attribute for attribute, _ in each.attributes)):
        if not _NAME.match(name):
            raise ValueError(f"`{name}` is no name that OzML can hold")
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in each.attributes)
    if not each.text and not each.children:
        pieces.append(f"<{each.name}{attributes}/>")
        return
    pieces.append(f"<{each.name}{attributes}>{escape(each.text)}")
    for child in each.children:
        _write(child, pieces)
    pieces.append(f"</{each.name}>")


def decode_verbs(body: bytes, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> tuple[Verb, ...] | None:
    """The verbs of an answer, none for a blank one; ``None`` where it cannot be read; never raises."""
    if len(body) <= max_bytes and not stripped(body):
        return ()
    root = parse(body, max_bytes, max_depth)
    if root is None or lower(local_name(root)) not in ROOTS:
        return None
    return _children(root)


def _children(element: "etree._Element") -> tuple[Verb, ...]:
    return tuple(read_verb(child) for child in element)


def read_verb(element: "etree._Element") -> Verb:
    """An element as a verb, with all that is in it."""
    text = element.text or ""
    children = _children(element)
    if len(element):
        # The text of a verb with elements inside is all of its own text, wherever it stands: a number may not hide
        # behind an empty element. Blanks are only indentation then.
        text += "".join(child.tail or "" for child in element)
        text = "" if text.isspace() else text
    attributes = tuple((str(name).rpartition("}")[2], str(value)) for name, value in element.attrib.items())
    return Verb(local_name(element), attributes, text, children)


def values_of(each: Verb) -> tuple[dict[str, str], str | None]:
    """A verb's attributes by name in lower case, its text under the name it stands for, and what is ambiguous.

    ``{"text": "Hello"}`` for ``<Speak>Hello</Speak>``. Blanks around the text are passed over. Ambiguous, naming the
    attribute, is a verb that gives one twice: in two cases, two spellings, or as attribute and as text.
    """
    values: dict[str, str] = {}
    ambiguous: str | None = None
    for name, value in each.attributes:
        key = parameter_name(name)
        if key in values:
            ambiguous = ambiguous or name
        else:
            values[key] = value
    known = verb(each.name)
    text = each.text.strip()
    if known is not None and known.text and text:
        if known.text in values:
            ambiguous = ambiguous or known.text
        else:
            values[known.text] = text
    return values, ambiguous
