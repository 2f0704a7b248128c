"""Every fault that can be switched on is the fault that it says."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import pytest

from interceptor.simulator import SimulatedApp, SimulatedPbx, VirtualClock
from interceptor.simulator import faults as f
from interceptor.simulator.events import CommandReceived

GET = b"GET /?command=ListExtensions HTTP/1.1\r\nHost: pbx\r\n\r\n"


def with_pbx(work: Callable[[SimulatedPbx], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(10), SimulatedPbx(clock=VirtualClock()) as pbx:
            await work(pbx)

    asyncio.run(run())


async def raw(url: str, request: bytes = GET, *, until: bytes = b"", within: float = 5.0) -> bytes:
    """Everything that comes back until the connection ends, or until ``until`` was seen."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(request)
    got = b""
    try:
        async with asyncio.timeout(within):
            while (data := await reader.read(65536)) and (not until or until not in got + data):
                got += data
            got += data
    except ConnectionResetError:
        pass
    finally:
        writer.close()
    return got


def test_a_sound_answer_keeps_the_connection_and_has_a_length() -> None:
    async def work(pbx: SimulatedPbx) -> None:
        got = await raw(pbx.url, GET * 2, until=b"</Response>HTTP")
        got = got or b""
        head = got.partition(b"\r\n\r\n")[0]
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Server: Microsoft-HTTPAPI/2.0" in head
        assert b"Content-Type: application/xml\r\n" in head
        assert b"Content-Length: " in head
        assert b"Connection" not in head
        assert b"Transfer-Encoding" not in head

    with_pbx(work)


def test_a_pbx_that_refuses_is_back_on_the_same_port() -> None:
    async def work(pbx: SimulatedPbx) -> None:
        url = pbx.url
        await pbx.refuse_connections()
        with pytest.raises(ConnectionRefusedError):
            await raw(url)
        await pbx.accept_connections()
        assert pbx.url == url
        assert b"<Code>200</Code>" in await raw(url, until=b"</Response>")

    with_pbx(work)


def test_a_refusing_pbx_closes_the_connections_that_were_kept() -> None:
    async def work(pbx: SimulatedPbx) -> None:
        parts = urlsplit(pbx.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(GET)
        await reader.readuntil(b"</Response>")
        await pbx.refuse_connections()
        assert await reader.read() == b""
        writer.close()

    with_pbx(work)


@pytest.mark.parametrize("fault", [f.CloseWithoutAnswer(), f.Hang(seconds=0.05)])
def test_no_byte_comes_back(fault: f.Fault) -> None:
    async def work(pbx: SimulatedPbx) -> None:
        pbx.faults.inject(fault)
        assert await raw(pbx.url) == b""
        assert len(pbx.commands_seen("ListExtensions")) == 1

    with_pbx(work)


def test_a_hanging_server_still_stops_at_once() -> None:
    async def work(pbx: SimulatedPbx) -> None:
        pbx.faults.inject(f.Hang())
        asking = asyncio.ensure_future(raw(pbx.url))
        await pbx.log.wait(CommandReceived)
        async with asyncio.timeout(2):
            await pbx.stop()
        assert await asking == b""

    with_pbx(work)


def test_an_answer_breaks_off_in_the_middle_of_its_body() -> None:
    async def work(pbx: SimulatedPbx) -> None:
        pbx.faults.inject(f.CloseMidAnswer(body_bytes=9))
        head, _, body = (await raw(pbx.url)).partition(b"\r\n\r\n")
        assert body == b"<?xml ver"
        assert b"Content-Length: 9\r\n" not in head

    with_pbx(work)


def test_slow_bytes_come_whole_in_the_end() -> None:
    async def work(pbx: SimulatedPbx) -> None:
        pbx.faults.inject(f.SlowBytes(step_bytes=100, pause_seconds=0.005))
        assert (await raw(pbx.url, until=b"</Response>")).endswith(b"</Response>")

    with_pbx(work)


def test_an_http_error_a_page_for_people_and_bytes_that_are_no_http() -> None:
    async def work(pbx: SimulatedPbx) -> None:
        pbx.faults.inject(f.HttpStatus(503), times=1)
        pbx.faults.inject(f.Rubbish(), times=1)
        pbx.faults.inject(f.NotHttp(), times=1)
        assert (await raw(pbx.url, until=b"</html>")).startswith(b"HTTP/1.1 503 ")
        assert b"Fatal error" in await raw(pbx.url, until=b"</html>")
        assert b"SSH" in await raw(pbx.url)
        assert b"<Code>200</Code>" in await raw(pbx.url, until=b"</Response>")

    with_pbx(work)


def test_connection_close_and_chunks() -> None:
    async def work(pbx: SimulatedPbx) -> None:
        pbx.faults.inject(f.CloseAfterAnswer(), times=1)
        closed = await raw(pbx.url)
        assert b"Connection: close\r\n" in closed
        assert closed.endswith(b"</Response>")
        pbx.faults.inject(f.Chunked(step_bytes=50), times=1)
        chunked = await raw(pbx.url, until=b"\r\n0\r\n\r\n")
        assert b"Transfer-Encoding: chunked\r\n" in chunked
        assert b"\r\n32\r\n" in chunked

    with_pbx(work)


def test_a_fault_can_be_for_one_message_only() -> None:
    async def work(pbx: SimulatedPbx) -> None:
        pbx.faults.inject(f.HttpStatus(), where=lambda name: name == "Hangup")
        assert b" 200 " in await raw(pbx.url, until=b"</Response>")
        assert b" 500 " in await raw(pbx.url, GET.replace(b"ListExtensions", b"Hangup"), until=b"</html>")
        pbx.faults.clear()
        assert b" 200 " in await raw(pbx.url, GET.replace(b"ListExtensions", b"Hangup"), until=b"</Response>")

    with_pbx(work)


def test_every_named_fault_can_be_made() -> None:
    assert [type(kind()).__name__ for kind in f.BY_NAME.values()] == [kind.__name__ for kind in f.BY_NAME.values()]


def test_an_app_has_the_same_faults() -> None:
    async def work() -> None:
        async with asyncio.timeout(10), SimulatedApp(clock=VirtualClock()) as app:
            app.faults.inject(f.Rubbish(b"{}", "application/json"))
            form = b"NotificationName=GoTo"
            request = b"POST /x HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" % (len(form), form)
            got = await raw(app.url, request)
            assert got.endswith(b"{}")
            assert got.startswith(b"HTTP/1.0 200")
            assert [seen.target for seen in app.notifications_seen("goto")] == ["/x"]

    asyncio.run(work())


@pytest.mark.parametrize("quick", [False, True])
def test_who_is_down_keeps_its_port_and_refuses_connections(quick: bool) -> None:
    async def work() -> None:
        async with SimulatedPbx(clock=VirtualClock(), quick=quick) as pbx:
            port = int(pbx.url.rpartition(":")[2])
            await pbx.refuse_connections()
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            await pbx.accept_connections()
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()

    asyncio.run(work())
