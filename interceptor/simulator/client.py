"""The click-to-call side of an app: sends commands to a PBX, or to what stands before it, and reads the answers."""

import asyncio
from contextlib import suppress
from urllib.parse import quote

import aiohttp
from lxml import etree
from msgspec import Struct
from yarl import URL

from interceptor.simulator.clock import Clock
from interceptor.simulator.events import AnswerReceived, CommandSent, EventLog, Pairs

MAX_ANSWER_BYTES = 8 << 20
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)


class CommandAnswer(Struct, frozen=True):
    """What came back. ``code`` is ``None`` where none could be read; ``status`` is 0 where nothing came at all."""

    status: int
    code: int | None
    message: str
    body: bytes = b""
    headers: Pairs = ()

    def texts(self, element: str) -> list[str]:
        """The text of every element of that name in the payload."""
        root = _parse(self.body)
        return [] if root is None else [found.text or "" for found in root.iter(element)]

    def header(self, name: str) -> str | None:
        """The value of the first header of that name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class CommandClient:
    """Asks a PBX at ``url``. ``username`` and ``password`` go out as parameters of every command when given."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        log: EventLog,
        *,
        username: str = "",
        password: str = "",
        patience_seconds: float = 35.0,
        close_connections: bool = False,
    ) -> None:
        self.url = url.rstrip("/")
        self._clock, self._log = clock, log
        self._credentials: Pairs = (("Username", username), ("Password", password)) if username else ()
        self._patience_seconds = patience_seconds
        self._close_connections = close_connections
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections that were kept."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def send(self, name: str, parameters: Pairs = (), *, method: str = "GET") -> CommandAnswer:
        """Send one command and read its answer; never raises for what the other side does."""
        pairs = (("command", name), *self._credentials, *parameters)
        with self._clock.hold():
            shown = tuple((key, "***" if key == "Password" else value) for key, value in pairs)
            self._log.append(
                CommandSent(at=self._clock.now(), name=name, parameters=shown, url=self.url, method=method)
            )
            answer = await self._ask(method, encode(pairs))
            self._log.append(
                AnswerReceived(
                    at=self._clock.now(), name=name, status=answer.status, code=answer.code, message=answer.message
                )
            )
        return answer

    async def _ask(self, method: str, form: str) -> CommandAnswer:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=64, force_close=self._close_connections)
            timeout = aiohttp.ClientTimeout(total=self._patience_seconds)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding")
            )
        body = form.encode() if method == "POST" else None
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
        path = self.url if "/" in self.url.partition("//")[2] else f"{self.url}/"
        target = URL(path if body is not None else f"{path}?{form}", encoded=True)
        try:
            async with self._session.request(method, target, data=body, headers=headers) as response:
                data = await response.content.read(MAX_ANSWER_BYTES)
                while more := await response.content.read(MAX_ANSWER_BYTES):
                    data += more
                code, message = read_answer(data)
                return CommandAnswer(response.status, code, message, data, tuple(response.headers.items()))
        except (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            return CommandAnswer(0, None, f"{type(error).__name__}: {error}")


def encode(pairs: Pairs) -> str:
    """Pairs as a query, every byte escaped that needs it; a blank is ``%20``."""
    return "&".join(
        f"{quote(name, safe='', errors='surrogateescape')}={quote(value, safe='', errors='surrogateescape')}"
        for name, value in pairs
    )


def read_answer(body: bytes) -> tuple[int | None, str]:
    """``Code`` and ``Message``, wherever they stand."""
    root = _parse(body)
    if root is None:
        return None, ""
    code, message = root.findtext(".//Code"), root.findtext(".//Message")
    with suppress(ValueError):
        return int(code or ""), message or ""
    return None, message or ""


def _parse(body: bytes) -> etree._Element | None:
    try:
        return etree.fromstring(body.strip(), _PARSER)
    except (etree.XMLSyntaxError, ValueError):
        return None
