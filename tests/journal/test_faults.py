"""What happens when the disk, the folder or the process fails. The faults are real where a test can make them."""

import asyncio
import contextlib
import errno
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import textwrap
import threading

import msgspec
import pytest

from interceptor.journal import JournalInUseError
from interceptor.settings import Durability

STALL_SECONDS = 0.3  # longer than a disk takes that others use as well


class Failures:
    def __init__(self):
        self.reasons, self.lost, self.limits = [], 0, []

    def limit_hit(self, limit):
        self.limits.append(limit)

    def journal_written(self, records, size, seconds): ...

    def journal_failed(self, reason):
        self.reasons.append(reason)

    def journal_lost(self, records):
        self.lost += records


@contextlib.contextmanager
def files_no_longer_than(size):
    """The system refuses to let any file of this process grow beyond `size`: what a full disk looks like to us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_takes_no_more_is_told_to_the_waiter_and_makes_the_journal_unhealthy(book, run, keep):
    failures = Failures()

    async def story():
        journal = await book.journal(watcher=failures, retry_seconds=3600)
        assert await keep(journal, book.record("kept"))
        assert journal.healthy
        with files_no_longer_than(book.files()[0].stat().st_size + 10):
            assert not await keep(journal, book.record("late 1"))
            assert not journal.healthy
            assert journal.outage == "File too large"
            # From here on nobody waits: the answer comes from inside the call.
            heard = []
            journal.append(book.record("late 2"), heard.append)
            assert heard == [False]
        assert journal.statistics.failures == 1
        assert book.exchanges() == ["kept"], "a failed write leaves nothing behind"

    run(story())
    assert failures.reasons == ["efbig"]


def test_when_the_disk_is_back_the_journal_heals_itself_and_a_gap_record_tells_of_it(book, run, keep, wait_until):
    async def story():
        journal = await book.journal()
        assert await keep(journal, book.record("before"))
        with files_no_longer_than(book.files()[0].stat().st_size + 10):
            assert not await keep(journal, book.record("meanwhile 1"))
            journal.append(book.record("meanwhile 2"))
        await wait_until(lambda: journal.healthy)
        assert await keep(journal, book.record("after"))
        assert journal.outage == ""

    run(story())
    book.assert_gap_free()
    assert book.exchanges() == ["before", "meanwhile 1", "meanwhile 2", "after"]
    (gap,) = book.gaps()
    assert gap["sequence"] == 2, "the gap record stands before what was held up"
    assert (gap["reason"], gap["detail"], gap["worker"]) == ("not_written", "File too large", "w1")
    assert gap["since"] <= gap["at"]
    assert "lost" not in gap


def test_the_file_that_failed_is_cut_back_and_a_new_one_begun(book, run, keep, wait_until):
    async def story():
        journal = await book.journal()
        assert await keep(journal, book.record("before"))
        size = book.files()[0].stat().st_size
        with files_no_longer_than(size + 10):
            assert not await keep(journal, book.record())
        await wait_until(lambda: journal.healthy)
        assert book.files()[0].stat().st_size == size
        assert len(book.files()) == 2

    run(story())
    book.assert_gap_free()


def test_records_beyond_the_bound_are_lost_told_and_counted_in_the_gap_record(book, run, keep, wait_until):
    failures = Failures()

    async def story():
        journal = await book.journal(watcher=failures, pending=10)
        assert await keep(journal, book.record())
        heard = []
        with files_no_longer_than(10):
            assert not await keep(journal, book.record())
            for _ in range(24):
                journal.append(book.record(), heard.append)
        assert heard == [False] * 24
        await wait_until(lambda: journal.healthy)
        assert await keep(journal, book.record("after"))
        assert journal.statistics.lost == 15

    run(story())
    book.assert_gap_free()
    assert [gap["lost"] for gap in book.gaps()] == [15]
    assert failures.lost == 15
    assert failures.limits == ["pending"] * 15
    assert book.exchanges()[-1] == "after"


def test_too_many_records_at_once_are_refused_before_memory_is_and_a_gap_record_follows(book, run, wait_until):
    async def story():
        journal = await book.journal(pending=50)
        heard = []
        for _ in range(80):
            journal.append(book.record(), heard.append)
        assert heard == [False] * 30
        await wait_until(lambda: len(heard) == 80)
        assert heard[30:] == [True] * 50
        assert journal.healthy

    run(story())
    book.assert_gap_free()
    assert [(gap["lost"], gap["detail"]) for gap in book.gaps()] == [(30, "too many records waiting")]


def test_relaxed_says_yes_while_the_disk_is_away_and_loses_nothing_that_fits(book, run, wait_until):
    async def story():
        journal = await book.journal(durability=Durability.RELAXED, flush_seconds=0.001)
        journal.append(book.record("first"))
        await wait_until(lambda: journal.statistics.batches == 1)
        with files_no_longer_than(10):
            heard = []
            journal.append(book.record("second"), heard.append)
            assert heard == [True]
            await wait_until(lambda: not journal.healthy)
            journal.append(book.record("third"), heard.append)
            assert heard == [True, True]
        await wait_until(lambda: journal.healthy)

    run(story())
    book.assert_gap_free()
    assert book.exchanges() == ["first", "second", "third"]
    assert len(book.gaps()) == 1


@pytest.fixture
def syncs(monkeypatch):
    """How long the file is at each sync of one; the one with the number ``fails`` fails."""

    class Syncs(list):
        fails = 0

    seen, sync = Syncs(), os.fdatasync

    def watched(file):
        seen.append(os.fstat(file).st_size)
        if len(seen) == seen.fails:
            raise OSError(errno.EIO, "Input/output error")
        sync(file)

    monkeypatch.setattr(os, "fdatasync", watched)
    return seen


async def write_much(journal, book, wait_until, size):
    """Some large records after another, until the file is about that long."""
    for _ in range(size // 1_000_000):
        for _ in range(10):
            journal.append(book.record("e" * 100_000))
        await wait_until(lambda: journal.statistics.pending == 0)


def test_relaxed_syncs_as_it_goes_so_that_the_end_of_a_file_holds_nobody_up(book, run, wait_until, syncs):
    async def story():
        journal = await book.journal(durability=Durability.RELAXED, flush_seconds=0.001)
        await write_much(journal, book, wait_until, 30_000_000)

    run(story())
    book.assert_gap_free()
    (file,) = book.files()
    steps = [end - begin for begin, end in zip([0, *syncs], [*syncs, file.stat().st_size], strict=True)]
    assert len(syncs) >= 3
    assert max(steps) <= 10_000_000


def test_a_sync_on_the_way_that_fails_loses_no_record(book, run, wait_until, syncs):
    failures = Failures()

    async def story():
        journal = await book.journal(durability=Durability.RELAXED, flush_seconds=0.001, watcher=failures)
        syncs.fails = 1
        await write_much(journal, book, wait_until, 12_000_000)
        assert journal.healthy

    run(story())
    book.assert_gap_free()
    assert failures.reasons == ["eio"]
    assert (len(book.exchanges()), len(book.files())) == (120, 2)
    assert [(gap.get("lost", 0), gap["detail"]) for gap in book.gaps()] == [(0, "Input/output error")]


def test_a_deleted_folder_is_noticed_and_made_again(book, run, keep, wait_until):
    failures = Failures()

    async def story():
        journal = await book.journal(watcher=failures)
        assert await keep(journal, book.record("gone with the folder"))
        shutil.rmtree(book.directory)
        assert not await keep(journal, book.record("held up"))
        await wait_until(lambda: journal.healthy)
        assert await keep(journal, book.record("after"))

    run(story())
    assert failures.reasons[0] == "enoent"
    assert book.exchanges() == ["held up", "after"]
    assert [line["sequence"] for line in book.lines()] == [2, 3, 4], "the numbers go on"


def test_after_the_folder_was_made_again_a_second_process_is_still_refused(book, run, keep, wait_until):
    async def story():
        journal = await book.journal()
        shutil.rmtree(book.directory)
        assert not await keep(journal, book.record())
        await wait_until(lambda: journal.healthy)
        with pytest.raises(Exception, match="another process"):
            await book.journal()

    run(story())


def test_a_disk_that_hangs_is_not_waited_for(book, run, keep, wait_until, monkeypatch):
    async def story():
        journal = await book.journal(stall_seconds=STALL_SECONDS)
        assert await keep(journal, book.record("before"))
        goes_on = threading.Event()
        write = journal._chain.write
        monkeypatch.setattr(journal._chain, "write", lambda *a, **k: (goes_on.wait(10), write(*a, **k)))
        assert not await keep(journal, book.record("hangs"))
        assert not journal.healthy
        assert journal.outage == "the disk does not answer"
        heard = []
        journal.append(book.record("behind it"), heard.append)
        assert heard == [False]
        goes_on.set()
        await wait_until(lambda: journal.healthy and journal.statistics.pending == 0)

    run(story())
    book.assert_gap_free()
    assert book.exchanges() == ["before", "hangs", "behind it"]


def test_after_a_hanging_write_the_journal_goes_on_although_nothing_came_meanwhile(
    book, run, keep, wait_until, monkeypatch
):
    async def story():
        journal = await book.journal(stall_seconds=STALL_SECONDS)
        goes_on = threading.Event()
        write = journal._chain.write
        monkeypatch.setattr(journal._chain, "write", lambda *a, **k: (goes_on.wait(10), write(*a, **k)))
        assert not await keep(journal, book.record("hangs"))
        goes_on.set()
        await wait_until(lambda: journal.healthy)
        assert await keep(journal, book.record("after"))

    run(story())
    book.assert_gap_free()
    assert book.exchanges() == ["hangs", "after"]
    assert [gap["detail"] for gap in book.gaps()] == ["the disk does not answer"]


def test_closing_while_the_disk_is_full_counts_what_is_lost(book, run, keep):
    failures = Failures()

    async def story():
        journal = await book.journal(watcher=failures, retry_seconds=3600)
        assert await keep(journal, book.record())
        with files_no_longer_than(10):
            assert not await keep(journal, book.record())
            journal.append(book.record())
            await journal.close()

    run(story())
    assert failures.lost == 2


def test_what_a_full_disk_kept_out_to_the_end_is_told_by_the_next_start(book, run, keep, caplog):
    async def story():
        journal = await book.journal(retry_seconds=3600)
        assert await keep(journal, book.record("kept"))
        with files_no_longer_than(max(book.files()[0].stat().st_size, 1024) + 10):
            for _ in range(5):
                journal.append(book.record("l" * 1000))
            assert not await keep(journal, book.record())
            await journal.close()
        for _ in range(2):
            await (await book.journal()).close()

    run(story())
    assert [(gap["reason"], gap["lost"], gap["detail"]) for gap in book.gaps()] == [
        ("not_written", 6, "File too large")
    ]
    book.assert_gap_free()
    assert "the journal of w1 cannot write: File too large" in caplog.text
    assert "the journal of w1 ends without 6 records: File too large" in caplog.text


def test_what_was_lost_is_told_once_however_many_starts_find_the_disk_full(book, run, keep):
    async def story():
        journal = await book.journal(retry_seconds=3600)
        assert await keep(journal, book.record("k" * 2000))
        for lost in (2, 0, 3):
            with files_no_longer_than(book.files()[0].stat().st_size + 10):
                if lost != 2:
                    journal = await book.journal(retry_seconds=3600)
                for _ in range(lost):
                    journal.append(book.record("l" * 2000))
                await journal.close()
        await (await book.journal()).close()
        await (await book.journal()).close()

    run(story())
    assert sum(gap.get("lost", 0) for gap in book.gaps()) == 5
    book.assert_gap_free()


def test_a_full_disk_keeps_no_journal_from_opening(book, run, keep):
    async def story():
        await (await book.journal()).close()
        (book.directory / "w1.lock").write_bytes(b"")  # as a version before left it
        with files_no_longer_than(0):
            journal = await book.journal(retry_seconds=3600)
            assert not await keep(journal, book.record())
            await journal.close()

    run(story())


def test_a_disk_that_hangs_does_not_hold_up_the_end(book, run, keep, monkeypatch):
    monkeypatch.setattr("interceptor.journal.journal.CLOSE_SECONDS", 0.1)
    goes_on, held_up = threading.Event(), []

    def hanging(do):
        def wait(*arguments):
            held_up.append(threading.current_thread().name)
            goes_on.wait(10)
            return do(*arguments)

        return wait

    async def story():
        journal = await book.journal(stall_seconds=STALL_SECONDS)
        for name in ("fsync", "fdatasync", "pwrite", "pwritev"):
            monkeypatch.setattr(os, name, hanging(getattr(os, name)))
        journal.append(book.record(), lambda _safe: None)
        await journal.close()
        assert not goes_on.is_set()
        goes_on.set()

    run(story())
    assert held_up[:1] == ["journal-w1"]
    assert threading.main_thread().name not in held_up


def test_a_folder_that_was_moved_away_is_made_again_when_the_file_is_full(book, run, keep, wait_until):
    elsewhere = book.directory.with_name("elsewhere")

    async def story():
        journal = await book.journal(file_bytes=65536)
        assert await keep(journal, book.record("e" * 60_000))
        book.directory.rename(elsewhere)
        assert not await keep(journal, book.record("f" * 60_000))
        await wait_until(lambda: journal.healthy)
        assert await keep(journal, book.record("after"))
        with pytest.raises(JournalInUseError):
            await book.journal()

    run(story())
    assert [each[0] for each in book.exchanges()] == ["f", "a"]
    assert [each["sequence"] for each in book.lines()] == [2, 3, 4]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_really_full_file_system_heals_when_there_is_room_again(book, run, keep, wait_until):
    book.directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "interceptor-test", book.directory], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this machine does not let us mount")
    filler = book.directory / "filler"

    async def story():
        journal = await book.journal()
        assert await keep(journal, book.record("before"))
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        # The rest of the last page is still free: fill it, too.
        while await keep(journal, book.record()):
            pass
        assert journal.outage == "No space left on device"
        filler.unlink()
        await wait_until(lambda: journal.healthy)
        assert await keep(journal, book.record("after"))

    try:
        run(story())
        book.assert_gap_free()
        assert book.exchanges()[0] == "before"
        assert book.exchanges()[-1] == "after"
        assert len(book.gaps()) == 1
    finally:
        subprocess.run(["umount", "-l", book.directory], check=False)


# A crash.

CHILD = textwrap.dedent(
    """
    import asyncio, os, sys
    from pathlib import Path
    from interceptor.audit.record import Recorder
    from interceptor.journal import Journal
    from interceptor.settings import JournalSettings, Masking

    async def main():
        recorder = Recorder("w1", Masking())
        journal = Journal(JournalSettings(Path(sys.argv[1]), file_bytes=20_000), "w1", asyncio.get_running_loop())
        await journal.open()
        made = 0
        def more():
            nonlocal made
            made += 1
            record = recorder.settlement(f"e{made}", 1e9, outcome="answered")
            def then(safe):
                assert safe
                os.write(1, b"%d\\n" % record.sequence)
                more()
            journal.append(record, then)
        for _ in range(20):
            more()
        await asyncio.Event().wait()

    asyncio.run(main())
    """
)


def test_after_kill_9_every_record_that_was_called_safe_is_in_the_files(book):
    told = 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", CHILD, book.directory], stdout=subprocess.PIPE) as child:
            output = bytearray()
            wanted = 300
            while output.count(b"\n") < wanted:
                ready, _, _ = select.select([child.stdout], [], [], 20)
                assert ready, "the child says nothing"
                output += os.read(child.stdout.fileno(), 65536)
            child.send_signal(signal.SIGKILL)
            output += child.stdout.read()
        whole = output[: output.rfind(b"\n") + 1]
        told = max(int(line) for line in whole.split())
        numbers = [number for path in book.files() for number in _numbers(path)]
        assert set(range(1, told + 1)) <= set(numbers)
        assert numbers == list(range(1, len(numbers) + 1))
    assert told > 600


def _numbers(path):
    lines = path.read_bytes().splitlines(keepends=True)
    return [msgspec.json.decode(line)["sequence"] for line in lines if line.endswith(b"\n")]


def _open_and_write(book, run, keep):
    async def story():
        journal = await book.journal()
        assert await keep(journal, book.record("after"))

    run(story())


@pytest.mark.parametrize(
    "rubbish",
    [b'{"event":"settlement","sequ', b"\x00" * 5000, b"\xff\n\xfe\n", b'{"no":"sequence"}\n', b"[]\n{}\n\n\n", b"{"],
    ids=["half a line", "zeros", "not UTF-8", "no number", "not a record", "one byte"],
)
def test_what_a_crash_left_behind_the_last_record_is_kept_aside_and_told_in_a_gap_record(book, run, keep, rubbish):
    _open_and_write(book, run, keep)
    (path,) = book.files()
    whole = path.read_bytes()
    path.write_bytes(whole + rubbish)

    _open_and_write(book, run, keep)

    assert path.read_bytes().startswith(whole)
    assert path.with_name(path.name + ".torn").read_bytes() == rubbish
    book.assert_gap_free()
    assert [(gap["sequence"], gap["reason"]) for gap in book.gaps()] == [(2, "torn_line")]
    assert book.gaps()[0]["detail"] == f"{len(rubbish)} bytes kept in {path.name}.torn"


def test_a_second_crash_keeps_a_second_file_aside(book, run, keep):
    for rubbish in (b"{one", b"{two"):
        _open_and_write(book, run, keep)
        with book.files()[0].open("ab") as file:
            file.write(rubbish)
    _open_and_write(book, run, keep)
    assert sorted(path.read_bytes() for path in book.directory.glob("*.torn*")) == [b"{one", b"{two"]
    book.assert_gap_free()


def test_a_file_cut_at_any_byte_is_mended_and_continued_without_a_hole(book, run, keep):
    _open_and_write(book, run, keep)
    (path,) = book.files()
    line = path.read_bytes()
    for cut in range(len(line)):
        path.write_bytes(line + line.replace(b'"sequence":1,', b'"sequence":2,')[:cut])
        _open_and_write(book, run, keep)
        book.assert_gap_free()
        assert len(book.lines()) == (2 if cut == 0 else 3)


def test_an_empty_file_left_by_a_crash_goes_on_with_the_number_in_its_name(book, run, keep):
    _open_and_write(book, run, keep)
    (path,) = book.files()
    empty = path.with_name("w1-20990101T000000Z-000000000002.jsonl")
    empty.write_bytes(b"")
    _open_and_write(book, run, keep)
    assert empty.stat().st_size
    book.assert_gap_free()


def test_records_missing_between_two_files_are_told(book, run, keep):
    _open_and_write(book, run, keep)
    (path,) = book.files()
    path.with_name("w1-20990101T000000Z-000000000005.jsonl").write_bytes(b"")
    _open_and_write(book, run, keep)
    assert [(gap["reason"], gap["lost"], gap["sequence"]) for gap in book.gaps()] == [("records_missing", 3, 5)]


def test_a_journal_opened_on_a_running_loop_stops_with_it(book):
    async def story():
        await book.journal()

    asyncio.run(story())
    asyncio.run(book.close())
