"""The PBX's answers to commands: its codes, its sentences, its XML.

The simulator has its own table and its own writer on purpose: a double that shared them with the proxy would share its
faults as well.
"""

from xml.sax.saxutils import escape, quoteattr

from msgspec import Struct

MESSAGES = {
    200: "Command successfully executed",
    300: "Error occured during parsing message: '{0}'",
    301: "Not implemented command: '{0}'",
    302: "Missing or invalid parameter '{0}' for command '{1}'",
    303: "Command '{0}' cannot be used here",
    304: "Authentication required",
    305: "Authentication failed, bad username or password",
    306: "User is not allowed to use API in ACL",
    307: "Use API from this address is forbidden",
    401: "API extension '{0}' unavailable, please check configuration or permissions",
    402: "Call connect to '{0}' failed with result state '{1}'",
    501: "Destination of the SMS is not found",
    601: "Call not found with ID '{0}'",
    701: "Configuration for type '{0}' not found",
    702: "Invalid configuration for type '{0}'",
    703: "Extension configuration already exists",
}

OK = 200


class Element(Struct, frozen=True):
    """One element of an answer's payload."""

    name: str
    text: str = ""
    children: tuple["Element", ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()


class Answer(Struct, frozen=True):
    """What a command came to. ``payload`` elements follow ``Code`` and ``Message``, or come first."""

    code: int = OK
    message: str = MESSAGES[OK]
    payload: tuple[Element, ...] = ()
    payload_first: bool = False


class CommandError(Exception):
    """A command cannot be carried out; the asker is told ``answer``."""

    def __init__(self, code: int, *filling: str) -> None:
        self.answer = Answer(code, MESSAGES[code].format(*filling))
        super().__init__(self.answer.message)


def encode(answer: Answer) -> bytes:
    """The answer as the .NET serializer lays it out: CRLF, two blanks of indent, no line break at the end."""
    outcome = [Element("Code", str(answer.code)), Element("Message", answer.message)]
    parts = [*answer.payload, *outcome] if answer.payload_first else [*outcome, *answer.payload]
    lines = [
        '<?xml version="1.0"?>',
        '<Response xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">',
    ]
    for part in parts:
        _lay_out(part, 1, lines)
    lines.append("</Response>")
    return "\r\n".join(lines).encode("utf-8", "replace")


def _lay_out(element: Element, depth: int, lines: list[str]) -> None:
    indent = "  " * depth
    head = element.name + "".join(f" {name}={quoteattr(_legal(value))}" for name, value in element.attributes)
    if element.children:
        lines.append(f"{indent}<{head}>")
        for child in element.children:
            _lay_out(child, depth + 1, lines)
        lines.append(f"{indent}</{element.name}>")
    elif element.text:
        lines.append(f"{indent}<{head}>{escape(_legal(element.text))}</{element.name}>")
    else:
        lines.append(f"{indent}<{head} />")


def _legal(text: str) -> str:
    """The text without the characters that no XML 1.0 document may hold."""
    return "".join(
        char if char in "\t\n\r" or " " <= char < "\ud800" or "\ue000" <= char < "\ufffe" or char > "\uffff" else "?"
        for char in text
    )
