"""Commands that dial, sent twice: where an app wants it, the second gets the first answer."""

import asyncio
from collections.abc import Callable
from ipaddress import ip_network

from interceptor.gateway.firsts import KEY_BYTES, ROOM, TABLE_BYTES, Firsts, Found, Stage
from interceptor.gateway.repeats import Repeats
from interceptor.settings import App
from tests.gateway.harness import OK_XML, Backend, Gate, Loop, Proxy, Script, answering, free_port, gated, hanging
from tests.gateway.misbehaving import counted, side_by_side

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

CALL = "/?Command=Call&Caller=2301&Dialed=%2B36201234567&Tag=a"


def start(proxy: Start, port: int, within: float | None = 60.0) -> Proxy:
    app = App("crm", (ip_network("127.0.0.0/8"),), repeats_within=within)
    return proxy(port, apps={"crm": app})


def test_the_same_call_again_gets_the_first_answer_and_dials_nothing(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    running = start(proxy, pbx.port)
    first, second = running.get(CALL), running.get(CALL)
    assert (first.body, second.body) == (OK_XML, OK_XML)
    assert len(pbx.requests) == 1
    told = {each.outcome: each for each in running.settled(2)}
    assert set(told) == {"answered", "repeated"}
    assert (told["repeated"].repeats, told["repeated"].code) == (told["answered"].exchange, 200)
    assert counted(running, "interceptor_commands_repeated_total", app="crm") == 1


def test_the_same_call_while_the_first_is_under_way_waits_for_its_answer(
    proxy: Start, backend: StartBackend, loop: Loop
) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    running = start(proxy, pbx.port)

    def open_later() -> None:
        pbx.wait_for(1)
        running.records.wait_for("DecisionRecord", 3)
        gate.open()

    answers = side_by_side(
        [lambda: running.get(CALL), lambda: running.get(CALL), lambda: running.get(CALL), open_later]
    )
    assert [each.body for each in answers[:3]] == [OK_XML] * 3
    assert len(pbx.requests) == 1
    assert sorted(each.outcome for each in running.settled(3)) == ["answered", "repeated", "repeated"]


def test_another_number_or_parameter_or_command_is_no_repetition(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    running = start(proxy, pbx.port)
    for target in (
        CALL,
        CALL + "b",
        CALL.replace("567", "568"),
        "/?Command=ListExtensions",
        "/?Command=ListExtensions",
    ):
        running.get(target)
    assert len(pbx.requests) == 5


def test_after_its_time_and_without_it_a_call_is_a_call(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    for within in (1e-9, None):
        running = start(proxy, pbx.port, within)
        running.get(CALL)
        running.get(CALL)
        running.stop()
    assert len(pbx.requests) == 4


def test_a_call_that_was_never_sent_may_be_sent_again(proxy: Start) -> None:
    running = start(proxy, free_port())
    assert [running.get(CALL).code for _ in range(2)] == [901, 901]
    assert [each.outcome for each in running.settled(2)] == ["failed", "failed"]


def test_an_answer_that_is_too_long_to_be_kept_is_given_again_by_its_code(proxy: Start, backend: StartBackend) -> None:
    long = OK_XML.replace(b"Command", b"Command " + b"x" * ROOM)
    pbx = backend(answering(long))
    running = start(proxy, pbx.port)
    first, second = running.get(CALL), running.get(CALL)
    assert first.body == long
    assert second.code == 200
    assert b"too long to be kept" in second.body
    assert len(pbx.requests) == 1


def test_what_was_answered_too_late_is_not_dialled_again(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(hanging)
    running = start(proxy, pbx.port)
    assert [running.get(CALL).code for _ in range(2)] == [904, 904]
    assert len(pbx.requests) == 1
    assert sorted(each.outcome for each in running.settled(2)) == ["failed", "repeated"]


def test_whoever_comes_meanwhile_puts_the_look_at_another_workers_answer_off_for_nobody() -> None:
    memory, key = bytearray(TABLE_BYTES), bytes(range(KEY_BYTES))
    firsts, other = Firsts(memory), Firsts(memory, worker=1)
    apps = {"crm": App("crm", repeats_within=60.0)}

    async def story() -> list[bytes | None]:
        repeats = Repeats(apps, firsts, asyncio.get_running_loop(), longest=60.0, secret=b"")
        told: list[bytes | None] = []
        assert other.claim(key, "x-w1-1", 0.0, until=1e12, at_last=1e12) is None
        first = repeats.claim(key, "crm", "x-w0-1")
        assert first is not None

        def tell(found: Found | None) -> None:
            told.append(found and found.answer)

        repeats.wait(key, first, 0.001, tell)  # has no time to wait
        async with asyncio.timeout(20):
            for _ in range(200):
                repeats.wait(key, first, 20.0, tell)
                await asyncio.sleep(0.001)
            other.answered(key, "x-w1-1", b"<yes/>")
            while len(told) < 201:  # whoever comes keeps coming
                repeats.wait(key, first, 20.0, tell)
                await asyncio.sleep(0.001)
        repeats.close()
        return told

    told = asyncio.run(story())
    assert told[0] is None
    assert set(told[1:201]) == {b"<yes/>"}


def test_who_still_waits_at_the_end_is_told_that_nobody_knows() -> None:
    firsts, key = Firsts(bytearray(TABLE_BYTES)), bytes(range(KEY_BYTES))

    async def story() -> list[Found | None]:
        repeats = Repeats({}, firsts, asyncio.get_running_loop(), longest=60.0, secret=b"")
        firsts.claim(key, "x-w1-1", 0.0, until=1e12, at_last=1e12)
        told: list[Found | None] = []
        repeats.wait(key, Found(Stage.UNDER_WAY, "x-w1-1"), 20.0, told.append)
        repeats.close()
        return told

    assert asyncio.run(story()) == [None]
