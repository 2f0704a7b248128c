"""Capture: every callback address in a command or an answer becomes an address of ours, everything else stays.

Which parameters, attributes and texts hold callbacks is what the table of knowledge says (``wire/knowledge.py``), in
any spelling and case, in verbs at any depth and in OzML inside a parameter. Left as they are: addresses without
``http://`` or ``https://`` (relative ones, SQL, other schemes, ``$variables``) and what is ours already.

An address whose query holds a ``$variable`` is cut at its ``?``: the PBX fills variables in, and cannot inside a token.
The query stays behind the token and comes back behind the address. Where a variable stands in front of that, nobody
knows where it leads before the PBX calls; it stays as it is.
"""

import re
from collections.abc import Mapping

from msgspec import Struct

from interceptor.callbacks.targets import Targets
from interceptor.callbacks.token import Callback, Keyring
from interceptor.values import SetParameter
from interceptor.wire import knowledge
from interceptor.wire.knowledge import MessageType, Role
from interceptor.wire.markup import Element, Markup, read_markup

PATH = "/cb/"
_ADDRESS = re.compile(r"\s*(https?://\S.*?)\s*\Z", re.IGNORECASE | re.DOTALL)
_INLINE_MOST = 256 << 10  # OzML inside a parameter
_INLINE_DEPTH = 4  # of OzML inside a parameter inside OzML inside …


class Origin(Struct, frozen=True):
    """Where an address was found: by which app and exchange, in which call if that is known, under which revision."""

    app: str
    exchange: str
    call: str
    revision: str
    at: float


class Captured(Struct):
    """What a capture did: the longest token, how many addresses were captured, and why it may not be, if so."""

    count: int = 0
    longest: int = 0
    refused: str = ""


class Capture:
    """Puts tokens in the place of addresses. ``public_url`` is where the PBX reaches us, without a slash at its end."""

    def __init__(self, public_url: str, keys: Keyring, targets: Targets, lifetime: float) -> None:
        self._begin = public_url.rstrip("/") + PATH
        self._keys = keys
        self._targets = targets
        self._lifetime = lifetime

    def command(
        self, message: MessageType | None, values: Mapping[str, str], origin: Origin
    ) -> tuple[tuple[SetParameter, ...], Captured]:
        """What to set in a command's parameters, and what was done."""
        done = Captured()
        changes: list[SetParameter] = []
        for name, value in values.items():
            instead = self._value(knowledge.role(message, name), value, origin, done, 0)
            if instead is not None:
                changes.append(SetParameter(name, instead))
        return tuple(changes), done

    def answer(self, markup: Markup, origin: Origin) -> Captured:
        """Edit every callback of a document; what was done."""
        done = Captured()
        self._elements(markup, origin, done, 0)
        return done

    def _elements(self, markup: Markup, origin: Origin, done: Captured, depth: int) -> None:
        for element in markup.root.descendants():
            message = knowledge.verb(element.name)
            if message is None and knowledge.lower(element.name) in knowledge.STRUCTURE:
                continue
            for attribute in element.attributes:
                role = knowledge.role(message, knowledge.lower(attribute.name))
                instead = self._value(role, attribute.value, origin, done, depth)
                if instead is not None:
                    markup.set_attribute(element, attribute.name, instead)
            self._text(markup, element, message, origin, done, depth)

    def _text(
        self,
        markup: Markup,
        element: Element,
        message: MessageType | None,
        origin: Origin,
        done: Captured,
        depth: int,
    ) -> None:
        if message is None or not message.text:
            return
        instead = self._value(knowledge.role(message, message.text), element.verb.text, origin, done, depth)
        if instead is not None:
            markup.set_text(element, instead.strip())

    def _value(self, role: Role, value: str, origin: Origin, done: Captured, depth: int) -> str | None:
        """What stands in the place of a value; ``None`` where it stays."""
        if role is Role.CALLBACK:
            return self._address(value, origin, done)
        if role is Role.OZML and depth < _INLINE_DEPTH:
            inner = read_markup(value.encode("utf-8", "surrogateescape"), _INLINE_MOST)
            if inner is not None:
                self._elements(inner, origin, done, depth + 1)
                if inner.edited:
                    return inner.written().decode("utf-8", "surrogateescape")
        return None

    def _address(self, value: str, origin: Origin, done: Captured) -> str | None:
        found = _ADDRESS.match(value)
        if found is None or found[1].startswith(self._begin):
            return None
        url, query = found[1], ""
        if "$" in url:
            url, mark, query = url.partition("?")
            if "$" in url:
                return None
            query = mark + query
        why = self._targets.refuses(origin.app, url)
        if why:
            done.refused = done.refused or why
            return None
        token = self._keys.seal(
            Callback(
                url.encode("utf-8", "surrogateescape"),
                origin.app,
                origin.exchange,
                origin.call,
                origin.revision,
                int(origin.at + self._lifetime),
            )
        )
        done.count += 1
        done.longest = max(done.longest, len(token))
        return value[: found.start(1)] + self._begin + token + query + value[found.end(1) :]
