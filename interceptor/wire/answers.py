"""The PBX's answers to commands: read for their code, and made in its dialect.

The PBX says HTTP 200 whatever happened; success is the ``Code`` of the body. ``Code`` and ``Message`` may stand before
or after the payload, in any namespace.
"""

import re
from collections.abc import Iterable

from lxml import etree
from msgspec import Struct

from interceptor.wire.xml import local_name, parse, stripped

_MEMO_BODY = 1 << 10
_MEMO_ENTRIES = 2048


class AnswerFacts(Struct, frozen=True, gc=False):
    """What an answer says: its code (``None`` where there is no number), its sentence, and whether it is XML at all."""

    code: int | None
    message: str
    well_formed: bool


_UNREADABLE = AnswerFacts(None, "", well_formed=False)

# Answers repeat byte for byte, and what they say depends on nothing but their bytes.
_memo: dict[bytes, AnswerFacts] = {}


def read_answer(body: bytes) -> AnswerFacts:
    """The code and sentence of an answer; never raises.

    Those that stand directly in the root count before those deeper inside; of several, the first.
    """
    facts = _memo.get(body)
    if facts is not None:
        return facts
    facts = _read(body)
    if len(body) <= _MEMO_BODY:
        if len(_memo) >= _MEMO_ENTRIES:
            _memo.clear()
        _memo[body] = facts
    return facts


def _read(body: bytes) -> AnswerFacts:
    root = parse(body)
    if root is None:
        return _UNREADABLE
    code, message = _find(root, None, None)
    if code is None or message is None:
        code, message = _find(root.iter(), code, message)
    return AnswerFacts(_whole_number(code), message or "", well_formed=True)


def _find(elements: "Iterable[etree._Element]", code: str | None, message: str | None) -> tuple[str | None, str | None]:
    """The texts of the first ``Code`` and ``Message`` among the elements, where they are not known yet."""
    for element in elements:
        tag = element.tag
        if tag == "Code" or (tag != "Message" and local_name(element).lower() == "code"):
            if code is None:
                code = element.text or ""
        elif message is None and (tag == "Message" or local_name(element).lower() == "message"):
            message = element.text or ""
    return code, message


def _whole_number(text: str | None) -> int | None:
    digits = (text or "").strip()
    # int() alone would take "2_0_0", and digits of every script
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None


def encode_answer(code: int, message: str) -> bytes:
    """An answer as the PBX writes it, with the namespaces, line ends and indent of its serializer."""
    return (
        '<?xml version="1.0"?>\r\n'
        '<Response xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\r\n'
        f"  <Code>{code}</Code>\r\n"
        f"  <Message>{escape(message)}</Message>\r\n"
        "</Response>"
    ).encode()


_ESCAPES = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "\r": "&#13;",
    "\n": "&#10;",
    "\t": "&#9;",
}
_TO_ESCAPE = re.compile('[&<>"\r\n\t]|[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')


def escape(text: str) -> str:
    """Text as it stands in XML, in an element or an attribute; U+FFFD replaces what XML cannot hold."""
    return _TO_ESCAPE.sub(lambda found: _ESCAPES.get(found[0], "\ufffd"), text)


_ROOT = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?(?:response|ozml|request)[\s/>]", re.IGNORECASE)


def reads_like_ozml(body: bytes) -> bool:
    """Whether an app meant this as an answer: blank, or a root of OzML even if it breaks further on; never raises.

    An error page, JSON and anything that begins with a document type are not.
    """
    rest = stripped(body)
    while rest:
        if rest.startswith(b"<?"):
            end = rest.find(b"?>") + 2
        elif rest.startswith(b"<!--"):
            end = rest.find(b"-->", 4) + 3
        else:
            return _ROOT.match(rest) is not None
        if end < 4:
            return False
        rest = rest[end:].lstrip()
    return True


def reads_like_page(body: bytes) -> bool:
    """Whether it is markup and no OzML: the error page of a server or of a script. Never raises."""
    return stripped(body).startswith(b"<") and not reads_like_ozml(body)
