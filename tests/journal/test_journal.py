import asyncio
import errno
import os
import subprocess
import sys
import threading

import msgspec
import pytest
from msgspec import Struct

from interceptor.journal import JournalError, JournalInUseError
from interceptor.journal.blocks import take_blocks
from interceptor.settings import Durability


def test_a_record_is_in_the_file_before_its_waiter_hears_yes(book, run):
    async def story():
        journal = await book.journal()
        seen = asyncio.get_running_loop().create_future()
        journal.append(book.record("e1"), lambda safe: seen.set_result((safe, book.exchanges())))
        assert await seen == (True, ["e1"])

    run(story())


def test_sequence_numbers_begin_at_1_and_have_no_holes(book, run, keep):
    async def story():
        journal = await book.journal()
        for _ in range(5):
            journal.append(book.record())
            assert await keep(journal, book.record())

    run(story())
    book.assert_gap_free()
    assert len(book.lines()) == 10


def test_the_sequence_goes_on_after_a_restart_in_the_same_file(book, run, keep):
    async def life():
        journal = await book.journal()
        assert await keep(journal, book.record())
        await journal.close()

    run(life())
    run(life())
    book.assert_gap_free()
    assert len(book.files()) == 1
    assert [line["sequence"] for line in book.lines()] == [1, 2]


def test_a_strict_journal_has_its_blocks_before_its_bytes_and_gives_back_the_rest(book, run, keep):
    book.directory.mkdir()
    probe = book.directory / "probe"
    with probe.open("wb") as file:
        take_blocks(file.fileno(), 0, 1 << 20)
        if not os.fstat(file.fileno()).st_blocks:
            pytest.skip("this file system has no blocks ahead of a file's end")

    def blocks():
        return [path.stat().st_blocks * 512 - path.stat().st_size for path in book.files()]

    async def story():
        journal = await book.journal(file_bytes=1 << 20)
        assert await keep(journal, book.record())
        (ahead,) = blocks()
        assert ahead > 900_000
        while len(book.files()) == 1:
            for _ in range(200):
                journal.append(book.record())
            assert await keep(journal, book.record())
        first, second = blocks()
        assert first < 16_384  # what the file system rounds up by
        assert second > 500_000
        await journal.close()
        assert max(blocks()) < 16_384

    run(story())
    book.assert_gap_free()  # and no byte in the files that is not a record's


def test_records_of_one_turn_of_the_loop_share_one_write(book, run):
    async def story():
        journal = await book.journal()
        answers = []
        done = asyncio.Event()
        for _ in range(500):
            journal.append(book.record(), lambda safe: (answers.append(safe), len(answers) == 500 and done.set()))
        await done.wait()
        assert answers == [True] * 500
        assert journal.statistics.batches == 1

    run(story())


def test_turns_that_each_bring_more_share_one_write(book, run):
    async def story():
        journal = await book.journal(gather_seconds=60)
        done = asyncio.Event()
        for _ in range(3):
            journal.append(book.record(), lambda _: None)
        for _ in range(3):
            await asyncio.sleep(0)
            journal.append(book.record(), lambda _: None)
        await asyncio.sleep(0)
        journal.append(book.record(), lambda _: done.set())
        await done.wait()
        assert journal.statistics.batches == 1
        assert journal.statistics.records == 7

    run(story())


def test_a_loop_that_never_rests_does_not_put_off_a_write(book, run):
    async def story():
        journal = await book.journal()
        loop = asyncio.get_running_loop()
        heard = asyncio.Event()

        def more():
            journal.append(book.record(), hear)
            journal.append(book.record(), hear)
            if not heard.is_set():
                loop.call_soon(more)

        def hear(_):
            heard.set()

        more()
        async with asyncio.timeout(10):
            await heard.wait()

    run(story())
    book.assert_gap_free()


def test_a_busy_loop_lets_the_thread_in_within_a_tenth_of_a_millisecond(book, run):
    async def story():
        before = sys.getswitchinterval()
        sys.setswitchinterval(0.005)
        try:
            await book.journal()
            assert sys.getswitchinterval() == pytest.approx(0.0001)
        finally:
            sys.setswitchinterval(before)

    run(story())


def priority_of_the_thread():
    (thread,) = (each for each in threading.enumerate() if each.name.startswith("journal-"))
    return os.sched_getscheduler(thread.native_id) & ~os.SCHED_RESET_ON_FORK


