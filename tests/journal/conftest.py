import asyncio

import msgspec
import pytest

from interceptor.audit.record import Recorder
from interceptor.journal import Journal
from interceptor.settings import Durability, JournalSettings, Masking


class Book:
    """A journal folder under test: opens journals on it and reads what they wrote."""

    def __init__(self, directory):
        self.directory = directory
        self.recorder = Recorder("w1", Masking())
        self._made = 0
        self._open = []

    async def journal(
        self, worker="w1", watcher=None, retry_seconds=0.005, stall_seconds=5.0, gather_seconds=0.002, **settings
    ):
        settings.setdefault("durability", Durability.STRICT)
        journal = Journal(
            JournalSettings(self.directory, **settings),
            worker,
            asyncio.get_running_loop(),
            watcher,
            retry_seconds=retry_seconds,
            stall_seconds=stall_seconds,
            gather_seconds=gather_seconds,
        )
        await journal.open()
        self._open.append(journal)
        return journal

    async def close(self):
        for journal in self._open:
            await journal.close()

    def record(self, exchange=None):
        self._made += 1
        return self.recorder.settlement(exchange or f"e{self._made}", 1_700_000_000.25, outcome="answered")

    def files(self, worker="w1"):
        return sorted(self.directory.glob(f"{worker}-*.jsonl"), key=lambda path: int(path.stem.rpartition("-")[2]))

    def lines(self, worker="w1"):
        found = []
        for path in self.files(worker):
            data = path.read_bytes()
            assert data.endswith(b"\n") or not data, f"{path.name} ends in a torn line"
            found += [msgspec.json.decode(line) for line in data.splitlines()]
        return found

    def exchanges(self):
        return [line["exchange"] for line in self.lines() if "exchange" in line]

    def gaps(self):
        return [line for line in self.lines() if line["event"] == "audit.gap"]

    def assert_gap_free(self):
        numbers = [line["sequence"] for line in self.lines()]
        assert list(range(1, len(numbers) + 1)) == numbers


@pytest.fixture
def book(tmp_path):
    return Book(tmp_path / "journal")


async def kept(journal, record):
    """What `then` says of a record, waited for."""
    answer = asyncio.get_running_loop().create_future()
    journal.append(record, answer.set_result)
    async with asyncio.timeout(10):
        return await answer


async def until(condition):
    """Give way to the loop until something holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - files and counters ring no bell
            await asyncio.sleep(0.001)


@pytest.fixture
def keep():
    return kept


@pytest.fixture
def wait_until():
    return until


@pytest.fixture
def run(book):
    """Run a coroutine on a fresh loop, and close the journals it opened."""

    def runner(coroutine):
        async def whole():
            try:
                return await coroutine
            finally:
                await book.close()

        return asyncio.run(whole())

    return runner
