import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from interceptor.admin.listening import REQUEST_BYTES, Answer, HttpServer
from interceptor.settings import Address

GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def stage():
    """A server that answers with the target that it was asked for, and not while `free` is cleared."""
    asked, came, free = [], asyncio.Event(), asyncio.Event()
    free.set()

    async def answer(request):
        asked.append(request.target.decode())
        came.set()
        await free.wait()
        large = request.target == b"/large"
        return Answer(200, "text/plain", b"x" * 8_000_000 if large else request.target)

    def play(story, **settings):
        async def whole():
            server = HttpServer(answer, **settings)
            address = await server.start(Address("127.0.0.1", 0))
            try:
                async with asyncio.timeout(20):
                    await story(server, address)
            finally:
                await server.stop()
                await server.stop()

        asyncio.run(whole())

    return SimpleNamespace(asked=asked, came=came, free=free, play=play)


@contextlib.asynccontextmanager
async def connection(address):
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def all_gone(server):
    while server.connections:  # noqa: ASYNC110 - a task that ends rings no bell
        await asyncio.sleep(0.001)


async def read_answer(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(int(line[16:]) for line in head.splitlines() if line.startswith("Content-Length: "))
    return head, await reader.readexactly(length)


def test_a_connection_carries_one_request_after_the_other(stage):
    async def story(_server, address):
        async with connection(address) as (reader, writer):
            writer.write(GET % b"/1" + GET % b"/2")
            assert [(await read_answer(reader))[1] for _ in range(2)] == [b"/1", b"/2"]
            writer.write(GET % b"/3")
            head, body = await read_answer(reader)
            assert body == b"/3"
            assert head.startswith("HTTP/1.1 200 OK\r\n")
            assert "\r\nDate: " in head
            assert "Connection:" not in head

    stage.play(story)
    assert stage.asked == ["/1", "/2", "/3"]


@pytest.mark.parametrize(
    ("request_head", "told"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "Connection: close"),
        (b"GET / HTTP/1.0\r\n\r\n", "Connection: close"),
    ],
)
def test_a_connection_ends_when_the_asker_wants_it(stage, request_head, told):
    async def story(_server, address):
        async with connection(address) as (reader, writer):
            writer.write(request_head)
            assert told in (await read_answer(reader))[0]
            assert await reader.read() == b""

    stage.play(story)


def test_a_connection_of_http_1_0_stays_where_it_is_asked_to(stage):
    async def story(_server, address):
        async with connection(address) as (reader, writer):
            for _ in range(2):
                writer.write(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                assert "Connection: keep-alive" in (await read_answer(reader))[0]

    stage.play(story)


def test_a_body_is_asked_for_and_read(stage):
    async def story(_server, address):
        async with connection(address) as (reader, writer):
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert stage.asked == []
            writer.write(b"hi" + GET % b"/next")
            assert [(await read_answer(reader))[1] for _ in range(2)] == [b"/", b"/next"]

    stage.play(story)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\n\n", "400 Bad Request\r\n"),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "400 Bad Request\r\n"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400 Bad Request\r\n"),
        (GET % b"/" + b"X" * REQUEST_BYTES * 20, "400 Bad Request\r\n"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n" + b"x" * 99999, "413 "),
    ],
)
def test_what_is_no_request_is_refused_and_ends_the_connection(stage, sent, status):
    async def story(_server, address):
        async with connection(address) as (reader, writer):
            writer.write(sent)
            if sent.startswith(GET % b"/"):
                await read_answer(reader)
            head, body = await read_answer(reader)
            assert head.startswith(f"HTTP/1.1 {status}")
            assert (body[-1:], await reader.read()) == (b"\n", b"")

    stage.play(story)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", GET % b"/" + b"GET"])
def test_who_sends_no_whole_request_in_time_is_left(stage, sent):
    async def story(_server, address):
        async with connection(address) as (reader, writer):
            writer.write(sent)
            read = await reader.read()
            assert read.count(b"HTTP/1.1 200") == sent.count(b"Host")

    stage.play(story, patience_seconds=0.05)


def test_who_does_not_take_an_answer_in_time_is_left(stage):
    async def story(server, address):
        async with connection(address) as (reader, writer):
            writer.write(GET % b"/large")
            await reader.readexactly(1)
            await all_gone(server)

    stage.play(story, patience_seconds=0.1)


def test_more_connections_than_may_be_are_closed_at_once(stage):
    async def story(_server, address):
        async with connection(address) as first, connection(address) as second:
            for reader, writer in (first, second):
                writer.write(GET % b"/")
                await read_answer(reader)
            async with connection(address) as (reader, _):
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
            first[1].write(GET % b"/again")
            assert (await read_answer(first[0]))[1] == b"/again"
            second[1].close()
            assert await second[0].read() == b""

    stage.play(story, most_connections=2)


def test_an_answer_that_is_being_made_at_the_end_is_given(stage):
    async def story(server, address):
        async with connection(address) as (reader, writer), connection(address) as (idle, _):
            stage.free.clear()
            writer.write(GET % b"/slow")
            await stage.came.wait()
            ending = asyncio.ensure_future(server.stop())
            assert await idle.read() == b""
            stage.free.set()
            head, body = await read_answer(reader)
            assert ("Connection: close" in head, body) == (True, b"/slow")
            await ending

    stage.play(story)


def test_an_answer_that_is_never_made_does_not_hold_up_the_end(stage):
    async def story(server, address):
        async with connection(address) as (reader, writer):
            stage.free.clear()
            writer.write(GET % b"/hangs")
            await stage.came.wait()
            await server.stop()
            assert await reader.read() == b""

    stage.play(story)


def test_a_page_is_made_to_its_end_although_the_asker_has_gone(stage):
    async def story(server, address):
        stage.free.clear()
        async with connection(address) as (_, writer):
            writer.write(GET % b"/gone")
            await stage.came.wait()
        assert server.connections == 1
        stage.free.set()
        await all_gone(server)

    stage.play(story)
