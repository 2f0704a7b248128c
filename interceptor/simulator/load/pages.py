"""What the apps of a load answer: a route, a menu of three levels through callbacks, a goodbye, a transfer.

Everything an answer depends on travels in the callback's own query: the apps keep no state.
"""

from urllib.parse import urlsplit

from interceptor.simulator.events import NotificationReceived
from interceptor.simulator.pages import document, verb
from interceptor.values import Verb

MENU = "Menu"  # what every prompt that wants a key begins with
LEVELS = 3
EXTENSION = "1500"
COLLEAGUE = "2405"
ENGAGED = "2406"
CLOSED_LINE = "+3613334009"
LINES = {"+3613334000": EXTENSION, "+3613334001": COLLEAGUE, "+3613334002": ENGAGED, CLOSED_LINE: EXTENSION}
"""What is dialled from outside, and who is to ring."""


class LoadPages:
    """Answers every notification of a load; ``url`` is where the app's own callbacks go."""

    def __init__(self, url: str) -> None:
        self._url = url

    def answer(self, notification: NotificationReceived) -> bytes:
        """The whole body of the answer."""
        match notification.name:
            case "RoutingInterception":
                return _route(notification)
            case "IncomingCall" if notification.get("X-Dialed") == CLOSED_LINE:
                return document(verb("Reject"))
            case "IncomingCall" | "CallConnected":
                return document(self._menu(1), verb("Hangup"))
            case "DtmfEntered":
                return self._entered(notification)
            case "GoTo":
                return document(verb("Speak", "Bye."), verb("Hangup"))
            case _:
                return document()

    def _menu(self, level: int) -> Verb:
        prompt = verb("InitialCommands", "", verb("Speak", f"{MENU} {level}"))
        to = f"{self._url}/menu?level={level}&name=Kov%C3%A1cs+%26+son"
        return verb("UserInput", "", prompt, Digits="1", Timeout="5", ForwardToUrl=to)

    def _entered(self, notification: NotificationReceived) -> bytes:
        query = urlsplit(notification.target).query
        level = next((int(part[6:]) for part in query.split("&") if part.startswith("level=")), LEVELS)
        key = notification.get("DtmfDigits") or ""
        if key == "0":
            return document(verb("Speak", "One moment."), verb("BlindTransfer", "", Target=COLLEAGUE))
        if level < LEVELS:
            return document(self._menu(level + 1), verb("Hangup"))
        return document(verb("Speak", "Thank you."), verb("GoTo", f"{self._url}/bye?after={level}"))


def _route(notification: NotificationReceived) -> bytes:
    dialled = notification.get("OriginalDialedNumber") or ""
    state = notification.get("LastCallState") or ""
    destination = LINES.get(dialled)
    if destination is not None and state == "Calling":
        return document(verb("Route", "", Destination=destination, RingTime="2"))
    if destination == ENGAGED:
        return document(verb("Route", "", Destination=COLLEAGUE, RingTime="5"))
    return document()  # no opinion: the dial plan, or the end of the call
