"""The one XML parser of the house: no document type, no entities, no network, capped in size and depth.

A document type is refused even where it is harmless. With entities merely switched off the parser still drops them, so
that ``+36&a;123`` would read ``+36`` here and something longer at the PBX.

A byte order mark and blank lines before the declaration, which the vendor's own scripts send, are passed over. UTF-16
with a mark is read. Encodings beyond a short list are refused, since two parsers may differ on them.
"""

import codecs

from lxml import etree

MAX_BYTES = 4 << 20
MAX_DEPTH = 64

_BLANKS = b" \t\r\n"
_TEXT_BLANKS = "\ufeff \t\r\n"
_ENCODINGS = frozenset(
    ("utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "iso-8859-2", "iso-8859-15", "windows-1250", "windows-1252")
)
_PARSER = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    dtd_validation=False,
    attribute_defaults=False,
    huge_tree=False,
    recover=False,
    remove_comments=True,
    remove_pis=True,
    collect_ids=False,
)


def stripped(body: bytes) -> bytes:
    """A document without what may stand before it, in an encoding that agrees with ASCII; never raises."""
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        body = _from_utf16(body)
    body = body.lstrip(_BLANKS)
    while body.startswith(codecs.BOM_UTF8):
        body = body[len(codecs.BOM_UTF8) :].lstrip(_BLANKS)
    return body


def parse(body: bytes, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> "etree._Element | None":
    """The root of a document, or ``None`` where it is not well-formed, over a cap or has a document type."""
    clean = _ready(body, max_bytes)
    if clean is None:
        return None
    body = clean
    try:
        root = etree.fromstring(body, _PARSER)
    except (etree.XMLSyntaxError, ValueError):
        return None
    if body[:5] == b"<?xml" and b"encoding" in body[: body.index(b"?>")]:
        declared = root.getroottree().docinfo.encoding
        if declared is None or declared.lower() not in _ENCODINGS:
            return None
    if body.count(b"<") > max_depth and _is_deeper(root, max_depth):
        return None
    return root


def _ready(body: bytes, max_bytes: int) -> bytes | None:
    """What the parser may be given of a document; ``None`` where that is nothing."""
    if len(body) > max_bytes:
        return None
    if not body.startswith(b"<"):
        body = stripped(body)
        if not body.startswith(b"<"):
            return None
    # After this the bytes agree with ASCII, save for a declared encoding.
    return None if b"<!DOCTYPE" in body or b"\0" in body else body


def is_too_deep(body: bytes, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> bool:
    """Whether it is for its depth that :func:`parse` gives nothing for a document; never raises."""
    clean = _ready(body, max_bytes)
    if clean is None or clean.count(b"<") <= max_depth:
        return False
    try:
        return _is_deeper(etree.fromstring(clean, _PARSER), max_depth)
    except etree.XMLSyntaxError as error:
        return "Excessive depth" in str(error)  # the library reads 256 elements within elements, and says no more
    except ValueError:
        return False


def local_name(element: "etree._Element") -> str:
    """An element's name without its namespace."""
    tag = str(element.tag)
    return tag.rpartition("}")[2] if tag[0] == "{" else tag


def _is_deeper(root: "etree._Element", max_depth: int) -> bool:
    depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > max_depth:
            return True
    return False


def _from_utf16(body: bytes) -> bytes:
    """A UTF-16 document in UTF-8, without its declaration, which would say otherwise; damaged ones stay as they are."""
    try:
        text = body.decode("utf-16").lstrip(_TEXT_BLANKS)
        if text.startswith("<?xml"):
            text = text.partition("?>")[2]
        return text.encode()
    except UnicodeError:
        return body
