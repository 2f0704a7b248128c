"""An OzML answer read as the PBX reads it.

Names in any case; text between verbs, a leading blank line and a byte order mark are tolerated.
"""

from lxml import etree

from interceptor.values import Verb

ROOTS = frozenset({"response", "ozml", "request"})
MAX_DEPTH = 64
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def decode(body: bytes) -> tuple[Verb, ...] | None:
    """The verbs of an answer; none for an empty body; ``None`` for what is no OzML."""
    text = body.removeprefix(b"\xef\xbb\xbf").strip()
    if not text:
        return ()
    try:
        root = etree.fromstring(text, _PARSER)
    except (etree.XMLSyntaxError, ValueError):
        return None
    if root.getroottree().docinfo.internalDTD is not None or _name(root).lower() not in ROOTS:
        return None
    if _name(root).lower() == "request":
        return (_verb(root, 0),)
    return tuple(_verb(child, 0) for child in _elements(root))


def _name(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _elements(element: etree._Element) -> list[etree._Element]:
    """The element's children without comments and processing instructions."""
    return list(element.iterchildren(etree.Element))


def _verb(element: etree._Element, depth: int) -> Verb:
    children = _elements(element) if depth < MAX_DEPTH else []
    return Verb(
        name=_name(element),
        attributes=tuple((str(name), str(value)) for name, value in element.attrib.items()),
        text=(element.text or "").strip(),
        children=tuple(_verb(child, depth + 1) for child in children),
    )


def attribute(verb: Verb, *names: str) -> str | None:
    """The value of the first attribute that has one of these names, compared without case."""
    for wanted in names:
        for name, value in verb.attributes:
            if name.lower() == wanted.lower():
                return value
    return None


def main(verb: Verb, *names: str) -> str:
    """The verb's main parameter: an attribute of one of these names, or else the element's text."""
    value = attribute(verb, *names)
    return verb.text if value is None else value


def child(verb: Verb, *names: str) -> Verb | None:
    """The first structural element of one of these names inside the verb."""
    wanted = {name.lower() for name in names}
    return next((inner for inner in verb.children if inner.name.lower() in wanted), None)
