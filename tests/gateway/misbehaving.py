"""Other sides that do what they ought not to, and what a test reads of Interceptor meanwhile."""

import asyncio
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from interceptor.settings import Limits
from tests.gateway.harness import (
    WAIT,
    Answer,
    Backend,
    Proxy,
    Script,
    answering,
    hanging,
    read_request,
    resetting,
    saying,
)

SMALL_REPLIES = replace(Limits(), reply_body=2000)
HTML = b"<!DOCTYPE html>\n<html><body><h1>Bad Gateway</h1></body></html>"
PHP_ERROR = b"<br />\n<b>Fatal error</b>:  Uncaught PDOException in <b>/srv/app/route.php</b> on line <b>12</b><br />"
LARGE = b"<Response>" + b"<Speak>All our lines are busy</Speak>" * 100 + b"</Response>"


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: Backend) -> None:
    """Answers byte by byte, for longer than anybody waits."""
    backend.seen(await read_request(reader))
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<Response>")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def slamming(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: Backend) -> None:
    """Accepts and closes at once."""
    del reader, backend
    writer.transport.abort()


def after(*scripts: Script) -> Script:
    """Behaves on its first connection as the first script says, and so on; on all further ones as the last."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: Backend) -> None:
        await scripts[min(backend.connections, len(scripts)) - 1](reader, writer, backend)

    return script


def kept_then_cut(answered: int, body: bytes) -> Script:
    """Answers so many requests of a connection, reads one more, and closes without a word."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: Backend) -> None:
        for _ in range(answered):
            backend.seen(await read_request(reader))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
        backend.seen(await read_request(reader))

    return script


RUBBISH: dict[str, Script] = {
    "an HTML page": answering(HTML, b"Content-Type: text/html\r\n"),
    "a PHP error": answering(PHP_ERROR, b"Content-Type: text/html\r\n"),
    "status 500": answering(b"<Response/>", status=b"500 Internal Server Error"),
    "not HTTP": saying(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", close=False),
    "cut off in the body": saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<Response>"),
    "over the cap": answering(LARGE),
}
SLOW: dict[str, Script] = {"no byte": hanging, "slow bytes": dripping}
AWAY: dict[str, Script | None] = {"refused": None, "closes at once": slamming, "resets": resetting}
FAILING: dict[str, Script | None] = {**AWAY, **SLOW, **RUBBISH}


def side_by_side[T](work: Sequence[Callable[[], T]]) -> list[T]:
    """The results of calls that run at the same time."""
    results: list[Any] = [None] * len(work)

    def one(index: int) -> None:
        try:
            results[index] = work[index]()
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            results[index] = error

    threads = [threading.Thread(target=one, args=(index,), daemon=True) for index in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    failures = [result for result in results if isinstance(result, BaseException)]
    assert not failures, failures
    return results


def ask_admin(proxy: Proxy, path: str) -> tuple[int, str]:
    """Status and text of a page of the admin listener."""
    address = proxy.running.addresses["admin"]
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=WAIT) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def counted(proxy: Proxy, metric: str, **labels: str) -> float:
    """The sum of all samples of a metric that have these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(ask_admin(proxy, "/metrics")[1])
        for sample in family.samples
        if sample.name == metric and labels.items() <= sample.labels.items()
    )


def await_until(holds: Callable[[], object], seconds: float = WAIT) -> None:
    """Wait for what nobody announces, looking again and again; fails when it does not come."""
    tick, over = threading.Event(), threading.Event()
    timer = threading.Timer(seconds, over.set)
    timer.start()
    try:
        while not holds():
            assert not over.is_set(), f"did not come within {seconds} seconds"
            tick.wait(0.005)
    finally:
        timer.cancel()


def said(answer: Answer) -> tuple[int, int | None]:
    """HTTP status and PBX code."""
    return answer.status, answer.code