@pytest.mark.parametrize("durability", [Durability.STRICT, Durability.RELAXED])
def test_where_commands_wait_for_it_the_thread_runs_ahead_of_others_if_the_system_permits_it(
    book, run, keep, durability
):
    asked = "try: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))\nexcept OSError: raise SystemExit(1)"
    permitted = subprocess.run([sys.executable, "-c", f"import os\n{asked}"], timeout=20, check=False).returncode == 0

    async def story():
        journal = await book.journal(durability=durability)
        assert await keep(journal, book.record())
        ahead = permitted and durability is Durability.STRICT
        assert priority_of_the_thread() == (os.SCHED_RR if ahead else os.SCHED_OTHER)

    run(story())


def test_where_it_may_not_run_ahead_it_runs_like_the_rest(book, run, keep, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "sched_setscheduler", refuse)

    async def story():
        journal = await book.journal()
        assert await keep(journal, book.record())
        assert priority_of_the_thread() == os.SCHED_OTHER

    run(story())


def test_what_comes_while_the_disk_is_busy_is_one_write(book, run):
    async def story():
        journal = await book.journal()
        done = asyncio.Event()
        left = [0]

        def one(safe):
            assert safe
            left[0] -= 1
            if not left[0]:
                done.set()

        # One at a time, each in a turn of its own: 200 syncs if every record had one.
        async def sender():
            for _ in range(10):
                left[0] += 1
                journal.append(book.record(), one)
                await asyncio.sleep(0)

        await asyncio.gather(*(sender() for _ in range(20)))
        await done.wait()
        assert journal.statistics.records == 200
        assert journal.statistics.batches <= 12

    run(story())


def test_waiters_hear_in_the_order_of_their_records(book, run, wait_until):
    async def story():
        journal = await book.journal()
        heard = []
        for number in range(100):
            journal.append(book.record(f"e{number}"), lambda _, number=number: heard.append(number))
        await wait_until(lambda: len(heard) == 100)
        assert heard == list(range(100))
        assert book.exchanges() == [f"e{number}" for number in range(100)]

    run(story())


def test_a_record_nobody_waits_for_starts_no_sync_but_is_written_soon(book, run, wait_until):
    async def story():
        journal = await book.journal(flush_seconds=0.01)
        journal.append(book.record("later"))
        assert book.exchanges() == []
        await wait_until(lambda: journal.statistics.batches == 1)
        assert book.exchanges() == ["later"]

    run(story())


def test_relaxed_says_yes_at_once_and_writes_soon(book, run, wait_until):
    async def story():
        journal = await book.journal(durability=Durability.RELAXED, flush_seconds=0.01)
        heard = []
        journal.append(book.record("e1"), heard.append)
        assert heard == [True]
        await wait_until(lambda: journal.statistics.batches == 1)
        assert book.exchanges() == ["e1"]

    run(story())


def test_relaxed_writes_a_thousand_records_without_waiting_for_the_clock(book, run, wait_until):
    async def story():
        journal = await book.journal(durability=Durability.RELAXED, flush_seconds=3600)
        for _ in range(1000):
            journal.append(book.record())
        await wait_until(lambda: journal.statistics.records == 1000)

    run(story())
    book.assert_gap_free()


@pytest.mark.parametrize("durability", list(Durability))
def test_closing_writes_what_is_left(book, run, durability):
    async def story():
        journal = await book.journal(durability=durability, flush_seconds=3600)
        for _ in range(4567):
            journal.append(book.record())
        await journal.close()
        assert journal.statistics.lost == 0

    run(story())
    book.assert_gap_free()
    assert len(book.lines()) == 4567


def test_closing_twice_is_closing_once(book, run):
    async def story():
        journal = await book.journal()
        await journal.close()
        await journal.close()

    run(story())


def test_what_comes_after_closing_is_refused(book, run):
    async def story():
        journal = await book.journal(durability=Durability.RELAXED)
        await journal.close()
        heard = []
        journal.append(book.record(), heard.append)
        assert heard == [False]
        assert not journal.healthy

    run(story())


def test_a_new_file_begins_when_the_old_one_is_full_and_is_named_for_its_first_record(book, run, keep):
    async def story():
        journal = await book.journal(file_bytes=500)
        for _ in range(12):
            assert await keep(journal, book.record())

    run(story())
    book.assert_gap_free()
    assert len(book.files()) == 3
    for path in book.files():
        assert path.stat().st_size <= 500
        first = msgspec.json.decode(path.read_bytes().splitlines()[0])["sequence"]
        assert int(path.stem.rpartition("-")[2]) == first


def test_a_batch_larger_than_a_file_is_still_written_whole(book, run, keep):
    async def story():
        journal = await book.journal(file_bytes=100)
        for _ in range(20):
            journal.append(book.record())
        assert await keep(journal, book.record())

    run(story())
    book.assert_gap_free()
    assert len(book.lines()) == 21


