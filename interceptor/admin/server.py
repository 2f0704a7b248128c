"""An HTTP server for operators and Prometheus. Pages only read; what changes the policy is asked for with POST.

Laws of this module:

* Whatever the source does - raise, hang - the answer comes in time and says so; nothing here can stop a worker.
* ``/livez`` asks nobody: it is alive when it answers.
* Nothing shown here is a secret: the source gives public things only.
* A browser cannot be tricked into a POST: one that comes with an ``Origin``, as every browser's does, is refused.
"""

import asyncio
import html
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

import msgspec
from msgspec import Struct

from interceptor.admin.listening import Answer, HttpServer
from interceptor.admin.readable import readable_policy
from interceptor.canary import read_share
from interceptor.gateway.http1 import Request
from interceptor.metrics import Snapshot, exposition
from interceptor.settings import Address

SOURCE_SECONDS = 5.0  # how long the source may take to answer; Prometheus waits ten by default
CHANGE_SECONDS = 900.0  # how long a change of the policy may take: every case is run, every worker compiles
SHOWN_CALLS = 100  # open ones, and as many that have ended, where nobody says how many

_PAGES = {
    "/livez": "whether the process answers",
    "/readyz": "whether messages are served; the reasons when they are not",
    "/metrics": "everything counted, for Prometheus",
    "/config": "the settings in force, without secrets",
    "/policy/preview": "what loading the rules files would change",
    "/policy": "the policy in force, how it came there, what its rules have done (`?format=text` for people)",
    "/clusters": "the PBX endpoints and how they stand; POST /clusters/NAME/endpoints/N/drain, or undrain",
    "/outbox": "the notifications that wait for their app: how many, since when, failed attempts, the next",
    "/calls": "the calls that go on and those that ended last (`?most=N`); /calls/ID tells all that passed in one",
    "/explain": "the exchanges that were kept; /explain/ID tells why one was decided as it was",
}


class AdminSource(Protocol):
    """Who knows what the pages show. With several workers it asks them."""

    async def not_ready(self) -> tuple[str, ...]:
        """Why messages are not served, one sentence each; empty when they are."""

    async def metrics(self) -> Snapshot:
        """Everything counted, over all workers."""

    async def config(self) -> Mapping[str, Any]:
        """The settings in force, without secrets."""

    async def policy(self) -> Mapping[str, Any]:
        """The policy in force: revision, files, rules, how it came there."""

    async def warnings(self) -> tuple[str, ...]:
        """What an operator should know although messages are served, one sentence each."""

    async def reload_policy(self, *, at_once: bool) -> Mapping[str, Any]:
        """Bring into force what the files say; ``outcome`` is ``loaded``, ``unchanged``, ``refused`` or ``failed``.

        ``at_once`` also for calls in progress, which else keep the rules that they began with.
        """

    async def preview_policy(self) -> Mapping[str, Any]:
        """What loading the files would change; ``outcome`` is ``compared``, ``refused`` or ``failed``."""

    async def roll_back_policy(self, revision: str) -> Mapping[str, Any]:
        """Return to the policy before this one, or to the last one of this revision; ``outcome`` as above."""

    async def try_canary(self, percent: float) -> Mapping[str, Any]:
        """Give a share of the calls, in percent, to the policy in the canary's folder; ``outcome`` as above."""

    async def clusters(self) -> Sequence[Mapping[str, Any]]:
        """The PBX endpoints of each cluster and how they stand."""

    async def outbox(self) -> Sequence[Mapping[str, Any]]:
        """The notifications that wait for their app, by app and worker."""

    async def drain(self, cluster: str, endpoint: str, *, on: bool) -> bool:
        """Send nothing new to an endpoint, or do so again; false where there is none of that number or address."""

    async def kept(self) -> Sequence[Mapping[str, Any]]:
        """The exchanges that can be explained, a few words of each."""

    async def calls(self, most: int) -> Any:
        """The calls that go on and those that ended last, at most so many of each, and their numbers."""

    async def call(self, name: str) -> Any | None:
        """All that is known of one call, by one of its ids or of its exchanges; ``None`` where it is not known."""

    async def explain(self, exchange: str) -> Any | None:
        """Why an exchange was decided as it was; ``None`` where it was not kept."""


