"""What a simulated app answers to notifications: menus, routing tables, PIN checks, fixed OzML.

A page is asked with the notification that came and gives its whole answer. An app picks the page: the first whose
notification name and path both fit.
"""

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from msgspec import Struct

from interceptor.simulator.events import NotificationReceived
from interceptor.values import Verb


class Page(Protocol):
    """Something that answers a notification."""

    def answer(self, notification: NotificationReceived) -> bytes:
        """The whole body of the answer."""


def verb(name: str, text: str = "", *children: Verb, **attributes: str) -> Verb:
    """One verb; ``verb("Speak", "Hello", Language="en-UK")``."""
    return Verb(name, tuple(attributes.items()), text, children)


def document(*verbs: Verb) -> bytes:
    """A whole ``Response`` document."""
    inside = "".join(_encode(each) for each in verbs)
    return f'<?xml version="1.0"?>\r\n<Response>{inside}</Response>'.encode("utf-8", "replace")


def _encode(each: Verb) -> str:
    head = each.name + "".join(f" {name}={quoteattr(value)}" for name, value in each.attributes)
    inside = escape(each.text) + "".join(_encode(child) for child in each.children)
    return f"<{head}>{inside}</{each.name}>" if inside else f"<{head}/>"


class Fixed(Struct, frozen=True):
    """Always the same bytes, OzML or not."""

    body: bytes

    def answer(self, notification: NotificationReceived) -> bytes:
        """The bytes."""
        del notification
        return self.body


class Menu(Struct, frozen=True):
    """A spoken menu: what it says, and for each key the verbs that run or the menu below."""

    says: str
    keys: Mapping[str, "Menu | tuple[Verb, ...]"] = {}
    digits: int = 1
    timeout_seconds: int = 8
    repeat: bool = True
    back_key: str = ""
    forward_to: str = ""

    def verb(self) -> Verb:
        """The menu as a UserInput, the menus below inside it."""
        attributes = {"Timeout": str(self.timeout_seconds), "Digits": str(self.digits)}
        if self.repeat:
            attributes["Repeat"] = "true"
        if self.back_key:
            attributes["BackKey"] = self.back_key
        if self.forward_to:
            attributes["ForwardToUrl"] = self.forward_to
        inputs = [
            verb("Input", "", *((below.verb(),) if isinstance(below, Menu) else below), Key=key)
            for key, below in self.keys.items()
        ]
        prompt = verb("InitialCommands", "", verb("Speak", self.says))
        return verb("UserInput", "", prompt, verb("Inputs", "", *inputs), **attributes)

    def answer(self, notification: NotificationReceived) -> bytes:
        """A document that is this menu."""
        del notification
        return document(self.verb())


class PinCheck(Struct, frozen=True):
    """Asks for a PIN and checks it: the answer to IncomingCall asks, the answer to DtmfEntered judges.

    How many tries there were travels in the callback's own query, as apps do that keep no state.
    """

    address: str
    right: Mapping[str, tuple[Verb, ...]]
    asks: str = "Please enter your PIN."
    wrong: str = "Wrong PIN."
    tries: int = 3
    timeout_seconds: int = 8

    def answer(self, notification: NotificationReceived) -> bytes:
        """The question, the reward, or another try."""
        digits = notification.get("DtmfDigits")
        if digits is None:
            return document(*self._question(1))
        if digits in self.right:
            return document(*self.right[digits])
        tried = int(notification.get("tried") or self.tries)
        wrong = verb("Speak", self.wrong)
        if tried >= self.tries:
            return document(wrong, verb("Hangup"))
        return document(wrong, *self._question(tried + 1))

    def _question(self, number: int) -> tuple[Verb, ...]:
        digits = str(max((len(pin) for pin in self.right), default=4))
        mark = "&" if "?" in self.address else "?"
        url = f"{self.address}{mark}tried={quote(str(number))}"
        prompt = verb("InitialCommands", "", verb("Speak", self.asks))
        question = verb("UserInput", "", prompt, Digits=digits, Timeout=str(self.timeout_seconds), ForwardToUrl=url)
        return (question, verb("Hangup"))


class Row(Struct, frozen=True):
    """One line of a routing table; ``*`` at the end of a number stands for the rest of it, an empty field for any."""

    destination: str
    dialled: str = ""
    caller: str = ""
    state: str = ""
    ring_seconds: int = 0
    caller_id: str = ""
    dialled_on_line: str = ""


class RoutingTable(Struct, frozen=True):
    """Answers RoutingInterception with the first row that fits; no row is no opinion: the dial plan decides."""

    rows: tuple[Row, ...]

    def answer(self, notification: NotificationReceived) -> bytes:
        """A ``Route``, or an empty response."""
        given = {
            "dialled": notification.get("OriginalDialedNumber") or "",
            "caller": notification.get("CallerID") or "",
            "state": notification.get("LastCallState") or "",
        }
        for row in self.rows:
            if all(_fits(getattr(row, field), value) for field, value in given.items()):
                attributes = {
                    "Destination": row.destination,
                    "RingTime": str(row.ring_seconds or ""),
                    "CallerId": row.caller_id,
                    "DialedNumber": row.dialled_on_line,
                }
                kept = {name: value for name, value in attributes.items() if value or name == "Destination"}
                return document(verb("Route", "", **kept))
        return document()


def _fits(pattern: str, value: str) -> bool:
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return pattern in {"", value}


class Door(Struct, frozen=True):
    """Which notifications a page answers; ``None`` fits every name or path."""

    page: Page
    name: str | None = None
    path: str | None = None

    def fits(self, name: str, path: str) -> bool:
        """Whether a notification of this name at this path comes here."""
        return (self.name is None or self.name.lower() == name.lower()) and self.path in {None, path}
