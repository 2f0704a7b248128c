"""An HTTP server for operators and Prometheus; it only reads.

Laws of this module:

* Whatever the source does - raise, hang - the answer comes in time and says so; nothing here can stop a worker.
* ``/livez`` asks nobody: it is alive when it answers.
* Nothing shown here is a secret: the source gives public things only.
"""

import asyncio
import html
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec
from aiohttp import web

from interceptor.metrics import Snapshot, exposition
from interceptor.settings import Address

SOURCE_SECONDS = 5.0  # how long the source may take to answer; Prometheus waits ten by default
REQUEST_BYTES = 4096  # nobody has anything to post here

_PAGES = {
    "/livez": "whether the process answers",
    "/readyz": "whether messages are served; the reasons when they are not",
    "/metrics": "everything counted, for Prometheus",
    "/config": "the settings in force, without secrets",
    "/policy": "the rules in force: revision, files, when they were loaded",
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
        """The policy in force: revision, files, how many rules, when it was loaded."""


class AdminServer:
    """Serves the pages until it is stopped."""

    def __init__(self, address: Address, source: AdminSource, *, source_seconds: float = SOURCE_SECONDS) -> None:
        self._address = address
        self._source = source
        self._source_seconds = source_seconds
        self._runner: web.AppRunner | None = None

    async def start(self) -> Address:
        """Listen; returns the address with the port that is really used. Raises :class:`OSError` when it is taken."""
        application = web.Application(middlewares=[self._guard], client_max_size=REQUEST_BYTES)
        application.router.add_get("/", _index)
        application.router.add_get("/livez", _alive)
        application.router.add_get("/readyz", self._ready)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/config", self._config)
        application.router.add_get("/policy", self._policy)
        runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=30.0,
            lingering_time=1.0,
            shutdown_timeout=1.0,
            max_line_size=REQUEST_BYTES,
            max_field_size=REQUEST_BYTES,
        )
        await runner.setup()
        site = web.TCPSite(runner, self._address.host, self._address.port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            number = error.errno or 0  # that of an unknown name is less
            why = os.strerror(number).lower() if number > 0 else str(error)
            msg = f"the admin listener cannot listen on {self._address}: {why}"
            raise OSError(msg) from error
        self._runner = runner
        host, port = runner.addresses[0][:2]
        return Address(host, port)

    async def stop(self) -> None:
        """Stop listening; requests being answered have a second to end."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _text(f"{error.reason}\n", error.status, error.headers.get("Allow"))
        except TimeoutError:
            return _text("the workers did not answer in time\n", 503)
        except Exception as error:  # noqa: BLE001 - a fault in one page must not be a traceback in a browser
            return _text(f"this page could not be made: {type(error).__name__}\n", 500)

    async def _ask[T](self, question: Awaitable[T]) -> T:
        async with asyncio.timeout(self._source_seconds):
            return await question

    async def _ready(self, _request: web.Request) -> web.Response:
        try:
            reasons = await self._ask(self._source.not_ready())
        except TimeoutError:
            reasons = ("the workers did not answer in time",)
        except Exception as error:  # noqa: BLE001 - who cannot say that all is well is not ready
            reasons = (f"readiness could not be found out: {type(error).__name__}",)
        return _json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def _metrics(self, request: web.Request) -> web.Response:
        snapshot = await self._ask(self._source.metrics())
        body, content_type = exposition(snapshot, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type, **_HEADERS})

    async def _config(self, _request: web.Request) -> web.Response:
        return _json(await self._ask(self._source.config()))

    async def _policy(self, _request: web.Request) -> web.Response:
        return _json(await self._ask(self._source.policy()))


_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


async def _alive(_request: web.Request) -> web.Response:
    return _text("alive\n")


async def _index(_request: web.Request) -> web.Response:
    items = "".join(f'<li><a href="{path}">{path}</a> {html.escape(what)}</li>' for path, what in _PAGES.items())
    page = f"<!doctype html><title>Interceptor</title><h1>Interceptor</h1><ul>{items}</ul>\n"
    return web.Response(text=page, content_type="text/html", headers=_HEADERS)


def _text(text: str, status: int = 200, allow: str | None = None) -> web.Response:
    headers = _HEADERS if allow is None else {**_HEADERS, "Allow": allow}
    return web.Response(text=text, status=status, headers=headers)


def _json(value: object, status: int = 200) -> web.Response:
    body = msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2) + b"\n"
    return web.Response(body=body, status=status, content_type="application/json", headers=_HEADERS)
