"""Notifications leave as the reference prints them, and an answer that the PBX could not use is none."""

import asyncio

import pytest

from interceptor.simulator import SimulatedPbx, VirtualClock
from interceptor.simulator.events import EventLog, NotificationFailed
from interceptor.simulator.notifications import Notifier, Told, encode_form

OZML = b'<?xml version="1.0"?><Response><Speak>Hello</Speak></Response>'


async def exchange(
    reply: bytes, *, path: str = "/hooks/route?tenant=7", patience: float = 5.0
) -> tuple[bytes, Told, str]:
    """What a bare server got, what the PBX made of its reply, and the reason where it could not use it."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        got.append(head + await reader.readexactly(length))
        if reply != b"hang":
            writer.write(reply)
            await writer.drain()
            writer.close()
        else:
            await reader.read()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    clock = VirtualClock()
    log = EventLog(clock)
    notifier = Notifier(clock, log, patience_seconds=patience)
    fields = (
        ("CallerID", "2301"),
        ("OriginalDialedNumber", "2405"),
        ("LastDialedNumber", "2405"),
        ("LastCalledExtension", "2405"),
        ("LastCallState", "Calling"),
        ("CallerExtension", "2301"),
    )
    told = await notifier.tell("RoutingInterception", f"http://127.0.0.1:{port}/hooks/route?tenant=7", fields)
    server.close()
    failed = log.of(NotificationFailed)
    return got[0], told, failed[0].reason if failed else ""


def http(body: bytes, head: bytes = b"HTTP/1.0 200 OK\r\n", extra: bytes = b"") -> bytes:
    return head + b"Content-Length: %d\r\n%s\r\n" % (len(body), extra) + body


def test_a_notification_is_the_printed_example_byte_for_byte() -> None:
    got, _, _ = asyncio.run(exchange(http(OZML)))
    assert got == (
        b"POST /hooks/route?tenant=7 HTTP/1.0\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n"
        b"Host: 127.0.0.1\r\n"
        b"Cache-Control: no-store,no-cache\r\n"
        b"Pragma: no-cache\r\n"
        b"Content-Length: 166\r\n"
        b"\r\n"
        b"NotificationName=RoutingInterception&CallerID=2301&OriginalDialedNumber=2405&LastDialedNumber=2405"
        b"&LastCalledExtension=2405&LastCallState=Calling&CallerExtension=2301"
    )


@pytest.mark.parametrize(
    "reply",
    [
        http(OZML),
        http(OZML, b"HTTP/1.1 200 OK\r\n"),
        b"HTTP/1.0 200 OK\r\n\r\n" + OZML,
        http(b"\xef\xbb\xbf\r\n\r\n" + OZML, extra=b"Content-Type: text/html\r\n"),
        http(OZML.replace(b"Response", b"response")),
        http(OZML.replace(b"<Speak>", b"some text <!-- a comment --><SPEAK>").replace(b"</Speak>", b"</SPEAK>")),
    ],
)
def test_an_answer_is_read_whatever_its_dress(reply: bytes) -> None:
    _, told, reason = asyncio.run(exchange(reply))
    assert (told.usable, [verb.text for verb in told.verbs], reason) == (True, ["Hello"], "")


@pytest.mark.parametrize("reply", [http(OZML), b"HTTP/1.0 200 OK\r\n\r\n" + OZML], ids=["by its length", "to the end"])
def test_an_answer_that_comes_a_byte_at_a_time_is_the_same(reply: bytes) -> None:
    async def work() -> Told:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"NotificationName=GoTo")
            for at in range(len(reply)):
                writer.write(reply[at : at + 1])
                await writer.drain()
                await asyncio.sleep(0)
            writer.close()

        clock = VirtualClock()
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await Notifier(clock, EventLog(clock)).tell("GoTo", f"http://127.0.0.1:{port}/", ())

    assert [verb.text for verb in asyncio.run(work()).verbs] == ["Hello"]


@pytest.mark.parametrize("body", [b"", b" \r\n", b"<Response/>", b"<Response></Response>"])
def test_no_verbs_is_an_answer(body: bytes) -> None:
    _, told, _ = asyncio.run(exchange(http(body)))
    assert told == Told(usable=True)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"", "no_answer"),
        (b"SSH-2.0-hello\r\n", "not_http"),
        (b"hello\r\n\r\n", "not_http"),
        (http(OZML, b"HTTP/1.0 500 Oops\r\n"), "http_status"),
        (http(b"<html>"), "not_ozml"),
        (http(b"Fatal error"), "not_ozml"),
        (http(b"<Menu/>"), "not_ozml"),
        (http(b'<!DOCTYPE r [<!ENTITY a "b">]><Response>&a;</Response>'), "not_ozml"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\nshort", "cut_short"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "chunked"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: many\r\n\r\n", "not_http"),
        (b"HTTP/1.0 200 OK\r\nX: " + b"x" * (64 << 10), "not_http"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 8388609\r\n\r\n", "too_big"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * ((8 << 20) + 1), "too_big"),
    ],
)
def test_what_is_no_ozml_is_no_answer(reply: bytes, reason: str) -> None:
    _, told, found = asyncio.run(exchange(reply))
    assert (told.usable, found) == (False, reason)


def test_an_app_that_hangs_is_left_after_the_deadline() -> None:
    _, told, reason = asyncio.run(exchange(b"hang", patience=0.1))
    assert (told.usable, reason) == (False, "timeout")


@pytest.mark.parametrize("url", ["https://127.0.0.1/x", "ftp://a/", "$variable", "http://"])
def test_an_address_that_is_none_is_told_so(url: str) -> None:
    async def work() -> str:
        clock = VirtualClock()
        log = EventLog(clock)
        await Notifier(clock, log).tell("GoTo", url, ())
        return log.of(NotificationFailed)[0].reason

    assert asyncio.run(work()) == "bad_url"


def test_blanks_are_pluses_and_a_plus_is_escaped_with_small_digits() -> None:
    assert encode_form((("a b", "+36 20/é"),)) == b"a+b=%2b36+20%2f%c3%a9"


def test_a_refused_connection_is_unreachable() -> None:
    async def work() -> str:
        async with SimulatedPbx(clock=VirtualClock()) as pbx:
            url = pbx.url
            await pbx.refuse_connections()
            await pbx.core.notifier.tell("CallChanged", url, ())
            return pbx.log.of(NotificationFailed)[0].reason

    assert asyncio.run(work()) == "unreachable"