class _Asked(Struct, frozen=True):
    """What a page is asked with: the query, the headers, and the parts of the path that have a name."""

    query: Mapping[str, str]
    headers: Mapping[str, str]
    parts: Mapping[str, str]


_Page = Callable[[_Asked], Awaitable[Answer]]


class AdminServer:
    """Serves the pages until it is stopped."""

    def __init__(self, address: Address, source: AdminSource, *, source_seconds: float = SOURCE_SECONDS) -> None:
        self._address = address
        self._source = source
        self._source_seconds = source_seconds
        self._server = HttpServer(self._answer)
        self._pages: tuple[tuple[str, re.Pattern[str], _Page], ...] = (
            _page("GET", "/", _index),
            _page("GET", "/livez", _alive),
            _page("GET", "/readyz", self._ready),
            _page("GET", "/metrics", self._metrics),
            _page("GET", "/config", self._config),
            _page("GET", "/policy", self._policy),
            _page("GET", "/policy/preview", self._preview),
            _page("POST", "/policy/reload", self._reload),
            _page("POST", "/policy/rollback", self._roll_back),
            _page("POST", "/policy/canary", self._try_canary),
            _page("GET", "/clusters", self._clusters),
            _page("POST", "/clusters/{cluster}/endpoints/{endpoint}/{how:drain|undrain}", self._drain),
            _page("GET", "/outbox", self._outbox),
            _page("GET", "/calls", self._calls),
            _page("GET", "/calls/{call}", self._call),
            _page("GET", "/explain", self._kept),
            _page("GET", "/explain/{exchange}", self._explain),
        )

    async def start(self) -> Address:
        """Listen; returns the address with the port that is really used. Raises :class:`OSError` when it is taken."""
        try:
            return await self._server.start(self._address)
        except OSError as error:
            number = error.errno or 0  # that of an unknown name is less
            why = os.strerror(number).lower() if number > 0 else str(error)
            raise OSError(f"the admin listener cannot listen on {self._address}: {why}") from error

    async def stop(self) -> None:
        """Stop listening; requests being answered have a second to end."""
        await self._server.stop()

    async def _answer(self, request: Request) -> Answer:
        path, _, query = request.target.decode("latin-1").partition("?")
        allowed = []
        for method, pattern, page in self._pages:
            found = pattern.fullmatch(path)
            if found is None:
                continue
            if request.method == method or (request.method == "HEAD" and method == "GET"):
                return await self._guard(request, page, found.groupdict(), query)
            allowed.append("GET,HEAD" if method == "GET" else method)
        return _text("Method Not Allowed\n", 405, ",".join(allowed)) if allowed else _text("Not Found\n", 404)

    async def _guard(self, request: Request, page: _Page, parts: Mapping[str, str], query: str) -> Answer:
        headers = request.block.values
        if request.method == "POST" and "origin" in headers:
            return _text("browsers are not answered here\n", 403)
        asked = _Asked(
            dict(reversed(parse_qsl(query, keep_blank_values=True))),  # the first of equal names counts
            headers,
            {name: unquote(part) for name, part in parts.items()},
        )
        try:
            return await page(asked)
        except TimeoutError:
            return _text("the workers did not answer in time\n", 503)
        except Exception as error:  # noqa: BLE001 - a fault in one page must not be a traceback in a browser
            return _text(f"this page could not be made: {type(error).__name__}\n", 500)

    async def _ask[T](self, question: Awaitable[T]) -> T:
        async with asyncio.timeout(self._source_seconds):
            return await question

    async def _ready(self, _asked: _Asked) -> Answer:
        warnings: tuple[str, ...] = ()
        try:
            reasons = await self._ask(self._source.not_ready())
            warnings = await self._ask(self._source.warnings())
        except TimeoutError:
            reasons = ("the workers did not answer in time",)
        except Exception as error:  # noqa: BLE001 - who cannot say that all is well is not ready
            reasons = (f"readiness could not be found out: {type(error).__name__}",)
        return _json({"ready": not reasons, "reasons": reasons, "warnings": warnings}, 503 if reasons else 200)

    async def _metrics(self, asked: _Asked) -> Answer:
        snapshot = await self._ask(self._source.metrics())
        body, content_type = exposition(snapshot, asked.headers.get("accept", ""))
        return Answer(200, content_type, body, _HEADERS)

    async def _config(self, _asked: _Asked) -> Answer:
        return _json(await self._ask(self._source.config()))

    async def _policy(self, asked: _Asked) -> Answer:
        page = await self._ask(self._source.policy())
        form = asked.query.get("format") or asked.headers.get("accept", "").partition(",")[0].strip()
        if form in {"text", "text/plain", "text/html"}:
            return _text(readable_policy(page))
        return _json(page)

    async def _reload(self, asked: _Asked) -> Answer:
        at_once = asked.query.get("at_once", "false")
        if at_once not in {"true", "false"}:
            return _text("at_once should be true or false\n", 400)
        return await self._changed(self._source.reload_policy(at_once=at_once == "true"))

    async def _preview(self, _asked: _Asked) -> Answer:
        return await self._changed(self._source.preview_policy())

    async def _roll_back(self, asked: _Asked) -> Answer:
        return await self._changed(self._source.roll_back_policy(asked.query.get("to", "")))

    async def _try_canary(self, asked: _Asked) -> Answer:
        percent = read_share(asked.query.get("share", ""))
        if percent is None:
            return _text("share should be a part of the calls such as 5%, or off\n", 400)
        return await self._changed(self._source.try_canary(percent))

    async def _changed(self, change: Awaitable[Mapping[str, Any]]) -> Answer:
        """Carry out a change of the policy, or see what it would be; it goes on where the asker goes away."""
        async with asyncio.timeout(CHANGE_SECONDS):
            attempt = await change
        return _json(attempt, _STATUS_OF_OUTCOME.get(attempt["outcome"], 500))

    async def _clusters(self, _asked: _Asked) -> Answer:
        return _json({"clusters": await self._ask(self._source.clusters())})

    async def _outbox(self, _asked: _Asked) -> Answer:
        return _json({"outbox": await self._ask(self._source.outbox())})

    async def _drain(self, asked: _Asked) -> Answer:
        which = asked.parts
        if not await self._ask(self._source.drain(which["cluster"], which["endpoint"], on=which["how"] == "drain")):
            return _text("there is no such endpoint\n", 404)
        return await self._clusters(asked)

    async def _kept(self, _asked: _Asked) -> Answer:
        return _json({"kept": await self._ask(self._source.kept())})

    async def _calls(self, asked: _Asked) -> Answer:
        written = asked.query.get("most", "")
        most = int(written) if written.isascii() and written.isdigit() and len(written) < 6 else SHOWN_CALLS
        return _json(await self._ask(self._source.calls(most)))

    async def _call(self, asked: _Asked) -> Answer:
        found = await self._ask(self._source.call(asked.parts["call"]))
        return _text("this call is not known\n", 404) if found is None else _json(found)

    async def _explain(self, asked: _Asked) -> Answer:
        found = await self._ask(self._source.explain(asked.parts["exchange"]))
        return _text("this exchange was not kept\n", 404) if found is None else _json(found)


