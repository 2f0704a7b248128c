"""The books of a load, and the server that it uses."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.simulator import RealClock, SimulatedApp, SimulatedPbx
from interceptor.simulator.load import Counts, Latencies, Player
from interceptor.simulator.load.pages import EXTENSION


@given(st.lists(st.floats(0.0001, 100.0), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_shares_of_waits_are_right_to_two_per_cent(waits: list[float], share: float) -> None:
    kept = Latencies()
    for wait in waits:
        kept.add(wait)
    least = max(1, -int(-share * len(waits) // 1))
    true = sorted(waits)[least - 1]
    assert true * 0.999 <= kept.share(share) <= true * 1.021


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_what_is_sent_and_not_seen_is_lost_and_what_is_seen_too_often_is_doubled(
    sent: list[int], seen: list[int]
) -> None:
    counts = Counts()
    for key in sent:
        counts.send(key)
    for key in seen:
        counts.see(key)
    differences = [sent.count(key) - seen.count(key) for key in range(4)]
    assert counts.lost == sum(each for each in differences if each > 0)
    assert counts.doubled == -sum(each for each in differences if each < 0)
    assert len(counts.examples()) == sum(each != 0 for each in differences)


def test_what_an_app_does_not_see_is_told_as_lost() -> None:
    async def work() -> None:
        clock = RealClock(20)
        async with SimulatedApp(clock=clock, quick=True) as app, SimulatedPbx(clock=clock, quick=True) as pbx:
            app.pbx_url = pbx.url
            pbx.subscriptions.route = f"{app.url}/route"
            pbx.subscriptions.incoming = "http://127.0.0.1:9/"
            player = Player({"pbx": pbx}, {"app": app}, caller="app", pbx="pbx")
            await player.play(calls_per_second=40, seconds=0.5, drain_seconds=0.5)
            results = player.results()
            await player.stop()
            assert results.failures["IncomingCall: unreachable"] == results.lost > 0
            assert (results.doubled, results.commands_sent - results.commands_seen) == (0, 0)
            assert "IncomingCall" in results.examples[0]

    asyncio.run(work())


def test_a_command_that_the_pbx_has_read_and_could_not_do_has_arrived() -> None:
    async def work() -> None:
        clock = RealClock(20)
        async with SimulatedApp(clock=clock, quick=True) as app, SimulatedPbx(clock=clock, quick=True) as pbx:
            app.pbx_url = pbx.url
            player = Player({"pbx": pbx}, {"app": app}, caller="app", pbx="pbx")
            pbx.directory.forget(EXTENSION)
            await player.play(calls_per_second=100, seconds=0.5, drain_seconds=2.0)
            results = player.results()
            await player.stop()
            assert results.failures["Call: code 401"] > 0
            assert results.commands_sent == results.commands_seen > 0
            assert (results.lost, results.doubled) == (0, 0)

    asyncio.run(work())


async def exchange(port: int, *pieces: bytes) -> bytes:
    """Send pieces, and read until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()
        await writer.wait_closed()


def quickly(work: Callable[[SimulatedApp], Awaitable[None]]) -> None:
    async def run() -> None:
        async with SimulatedApp(quick=True) as app:
            await work(app)

    asyncio.run(run())


def test_the_quick_server_takes_requests_in_pieces_and_one_after_the_other() -> None:
    async def work(app: SimulatedApp) -> None:
        first = b"POST /a HTTP/1.1\r\nContent-Length: 23\r\n\r\nNotificationName=GoTo&x"
        second = b"GET /b?NotificationName=Error HTTP/1.1\r\nConnection: close\r\n\r\n"
        answer = await exchange(app.port, first[:30], first[30:] + second[:10], second[10:])
        assert answer.count(b"HTTP/1.1 200 OK\r\n") == 2
        assert answer.endswith(b"<Response></Response>")
        assert [(seen.name, seen.target) for seen in app.notifications_seen()] == [
            ("GoTo", "/a"),
            ("Error", "/b?NotificationName=Error"),
        ]
        assert (await exchange(app.port, b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200")

    quickly(work)


@pytest.mark.parametrize(
    "bad",
    [b"HELLO\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000],
    ids=["not http", "no length", "no end"],
)
def test_the_quick_server_closes_on_what_it_cannot_read(bad: bytes) -> None:
    async def work(app: SimulatedApp) -> None:
        assert (await exchange(app.port, bad)).startswith(b"HTTP/1.1 400")

    quickly(work)


def test_the_quick_server_can_be_down_and_up_again_on_its_port() -> None:
    async def work(app: SimulatedApp) -> None:
        port = app.port
        await app.refuse_connections()
        with pytest.raises(OSError, match="onnect"):
            await exchange(port, b"")
        await app.accept_connections()
        assert app.port == port
        assert await exchange(port, b"GET / HTTP/1.0\r\n\r\n")

    quickly(work)
