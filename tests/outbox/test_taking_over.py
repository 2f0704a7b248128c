"""What workers that are no more have left: their heir takes it over, whenever it is killed meanwhile."""

import asyncio
import contextlib
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from interceptor.gateway.delivery import heirless_folders
from interceptor.outbox import Entry, Outbox, OutboxInUseError

START = 1_800_000_000.0


def entry(number: int) -> Entry:
    """The report with this number; its number says when it came."""
    return Entry(app="crm", url="http://x/", body=b"%d" % number, at=START + number, exchange=f"e{number}")


async def never(_entry: Entry) -> bool:
    return False


def box(folder: Path, app: str = "crm") -> Outbox:
    return Outbox(folder, app, 100_000, never, clock=lambda: START)


def leave(folder: Path, *numbers: int, app: str = "crm") -> None:
    """Let a worker keep these, and end."""

    async def story() -> None:
        left = box(folder, app)
        await left.open()
        await asyncio.gather(*(left.put(entry(number)) for number in numbers))
        await left.close()

    asyncio.run(story())


def delivered(folder: Path, *heirless: Path) -> list[int]:
    """What a worker delivers that opens this folder as their heir, in its order."""
    got: list[int] = []

    async def deliver(kept: Entry) -> bool:
        got.append(int(kept.body))
        return True

    async def story() -> None:
        heir = Outbox(folder, "crm", 10, deliver, clock=lambda: START)
        await heir.open(heirless)
        async with asyncio.timeout(20):
            while heir.depth:  # noqa: ASYNC110 - a counter rings no bell
                await asyncio.sleep(0.001)
        await heir.close()

    asyncio.run(story())
    return got


def test_what_was_left_is_delivered_in_one_order_and_once(tmp_path: Path) -> None:
    own, third, fifth = (tmp_path / name for name in ("w1", "w3", "w5"))
    leave(own, 2, 5)
    leave(third, 1, 4, 7)
    leave(fifth, 3, 6)
    assert delivered(own, third, fifth) == [1, 2, 3, 4, 5, 6, 7]
    assert delivered(own, third, fifth) == []
    assert delivered(third) == []


def test_more_than_the_limit_is_taken_over_because_it_was_promised(tmp_path: Path) -> None:
    leave(tmp_path / "w1", *range(50))
    assert delivered(tmp_path / "w0", tmp_path / "w1") == list(range(50))


def test_only_the_same_app_takes_it_over(tmp_path: Path) -> None:
    for app in ("crm", "crm.b", "crm%w3", ""):
        leave(tmp_path / "w3", 1, app=app)
        leave(tmp_path / "w1", 2, app=app)
    assert delivered(tmp_path / "w1", tmp_path / "w3") == [1, 2]

    async def story() -> None:
        for app in ("crm.b", "crm%w3", ""):
            heir = box(tmp_path / "w1", app)
            await heir.open([tmp_path / "w3"])
            assert heir.depth == 2
            await heir.close()

    asyncio.run(story())


def test_an_heir_that_is_no_more_has_an_heir(tmp_path: Path) -> None:
    leave(tmp_path / "w1", 2)
    leave(tmp_path / "w3", 1)
    left = tmp_path / "w1" / "crm%w3.taken"  # as by a crash right after it was moved
    (tmp_path / "w3" / "crm.outbox").rename(left)
    leave(tmp_path / "w3", 3)  # for a while there were four workers again
    (tmp_path / "w0").mkdir()
    (tmp_path / "w0" / "crm%w3.taken").write_bytes(b"")
    assert delivered(tmp_path / "w0", tmp_path / "w1", tmp_path / "w3") == [1, 2, 3]


def test_what_a_living_process_holds_is_left_alone(tmp_path: Path) -> None:
    async def story() -> None:
        living, heir = box(tmp_path / "w1"), box(tmp_path / "w0")
        await living.open()
        with pytest.raises(OutboxInUseError, match="w1/crm"):
            await heir.open([tmp_path / "w1"])
        await living.close()
        await heir.open([tmp_path / "w1"])
        await heir.close()

    asyncio.run(story())


def test_each_worker_that_is_no_more_has_one_heir(tmp_path: Path) -> None:
    for name in ("w0", "w1", "w2", "w3", "w10", "wx", "journal"):
        (tmp_path / name).mkdir()
    heirs = [[folder.name for folder in heirless_folders(tmp_path, index, 2)] for index in range(2)]
    assert heirs == [["w10", "w2"], ["w3"]]
    assert heirless_folders(tmp_path / "nowhere", 0, 2) == []


# Ends itself as `kill -9` does, right before the call to the system with that number: each step of taking over is one.
KILLED_AT = textwrap.dedent(
    """
    import asyncio, os, signal, sys
    from pathlib import Path
    from interceptor.outbox import Outbox

    folder, step = Path(sys.argv[1]), int(sys.argv[2])
    STEPS = ("open", "os.rename", "os.remove", "os.truncate", "os.mkdir")
    seen = 0

    def watch(event, args):
        global seen
        if event in STEPS and args and str(folder) in os.fsdecode(args[0] if not isinstance(args[0], int) else b""):
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    async def never(entry):
        return False

    async def main():
        heir = Outbox(folder / "w1", "crm", 10, never)
        sys.addaudithook(watch)
        await heir.open([folder / "w3", folder / "w5"])
        os._exit(0)

    asyncio.run(main())
    """
)


def test_an_heir_that_is_killed_at_any_step_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    killed = 0
    for step in range(1, 100):
        site = tmp_path / f"site{step}"
        leave(site / "w1", 2, 5)
        leave(site / "w3", 1, 4)
        leave(site / "w5", 3)
        ended = subprocess.run([sys.executable, "-c", KILLED_AT, site, str(step)], check=False, timeout=60)
        assert delivered(site / "w1", site / "w3", site / "w5") == [1, 2, 3, 4, 5], step
        if ended.returncode != -signal.SIGKILL:
            assert ended.returncode == 0
            break
        killed += 1
    assert killed >= 8, "the steps are seen"


def test_an_heir_that_is_killed_at_any_moment_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    numbers = list(range(3000))
    leave(tmp_path / "w1", *numbers[::3])
    leave(tmp_path / "w3", *numbers[1::3])
    leave(tmp_path / "w5", *numbers[2::3])
    for delay in range(8):  # in the middle of reading, moving or writing, as it comes
        with subprocess.Popen(
            [sys.executable, "-c", KILLED_AT.replace("sys.addaudithook(watch)", "os.write(1, b'+')"), tmp_path, "0"],
            stdout=subprocess.PIPE,
        ) as child:
            assert child.stdout is not None
            assert child.stdout.read(1) == b"+"
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.004 * delay)
            child.kill()
    assert delivered(tmp_path / "w1", tmp_path / "w3", tmp_path / "w5") == numbers
    left = [path.name for path in tmp_path.rglob("*") if re.search("taken|fresh", path.name)]
    assert left == []
