"""How the PBX tells apps things: HTTP/1.0, POST, a form, exactly the head of the reference.

And how it reads the answer: by its length, or up to the end of the connection.
"""

import asyncio
import re
from functools import lru_cache
from typing import cast
from urllib.parse import quote_plus, urlsplit

from msgspec import Struct

from interceptor.simulator.clock import Clock
from interceptor.simulator.events import EventLog, NotificationAnswered, NotificationFailed, NotificationSent, Pairs
from interceptor.simulator.ozml.document import decode
from interceptor.values import Verb

MAX_ANSWER_BYTES = 8 << 20
_MAX_HEAD_BYTES = 64 << 10
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
    request = head.encode("utf-8", "surrogateescape") + form
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[tuple[int, bytes]] = loop.create_future()
    transport, _ = await loop.create_connection(lambda: _Asking(request, answered), parts.hostname, parts.port or 80)
    try:
        return await answered
    finally:
        transport.close()


class _Asking(asyncio.Protocol):
    """One notification on its connection: it leaves at once, and what comes back is read until it is whole.

    Streams would do, at three times the cost; a load sends a thousand of these a second.
    """

    def __init__(self, request: bytes, answered: asyncio.Future[tuple[int, bytes]]) -> None:
        self._request, self._answered = request, answered
        self._data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        cast("asyncio.Transport", transport).write(self._request)  # uvloop's is one without saying so

    def data_received(self, data: bytes) -> None:
        """See whether the answer is whole now."""
        self._data += data
        self._look(ended=False)

    def eof_received(self) -> None:
        """What has come is all that comes; the connection closes by itself."""
        self._look(ended=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """The same, or the connection broke."""
        if exc is None:
            self._look(ended=True)
        elif not self._answered.done():
            self._answered.set_exception(exc)

    def _look(self, *, ended: bool) -> None:
        if self._answered.done():
            return
        try:
            answer = _read_answer(self._data, ended=ended)
        except AnswerError as error:
            self._answered.set_exception(error)
        else:
            if answer is not None:
                self._answered.set_result(answer)


def _read_answer(data: bytearray, *, ended: bool) -> tuple[int, bytes] | None:
    """Status and body of what has come; ``None`` while more is to come, which it is not once it has ``ended``."""
    end = data.find(b"\r\n\r\n", 0, _MAX_HEAD_BYTES)
    if end < 0:
        if len(data) >= _MAX_HEAD_BYTES:
            raise AnswerError("not_http", "the head of the answer has no end")
        if not ended:
            return None
        if not data:
            raise AnswerError("no_answer", "the connection was closed without a byte")
        raise AnswerError("not_http", repr(bytes(data[:80])))
    first, _, rest = bytes(data[:end]).partition(b"\r\n")
    status = _STATUS_LINE.fullmatch(first)
    if status is None:
        raise AnswerError("not_http", repr(first[:80]))
    headers = _read_headers(rest)
    if "transfer-encoding" in headers:
        raise AnswerError("chunked", "an HTTP/1.0 request got an answer in chunks")
    begin, length = end + 4, headers.get("content-length")
    come = len(data) - begin
    if length is not None and not length.isdigit():
        raise AnswerError("not_http", f"Content-Length: {length}")
    if max(come, int(length or 0)) > MAX_ANSWER_BYTES:
        raise AnswerError("too_big")
    if length is None:  # up to the end of the connection
        return (int(status[1]), bytes(data[begin:])) if ended else None
    if come >= int(length):
        return int(status[1]), bytes(data[begin : begin + int(length)])
    if ended:
        raise AnswerError("cut_short", "the connection was closed in the middle of the body")
    return None


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
