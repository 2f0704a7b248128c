"""Capture: a callback address becomes an address of ours.

Left as they are: addresses without ``http://`` or ``https://`` (relative ones, SQL, other schemes, ``$variables``) and
what is ours already. Where callbacks stand is the table of knowledge's business, and walking through a document the
firewall's.

An address whose query holds a ``$variable`` is cut at its ``?``: the PBX fills variables in, and cannot inside a token.
The query stays behind the token and comes back behind the address. Where a variable stands in front of that, nobody
knows where it leads before the PBX calls; it stays as it is.
"""

import re

from msgspec import Struct

from interceptor.callbacks.targets import Targets
from interceptor.callbacks.token import Callback, Keyring

PATH = "/cb/"
_ADDRESS = re.compile(r"\s*(https?://\S.*?)\s*\Z", re.IGNORECASE | re.DOTALL)


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

    def address(self, value: str, origin: Origin, done: Captured, *, anyway: bool = False) -> str | None:
        """What stands in the place of a callback's value; ``None`` where it stays. ``done`` is told what was done.

        ``anyway`` captures an address that the app may not use as well: nothing ever goes there, since that is asked
        again when the token is opened.
        """
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
        if why and not anyway:
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
