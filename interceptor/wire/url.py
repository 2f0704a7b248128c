"""Addresses that messages are sent to, taken apart: where to connect, what to call it there, what to ask for."""

import re
from functools import lru_cache
from urllib.parse import urlsplit

from msgspec import Struct

_UNSAFE = re.compile(rb"[\x00-\x20\x7f-\xff]")
_PORTS = {"http": 80, "https": 443}


class WebAddress(Struct, frozen=True):
    """An ``http`` or ``https`` address.

    ``authority`` is the host as written, with its port; ``path`` is what to ask for, with the query, never empty.
    """

    tls: bool
    host: str
    port: int
    authority: str
    path: bytes


@lru_cache(maxsize=1024)
def take_apart(url: str) -> WebAddress | None:
    """An address taken apart, ``None`` where it is none; never raises.

    ``url`` holds one byte a character where it came from a message. Bytes that cannot stand in a request line are
    escaped; a fragment never travels; a user name is nobody's business on the way.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not host or parts.username is not None or port == 0:
        return None
    if not host.isascii() or any(character <= " " for character in parts.netloc):
        return None
    after = url.partition("#")[0].partition("://")[2]
    start = min((at for at in (after.find("/"), after.find("?")) if at >= 0), default=len(after))
    raw = after[start:].encode("utf-8" if any(ord(character) > 255 for character in after) else "latin-1", "replace")
    path = _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], raw)
    if not path.startswith(b"/"):
        path = b"/" + path
    return WebAddress(parts.scheme == "https", host, port or _PORTS[parts.scheme], after[:start], path)
