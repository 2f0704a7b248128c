"""Virtual time leaps from sleeper to sleeper, never while it is held, and nothing waits in real seconds."""

import asyncio
import time

import pytest

from interceptor.simulator import RealClock, VirtualClock


def test_sleepers_wake_in_the_order_of_their_instants() -> None:
    async def work() -> list[str]:
        clock = VirtualClock(start=0.0)
        woken: list[str] = []

        async def sleep(name: str, seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append(f"{name}@{clock.now():g}")

        tasks = [asyncio.ensure_future(sleep(name, seconds)) for name, seconds in (("c", 30), ("a", 1), ("b", 2))]
        await clock.advance(10)
        assert woken == ["a@1", "b@2"]
        assert clock.now() == 10
        await clock.drive(tasks[0], 5)
        return woken

    assert asyncio.run(work()) == ["a@1", "b@2", "c@30"]


def test_an_hour_takes_no_time() -> None:
    async def work() -> None:
        clock = VirtualClock()
        await clock.drive(asyncio.ensure_future(clock.sleep(3600)), 5)

    began = time.monotonic()
    asyncio.run(work())
    assert time.monotonic() - began < 2


def test_held_time_does_not_leap_until_it_is_let_go() -> None:
    async def work() -> None:
        clock = VirtualClock(start=0.0)
        sleeper = asyncio.ensure_future(clock.sleep(5))
        driver = asyncio.ensure_future(clock.drive(sleeper, 5))
        with clock.hold():
            for _ in range(200):
                await asyncio.sleep(0)
            assert not sleeper.done()
        await driver
        assert clock.now() == 5

    asyncio.run(work())


def test_a_cancelled_sleeper_is_not_leapt_to() -> None:
    async def work() -> None:
        clock = VirtualClock(start=0.0)
        long, short = asyncio.ensure_future(clock.sleep(100)), asyncio.ensure_future(clock.sleep(200))
        await asyncio.sleep(0)
        long.cancel()
        await clock.drive(short, 5)
        assert clock.now() == 200

    asyncio.run(work())


def test_what_never_comes_is_a_timeout() -> None:
    async def work() -> None:
        clock = VirtualClock()
        await clock.drive(asyncio.get_running_loop().create_future(), 0.05)

    with pytest.raises(TimeoutError):
        asyncio.run(work())


def test_a_speeded_up_clock_runs_that_much_faster() -> None:
    async def work() -> float:
        clock = RealClock(speed=1000.0)
        before = clock.now()
        await clock.sleep(20)
        return clock.now() - before

    assert 20 <= asyncio.run(work()) < 2000


def test_a_clock_that_stands_still_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        RealClock(speed=0)
