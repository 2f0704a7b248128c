"""How the PBX tells apps things: HTTP/1.0, POST, a form, exactly the head of the reference.

And how it reads the answer: by its length, or up to the end of the connection.
"""

import asyncio
import re
from contextlib import suppress
from functools import lru_cache
from urllib.parse import quote_plus, urlsplit

from msgspec import Struct

from interceptor.simulator.clock import Clock
from interceptor.simulator.events import EventLog, NotificationAnswered, NotificationFailed, NotificationSent, Pairs
from interceptor.simulator.ozml.document import decode
from interceptor.values import Verb

MAX_ANSWER_BYTES = 8 << 20
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([0-9]{3})(?: .*)?")


class Told(Struct, frozen=True):
    """What came back: whether it can be used at all, and the verbs in it."""

    usable: bool
    verbs: tuple[Verb, ...] = ()


NOTHING = Told(usable=False)


class AnswerError(Exception):
    """No answer, or none that is HTTP; ``reason`` is a stable word."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class Notifier:
    """Sends notifications, one connection each, with one deadline over connecting, sending and reading."""

    def __init__(self, clock: Clock, log: EventLog, *, patience_seconds: float = 10.0) -> None:
        self._clock, self._log = clock, log
        self.patience_seconds = patience_seconds

    async def tell(self, name: str, url: str, fields: Pairs, *, call_id: str = "") -> Told:
        """Send one notification and read its answer; never raises for what the other side does.

        An empty ``name`` leaves ``NotificationName`` out, as for the two notifications that seem to have none.
        """
        with self._clock.hold():
            pairs = ((("NotificationName", name),) if name else ()) + fields
            self._log.append(
                NotificationSent(at=self._clock.now(), name=name, parameters=pairs, url=url, call_id=call_id)
            )
            try:
                async with asyncio.timeout(self.patience_seconds):
                    status, body = await post(url, encode_form(pairs))
                told = self._read(status, body)
            except TimeoutError:
                return self._failed(name, url, call_id, AnswerError("timeout"))
            except AnswerError as error:
                return self._failed(name, url, call_id, error)
            except (OSError, ValueError) as error:
                return self._failed(name, url, call_id, AnswerError("unreachable", str(error)))
            self._log.append(
                NotificationAnswered(
                    at=self._clock.now(),
                    name=name,
                    url=url,
                    status=status,
                    body=body,
                    verbs=told.verbs,
                    call_id=call_id,
                )
            )
            return told

    def _read(self, status: int, body: bytes) -> Told:
        if status != 200:
            raise AnswerError("http_status", str(status))
        verbs = decode(body)
        if verbs is None:
            raise AnswerError("not_ozml", repr(body[:80]))
        return Told(usable=True, verbs=verbs)

    def _failed(self, name: str, url: str, call_id: str, error: AnswerError) -> Told:
        self._log.append(
            NotificationFailed(
                at=self._clock.now(), name=name, url=url, reason=error.reason, detail=error.detail, call_id=call_id
            )
        )
        return NOTHING


def encode_form(pairs: Pairs) -> bytes:
    """Pairs as .NET escapes them: blanks are ``+``, hexadecimal digits are small."""
    return "&".join(f"{_escape(name)}={_escape(value)}" for name, value in pairs).encode()


@lru_cache(maxsize=1024)
def _escape(text: str) -> str:
    quoted = quote_plus(text, safe="-_.!*()", errors="surrogateescape")
    pieces = quoted.split("%")
    return pieces[0] + "".join(f"%{piece[:2].lower()}{piece[2:]}" for piece in pieces[1:])


async def post(url: str, form: bytes) -> tuple[int, bytes]:
    """POST a form the way the PBX does, and return status and body; the query of ``url`` goes out byte for byte."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise AnswerError("bad_url", url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = (
        f"POST {target} HTTP/1.0\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Host: {parts.hostname}\r\n"
        "Cache-Control: no-store,no-cache\r\n"
        "Pragma: no-cache\r\n"
        f"Content-Length: {len(form)}\r\n"
        "\r\n"
    )
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        writer.write(head.encode("utf-8", "surrogateescape") + form)
        await writer.drain()
        return await _read_answer(reader)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            raise AnswerError("no_answer", "the connection was closed without a byte") from None
        raise AnswerError("not_http", repr(error.partial[:80])) from None
    except asyncio.LimitOverrunError:
        raise AnswerError("not_http", "the head of the answer has no end") from None
    first, _, rest = head.partition(b"\r\n")
    status = _STATUS_LINE.fullmatch(first)
    if status is None:
        raise AnswerError("not_http", repr(first[:80]))
    headers = _read_headers(rest)
    if "transfer-encoding" in headers:
        raise AnswerError("chunked", "an HTTP/1.0 request got an answer in chunks")
    return int(status[1]), await _read_body(reader, headers.get("content-length"))


def _read_headers(block: bytes) -> dict[str, str]:
    """Names in lower case; of a name that stands twice, the first."""
    headers: dict[str, str] = {}
    for line in block.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            headers.setdefault(name.decode("latin-1").lower(), value.strip().decode("latin-1"))
        elif line:
            raise AnswerError("not_http", repr(line[:80]))
    return headers


async def _read_body(reader: asyncio.StreamReader, length: str | None) -> bytes:
    """As long as the answer says, or up to the end of the connection."""
    if length is None:
        body = await reader.read(MAX_ANSWER_BYTES + 1)
        while (more := await reader.read(MAX_ANSWER_BYTES + 1 - len(body))) and len(body) <= MAX_ANSWER_BYTES:
            body += more
    elif not length.strip().isdigit():
        raise AnswerError("not_http", f"Content-Length: {length}")
    elif int(length) <= MAX_ANSWER_BYTES:
        try:
            return await reader.readexactly(int(length))
        except asyncio.IncompleteReadError:
            raise AnswerError("cut_short", "the connection was closed in the middle of the body") from None
    else:
        raise AnswerError("too_big")
    if len(body) > MAX_ANSWER_BYTES:
        raise AnswerError("too_big")
    return body
