"""Two workers with an outbox each for one app: reports leave as if there were one."""

import asyncio
from collections.abc import Awaitable, Callable
from mmap import mmap
from pathlib import Path

from interceptor.outbox import AddressTurns, Entry, Outbox, Turn, first_table

START = 1_800_000_000.0


def shared(apps: int, workers: int) -> mmap:
    """What the workers share once all have read their files, and none had anything."""
    return mmap(-1, len(first_table(apps, workers)))


def turns(workers: int = 2) -> list[Turn]:
    memory = shared(2, workers)
    return [Turn(memory, app=1, worker=number, workers=workers) for number in range(workers)]


class Site:
    """Outboxes of several workers, an app that can be away, and one clock."""

    def __init__(self, folder: Path, rows: list[Turn] | None = None) -> None:
        self.up = False
        self.got: list[str] = []
        self.now = START
        self.boxes = [
            Outbox(
                folder / f"w{number}", "crm", 100, self._deliver, turn=turn, clock=self._clock,
                first_pause=3600.0, longest_pause=3600.0,
            )
            for number, turn in enumerate(rows or turns())
        ]  # fmt: skip

    def _clock(self) -> float:
        self.now += 0.001
        return self.now

    async def _deliver(self, entry: Entry) -> bool:
        if self.up:
            self.got.append(entry.body.decode())
        return self.up

    async def put(self, worker: int, text: str) -> None:
        assert await self.boxes[worker].put(Entry(app="crm", url="http://x/", body=text.encode(), exchange=""))

    async def empty(self, *workers: int) -> None:
        boxes = [self.boxes[worker] for worker in workers or range(len(self.boxes))]
        while any(box.depth for box in boxes):  # noqa: ASYNC110 - a counter rings no bell
            await asyncio.sleep(0.001)


def played(site: Site, story: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(20):
            for box in site.boxes:
                await box.open()
            try:
                await story()
            finally:
                for box in site.boxes:
                    await box.close()

    asyncio.run(whole())


def test_what_was_kept_first_leaves_first_whoever_has_it(tmp_path: Path) -> None:
    site = Site(tmp_path)
    texts = [f"{number}" for number in range(30)]

    async def story() -> None:
        for number, text in enumerate(texts):
            await site.put((number // 3) % 2, text)
        site.up = True
        site.boxes[1].wake()  # the app has answered something there, and the other sits in its pause
        await site.empty()

    played(site, story)
    assert site.got == texts


def test_what_waits_at_one_worker_holds_back_the_other(tmp_path: Path) -> None:
    site = Site(tmp_path)

    async def story() -> None:
        assert [box.waiting for box in site.boxes] == [False, False]
        await site.put(0, "first")
        assert [box.waiting for box in site.boxes] == [True, True]
        site.up = True
        site.boxes[1].wake()
        await site.empty()
        assert [box.waiting for box in site.boxes] == [False, False]

    played(site, story)


def test_a_worker_that_is_gone_is_not_overtaken_and_one_that_has_ended_holds_nobody_back(tmp_path: Path) -> None:
    killed, other = turns()
    killed.stands(START)
    site = Site(tmp_path)
    assert (other.others, killed.others) == (START, 0.0)
    other.stands(START + 1)
    assert (other.others, killed.others) == (START, START + 1)

    async def story() -> None:
        await site.put(0, "left for the next process")
        await site.boxes[0].close()
        site.up = True
        await site.put(1, "goes")
        await site.empty(1)

    played(site, story)
    assert site.got == ["goes"]


def test_rows_of_apps_and_workers_are_their_own() -> None:
    memory = shared(2, 3)
    rows = [[Turn(memory, app=app, worker=worker, workers=3) for worker in range(3)] for app in range(2)]
    for app in range(2):
        for worker in range(3):
            rows[app][worker].stands(100.0 * (app + 1) + worker)
            rows[app][worker].wake()
    assert [[turn.others for turn in each] for each in rows] == [[101.0, 100.0, 100.0], [201.0, 200.0, 200.0]]
    assert [turn.wakes for each in rows for turn in each] == [3.0] * 6


def test_nobody_delivers_before_all_have_read_what_was_left(tmp_path: Path) -> None:
    left = Site(tmp_path)

    async def kept() -> None:
        await left.put(1, "older")

    played(left, kept)
    memory = shared(2, 2)
    memory[:] = first_table(2, 2)
    site = Site(tmp_path, [Turn(memory, app=1, worker=number, workers=2) for number in range(2)])
    site.now, site.up = START + 10, True
    first, last = site.boxes

    async def story() -> None:
        async with asyncio.timeout(20):
            await first.open()
            assert first.waiting  # for what the other may have
            await site.put(0, "newer")
            await last.open()
            await site.empty()
            await first.close()
            await last.close()

    asyncio.run(story())
    assert site.got == ["older", "newer"]


def places(workers: int, addresses: int = 2) -> list[AddressTurns]:
    """What workers have that share places for so many addresses; none of them has read its files."""
    memory = mmap(-1, len(first_table(3, workers, addresses)))
    memory[:] = first_table(3, workers, addresses)
    return [
        AddressTurns(memory, apps=3, addresses=addresses, worker=number, workers=workers) for number in range(workers)
    ]


def test_each_address_has_its_own_turns() -> None:
    workers = places(3)
    assert workers[0].elsewhere("http://a") > 0  # nobody knows yet
    for each in workers:
        each.all_read()
    assert workers[0].elsewhere("http://a") == 0.0
    first, second, other = workers[0].turn("http://a"), workers[1].turn("http://a"), workers[1].turn("http://b")
    assert first is not None
    assert second is not None
    assert other is not None
    second.stands(START)
    other.stands(START - 5)
    assert (first.others, second.others, other.others) == (START, 0.0, 0.0)
    assert [each.elsewhere("http://a") for each in workers] == [START, 0.0, START]
    assert [each.elsewhere("http://b") for each in workers] == [START - 5, 0.0, START - 5]
    second.wake()
    other.wake()
    first.wake()
    assert (first.wakes, second.wakes, other.wakes) == (2.0, 2.0, 1.0)


def test_places_are_let_go_and_those_of_a_process_before_are_kept_until_all_is_read() -> None:
    worker, other = places(2)
    other.all_read()
    for address in ("http://a", "http://b"):
        turn = worker.turn(address)
        assert turn is not None
        turn.stands(START)
    worker.all_read()
    assert worker.turn("http://c") is None  # both places are taken
    again = AddressTurns(other._memory, apps=3, addresses=2, worker=0, workers=2)
    assert again.turn("http://a") is not None
    assert (other.elsewhere("http://a"), other.elsewhere("http://b")) == (START, START)
    again.all_read()
    assert (other.elsewhere("http://a"), other.elsewhere("http://b")) == (START, 0.0)
    again.let_go("http://a")
    again.let_go("http://never")
    assert other.elsewhere("http://a") == 0.0
    assert [again.turn(address) is None for address in ("http://c", "http://d", "http://e")] == [False, False, True]