_STATUS_OF_OUTCOME = {"loaded": 200, "unchanged": 200, "compared": 200, "refused": 422, "failed": 503}
_HEADERS = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
_PART = re.compile(r"\{(\w+)(?::([\w|]+))?\}")


def _page(method: str, path: str, page: _Page) -> tuple[str, re.Pattern[str], _Page]:
    """A page with the pattern of its path: ``{name}`` is a part of any text, ``{name:a|b}`` one of these."""
    pattern = _PART.sub(lambda part: f"(?P<{part[1]}>{part[2] or '[^/]+'})", path)
    return method, re.compile(pattern), page


async def _alive(_asked: _Asked) -> Answer:
    return _text("alive\n")


async def _index(_asked: _Asked) -> Answer:
    items = "".join(f'<li><a href="{path}">{path}</a> {html.escape(what)}</li>' for path, what in _PAGES.items())
    page = f"<!doctype html><title>Interceptor</title><h1>Interceptor</h1><ul>{items}</ul>\n"
    return Answer(200, "text/html; charset=utf-8", page.encode(), _HEADERS)


def _text(text: str, status: int = 200, allow: str = "") -> Answer:
    headers = (*_HEADERS, ("Allow", allow)) if allow else _HEADERS
    return Answer(status, "text/plain; charset=utf-8", text.encode(), headers)


def _json(value: object, status: int = 200) -> Answer:
    body = msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2) + b"\n"
    return Answer(status, "application/json", body, _HEADERS)