def test_no_file_is_deleted_unless_a_number_of_files_is_configured(book, run, keep):
    async def story():
        journal = await book.journal(file_bytes=100)
        for _ in range(8):
            assert await keep(journal, book.record())

    run(story())
    assert len(book.files()) == 8
    book.assert_gap_free()


def test_only_the_oldest_files_beyond_the_configured_number_are_deleted(book, run, keep):
    async def story():
        journal = await book.journal(file_bytes=100, files=3)
        other = await book.journal(worker="w1-other", file_bytes=100)
        for _ in range(8):
            assert await keep(journal, book.record())
            assert await keep(other, book.record())

    run(story())
    assert [line["sequence"] for line in book.lines()] != []
    chain = [path for path in book.files() if not path.name.startswith("w1-other")]
    assert [int(path.stem.rpartition("-")[2]) for path in chain] == [6, 7, 8]
    assert len(book.files("w1-other")) == 8


def test_each_worker_has_a_chain_of_its_own(book, run, keep):
    async def story():
        one, two = await book.journal("w1"), await book.journal("w2")
        assert await keep(one, book.record())
        assert await keep(two, book.record())

    run(story())
    assert [line["sequence"] for line in book.lines("w1")] == [1]
    assert [line["sequence"] for line in book.lines("w2")] == [1]


def test_a_second_process_on_the_same_chain_is_refused(book, run):
    async def story():
        first = await book.journal()
        with pytest.raises(JournalInUseError, match="another process writes the journal of `w1`"):
            await book.journal()
        await first.close()
        await book.journal()

    run(story())


def test_a_folder_that_cannot_be_made_is_said_in_one_sentence(book, run):
    async def story():
        book.directory.write_text("a file stands where the folder should be")
        with pytest.raises(JournalError, match="cannot open the journal in"):
            await book.journal()

    run(story())


@pytest.mark.parametrize("worker", ["", "../w", "a/b", "w 1"])
def test_a_worker_name_that_is_no_file_name_is_refused(book, run, worker):
    async def story():
        with pytest.raises(JournalError, match="cannot name a journal chain"):
            await book.journal(worker)

    run(story())


def test_a_callback_that_raises_costs_the_others_nothing(book, run, wait_until):
    async def story():
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context["message"]))
        faults, heard = [], []
        journal = await book.journal()
        journal.append(book.record(), lambda _: 1 / 0)
        journal.append(book.record(), heard.append)
        await wait_until(lambda: heard)
        assert heard == [True]
        assert faults == ["a journal callback failed"]

    run(story())


def test_a_stray_byte_in_a_message_does_not_cost_its_record(book, run, keep):
    async def story():
        journal = await book.journal()
        journal.append(book.record("before"))
        journal.append(book.record("stray \udcff byte"))
        assert await keep(journal, book.record("after"))

    run(story())
    assert book.exchanges() == ["before", "stray \\udcff byte", "after"]
    book.assert_gap_free()


class Unwritable(Struct):
    sequence: int
    what: object


def test_a_record_that_cannot_be_written_becomes_a_gap_record_and_the_others_stay(book, run, keep):
    async def story():
        journal = await book.journal()
        journal.append(book.record("before"))
        journal.append(Unwritable(0, object()))
        assert await keep(journal, book.record("after"))

    run(story())
    assert book.exchanges() == ["before", "after"]
    assert [(gap["sequence"], gap["reason"], gap["lost"]) for gap in book.gaps()] == [(2, "not_encodable", 1)]
    book.assert_gap_free()


def test_the_watcher_hears_of_records_bytes_and_time(book, run, keep):
    class Counts:
        def __init__(self):
            self.written = []

        def limit_hit(self, limit): ...

        def journal_written(self, records, size, seconds):
            self.written.append((records, size, seconds > 0))

    counts = Counts()

    async def story():
        journal = await book.journal(watcher=counts)
        assert await keep(journal, book.record())
        assert journal.sequence == 1

    run(story())
    assert counts.written == [(1, book.files()[0].stat().st_size, True)]


def test_a_system_that_cannot_write_and_sync_in_one_call_does_both(book, run, keep, monkeypatch):
    monkeypatch.setattr("interceptor.journal.chain._DSYNC", 0)

    async def story():
        journal = await book.journal()
        for _ in range(3):
            assert await keep(journal, book.record())

    run(story())
    book.assert_gap_free()
    assert len(book.lines()) == 3


def test_journal_files_are_not_for_everyone(book, run, keep):
    async def story():
        assert await keep(await book.journal(), book.record())

    run(story())
    assert not book.files()[0].stat().st_mode & 0o007
