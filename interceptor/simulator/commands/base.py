"""What every command shares: the parameters as asked, and the way to ask for them."""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from interceptor.simulator.answers import Answer, CommandError
from interceptor.simulator.calls import Call, Party
from interceptor.simulator.core import Core, Generation


class Asked(Struct, frozen=True):
    """A command's name as written and its parameters by their names in lower case."""

    name: str
    values: Mapping[str, str]

    def get(self, parameter: str, otherwise: str = "") -> str:
        """A parameter that may be missing."""
        return self.values.get(parameter.lower(), "") or otherwise

    def need(self, parameter: str) -> str:
        """A parameter that must be there and not be empty; else code 302 names it."""
        value = self.values.get(parameter.lower(), "")
        if not value:
            raise CommandError(302, parameter, self.name)
        return value

    def number(self, parameter: str, otherwise: int) -> int:
        """A whole number, not below zero."""
        text = self.get(parameter)
        if not text:
            return otherwise
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise CommandError(302, parameter, self.name)
        return int(text)

    def address(self, parameter: str) -> str:
        """A callback address, or an empty text; what is no ``http`` address is code 302."""
        text = self.get(parameter)
        if text and urlsplit(text).scheme not in {"http", "https"}:
            raise CommandError(302, parameter, self.name)
        return text

    def truth(self, parameter: str) -> bool:
        """A yes or a no; missing is no."""
        return self.get(parameter).lower() in {"true", "1", "yes"}

    def parties(self, parameter: str = "Party") -> tuple[Party, ...]:
        """The legs that ``caller``, ``callee`` or ``all`` mean."""
        match self.need(parameter).lower():
            case "caller":
                return (Party.CALLER,)
            case "callee":
                return (Party.CALLEE,)
            case "all":
                return (Party.CALLER, Party.CALLEE)
            case _:
                raise CommandError(302, parameter, self.name)

    def call(self, core: Core, parameter: str = "CallId") -> Call:
        """The active call of that id; else code 601."""
        call_id = self.need(parameter)
        call = core.calls.active.get(call_id)
        if call is None:
            raise CommandError(601, call_id)
        return call


Carry = Callable[[Core, Asked], Awaitable[Answer]]

BOTH = frozenset(Generation)
OLD = frozenset({Generation.PHONE_SYSTEM})
NEW = frozenset({Generation.OZEKI_10})


class Command(Struct, frozen=True):
    """A command of the reference: its name, who knows it, and what carries it out."""

    name: str
    generations: frozenset[Generation]
    carry: Carry
