import asyncio
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from interceptor.outbox import Entry, Outbox, OutboxError, OutboxInUseError


def entry(text, **more):
    return Entry(app="crm", url="http://app.test/report?tenant=7", body=text.encode(), **more)


class App:
    """An app that takes notifications, or does not."""

    def __init__(self):
        self.up = True
        self.got = []
        self.asked = 0
        self.fault = None

    async def deliver(self, kept):
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        if self.up:
            self.got.append(kept.body.decode())
        return self.up


class Counts:
    def __init__(self):
        self.seen, self.depths = [], []

    def outbox_kept(self, app):
        self.seen.append(("kept", app))

    def outbox_delivered(self, app):
        self.seen.append(("delivered", app))

    def outbox_failed(self, app):
        self.seen.append(("failed", app))

    def outbox_dropped(self, app, reason):
        self.seen.append(("dropped", app, reason))

    def limit_hit(self, limit): ...

    def outbox_depth(self, app, entries):
        self.depths.append(entries)


@pytest.fixture
def app():
    return App()


@pytest.fixture
def opened(tmp_path, app):
    """Open outboxes on one folder; those still open are closed at the end of `run`."""
    boxes = []

    async def opener(name="crm", limit=100, deliver=None, **more):
        more = {"first_pause": 0.001, "longest_pause": 0.002, **more}
        box = Outbox(tmp_path / "outbox", name, limit, deliver or app.deliver, **more)
        await box.open()
        boxes.append(box)
        return box

    opener.boxes = boxes
    return opener


@pytest.fixture
def run(opened):
    def runner(coroutine):
        async def whole():
            try:
                async with asyncio.timeout(20):
                    return await coroutine
            finally:
                for box in opened.boxes:
                    await box.close()
                opened.boxes.clear()

        return asyncio.run(whole())

    return runner


async def until(condition):
    while not condition():  # noqa: ASYNC110 - files and counters ring no bell
        await asyncio.sleep(0.001)


def test_what_is_put_is_delivered(opened, run, app):
    async def story():
        box = await opened()
        assert await box.put(entry("one"))
        await until(lambda: app.got == ["one"])
        await until(lambda: box.depth == 0)

    run(story())


def test_the_app_gets_the_whole_entry(opened, run):
    got = []

    async def deliver(kept):
        got.append(kept)
        return True

    async def story():
        box = await opened(deliver=deliver, clock=lambda: 1234.5)
        given = entry("a=1\x00", headers=(("X-A", "b"),), content_type="text/x", name="Error", exchange="e1")
        assert await box.put(given)
        await until(lambda: got)

    run(story())
    (kept,) = got
    assert (kept.app, kept.url, kept.body) == ("crm", "http://app.test/report?tenant=7", b"a=1\x00")
    assert (kept.headers, kept.content_type, kept.name, kept.exchange) == ((("X-A", "b"),), "text/x", "Error", "e1")
    assert (kept.at, kept.id) == (1234.5, 1)


def test_it_is_on_disk_before_put_is_done(opened, run, app, tmp_path):
    async def story():
        app.up = False
        box = await opened()
        kept = box.put(entry("one"))
        assert not kept.done()
        assert box.depth == 1
        assert await kept
        assert b"b25l" in (tmp_path / "outbox" / "crm.outbox").read_bytes()

    run(story())


def test_entries_are_delivered_in_order_although_the_first_fails(opened, run, app):
    async def story():
        app.up = False
        box = await opened()
        for number in range(20):
            assert await box.put(entry(str(number)))
        await until(lambda: app.asked >= 3)
        assert app.got == []
        assert box.depth == 20
        app.up = True
        await until(lambda: box.depth == 0)
        assert app.got == [str(number) for number in range(20)]

    run(story())


def test_one_delivery_at_a_time(opened, run):
    running, most = 0, 0

    async def deliver(_kept):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return True

    async def story():
        box = await opened(deliver=deliver)
        await asyncio.gather(*(box.put(entry(str(number))) for number in range(20)))
        await until(lambda: box.depth == 0)

    run(story())
    assert most == 1


def test_puts_at_once_share_a_write(opened, run, app, monkeypatch):
    async def story():
        app.up = False
        box = await opened()
        writes = []
        append = box._log.append
        monkeypatch.setattr(
            box._log, "append", lambda lines, *, durable: (writes.append(len(lines)), append(lines, durable=durable))
        )
        assert all(await asyncio.gather(*(box.put(entry(str(number))) for number in range(50))))
        assert writes == [50]

    run(story())


def test_a_fault_of_the_delivery_is_a_failure_and_tried_again(opened, run, app):
    async def story():
        app.fault = RuntimeError("lost its way")
        box = await opened()
        assert await box.put(entry("one"))
        await until(lambda: app.asked >= 2)
        app.fault = None
        await until(lambda: app.got == ["one"])

    run(story())


def test_a_delivery_that_hangs_is_given_up_and_tried_again(opened, run):
    asked = []

    async def deliver(_kept):
        asked.append(1)
        if len(asked) == 1:
            await asyncio.Event().wait()
        return True

    async def story():
        box = await opened(deliver=deliver, delivery_seconds=0.01)
        assert await box.put(entry("one"))
        await until(lambda: box.depth == 0)
        assert len(asked) == 2

    run(story())


def test_pauses_double_up_to_the_longest_and_are_never_quite_equal(opened, run, app, monkeypatch):
    pauses = []
    timeout = asyncio.timeout

    def noting(seconds):
        pauses.append(seconds)
        return timeout(0 if seconds < 50 else seconds)

    async def story():
        app.up = False
        box = await opened(first_pause=1.0, longest_pause=8.0, delivery_seconds=1000.0, chance=lambda: 0.5)
        monkeypatch.setattr("interceptor.outbox.outbox.asyncio.timeout", noting)
        assert await box.put(entry("one"))
        await until(lambda: len([pause for pause in pauses if pause < 50]) >= 6)
        monkeypatch.undo()

    run(story())
    assert [pause for pause in pauses if pause < 50][:6] == [0.75, 1.5, 3.0, 6.0, 6.0, 6.0]


def test_waking_ends_the_pause(opened, run, app):
    async def story():
        app.up = False
        box = await opened(first_pause=3600.0, longest_pause=3600.0)
        assert await box.put(entry("one"))
        await until(lambda: app.asked == 1)
        app.up = True
        await asyncio.sleep(0)
        box.wake()
        await until(lambda: app.got == ["one"])

    run(story())


def test_a_new_entry_does_not_end_the_pause(opened, run, app):
    async def story():
        app.up = False
        box = await opened(first_pause=3600.0, longest_pause=3600.0)
        assert await box.put(entry("one"))
        await until(lambda: app.asked == 1)
        for _ in range(5):
            assert await box.put(entry("two"))
        assert app.asked == 1

    run(story())


def test_a_full_outbox_refuses_the_newest_and_keeps_what_it_promised(opened, run, app):
    counts = Counts()

    async def story():
        app.up = False
        box = await opened(limit=3, watcher=counts)
        answers = await asyncio.gather(*(box.put(entry(str(number))) for number in range(5)))
        assert answers == [True, True, True, False, False]
        app.up = True
        await until(lambda: box.depth == 0)
        assert app.got == ["0", "1", "2"]
        assert await box.put(entry("room again"))

    run(story())
    assert counts.seen.count(("dropped", "crm", "full")) == 2


def test_what_was_not_delivered_is_delivered_by_the_next_process_in_order(opened, run, app):
    async def first():
        app.up = False
        box = await opened()
        for number in range(5):
            assert await box.put(entry(str(number)))
        await box.close()

    async def second():
        app.up = True
        box = await opened()
        assert await box.put(entry("5"))
        await until(lambda: box.depth == 0)
        await box.close()

    async def third():
        box = await opened()
        assert box.depth == 0

    run(first())
    run(second())
    run(third())
    assert app.got == ["0", "1", "2", "3", "4", "5"]


def test_an_entry_too_old_to_be_of_use_is_dropped_and_counted(opened, run, app):
    counts = Counts()
    now = [1000.0]

    async def story():
        app.up = False
        box = await opened(watcher=counts, keep_seconds=60.0, clock=lambda: now[0])
        assert await box.put(entry("old"))
        await until(lambda: app.asked)
        now[0] += 61.0
        app.up = True
        assert await box.put(entry("new"))
        await until(lambda: box.depth == 0)

    run(story())
    assert app.got == ["new"]
    assert ("dropped", "crm", "expired") in counts.seen


def test_the_file_shrinks_when_everything_went(opened, run, app, tmp_path, monkeypatch):
    monkeypatch.setattr("interceptor.outbox.outbox.EMPTY_BYTES", 2000)

    async def story():
        box = await opened()
        for number in range(100):
            assert await box.put(entry(str(number) * 10))
        await until(lambda: box.depth == 0)
        await until(lambda: (tmp_path / "outbox" / "crm.outbox").stat().st_size < 2000)
        assert await box.put(entry("still works"))
        await until(lambda: app.got[-1] == "still works")

    run(story())


def test_the_file_is_rewritten_when_most_of_it_went_and_keeps_what_did_not(opened, run, app, tmp_path, monkeypatch):
    monkeypatch.setattr("interceptor.outbox.outbox.COMPACT_BYTES", 5000)

    async def deliver(kept):
        return kept.body != b"stuck" and await app.deliver(kept)

    async def first():
        box = await opened(deliver=deliver)
        for number in range(60):
            assert await box.put(entry(str(number)))
        await until(lambda: box.depth == 0)
        assert await box.put(entry("stuck"))
        assert await box.put(entry("behind"))
        await box.close()

    async def second():
        box = await opened()
        assert box.depth == 2
        await until(lambda: box.depth == 0)

    run(first())
    assert (tmp_path / "outbox" / "crm.outbox").stat().st_size < 5000
    run(second())
    assert app.got[-2:] == ["stuck", "behind"]


def test_a_torn_last_line_is_cut_off_and_the_rest_delivered(opened, run, app, tmp_path):
    async def first():
        app.up = False
        box = await opened()
        assert await box.put(entry("one"))
        await box.close()

    async def second():
        app.up = True
        box = await opened()
        assert await box.put(entry("two"))
        await until(lambda: box.depth == 0)

    for rubbish in (b'{"line":"entry","app":"c', b"\x00" * 100, b"\xff\xfe\n", b'{"line":"other"}\n'):
        app.got.clear()
        run(first())
        with (tmp_path / "outbox" / "crm.outbox").open("ab") as file:
            file.write(rubbish)
        run(second())
        assert app.got == ["one", "two"]


def test_what_is_delivered_while_the_disk_is_busy_is_noted_before_it_is_closed(opened, run, app, monkeypatch):
    busy, goes_on = asyncio.Event(), threading.Event()

    async def deliver(kept):
        if kept.body == b"two":
            await busy.wait()  # the disk is at it to note that one was delivered
        return await app.deliver(kept)

    async def story():
        box = await opened(deliver=deliver)
        loop, append = asyncio.get_running_loop(), box._log.append

        def slowly(lines, *, durable):
            if not durable:
                loop.call_soon_threadsafe(busy.set)
                goes_on.wait(10)
            append(lines, durable=durable)

        monkeypatch.setattr(box._log, "append", slowly)
        assert all(await asyncio.gather(box.put(entry("one")), box.put(entry("two"))))
        await until(lambda: box.depth == 0)
        closing = asyncio.create_task(box.close())
        await asyncio.sleep(0)
        goes_on.set()
        await closing
        assert (await opened()).depth == 0

    run(story())
    assert app.got == ["one", "two"]


def test_a_disk_that_takes_no_more_is_told_and_nothing_half_written_comes_back(opened, run, app, tmp_path):
    path = tmp_path / "outbox" / "crm.outbox"
    counts = Counts()

    async def first():
        app.up = False
        box = await opened(watcher=counts)
        assert await box.put(entry("one"))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
        try:
            assert not await box.put(entry("two"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert await box.put(entry("three"))
        await box.close()

    async def second():
        app.up = True
        box = await opened()
        await until(lambda: box.depth == 0)

    run(first())
    run(second())
    assert app.got == ["one", "three"]
    assert ("dropped", "crm", "cannot_write") in counts.seen


def test_an_entry_that_cannot_be_written_down_is_told_and_costs_the_next_ones_nothing(opened, run, app):
    async def story():
        box = await opened()
        assert not await box.put(entry("stray", name="\udcff"))
        assert await box.put(entry("fine"))
        await until(lambda: app.got == ["fine"])

    run(story())


def test_a_deleted_folder_is_made_again_with_everything_that_waits(opened, run, app, tmp_path):
    async def first():
        app.up = False
        box = await opened()
        assert await box.put(entry("one"))
        shutil.rmtree(tmp_path / "outbox")
        assert await box.put(entry("two"))
        await box.close()

    async def second():
        app.up = True
        box = await opened()
        await until(lambda: box.depth == 0)

    run(first())
    run(second())
    assert app.got == ["one", "two"]


def test_a_second_process_is_refused(opened, run):
    async def story():
        await opened()
        with pytest.raises(OutboxInUseError, match="another process has the outbox"):
            await opened()

    run(story())


def test_a_folder_that_cannot_be_made_is_said_in_one_sentence(opened, run, tmp_path):
    (tmp_path / "outbox").write_text("a file stands here")

    async def story():
        with pytest.raises(OutboxError, match="cannot open the outbox in"):
            await opened()

    run(story())


def test_an_app_with_any_name_gets_a_file_inside_the_folder(opened, run, tmp_path):
    async def story():
        for name in ("../../etc", "a/b", "ünï", "."):
            await (await opened(name)).put(entry("x"))

    run(story())
    assert {path.parent for path in tmp_path.rglob("*.outbox")} == {tmp_path / "outbox"}


def test_nothing_is_kept_after_closing_or_before_opening(opened, run, app, tmp_path):
    async def story():
        unopened = Outbox(tmp_path / "other", "crm", 10, app.deliver)
        assert not await unopened.put(entry("x"))
        await unopened.close()
        box = await opened()
        await box.close()
        assert not await box.put(entry("x"))

    run(story())


def test_closing_waits_for_what_is_being_written(opened, run, app):
    async def story():
        app.up = False
        box = await opened()
        kept = box.put(entry("one"))
        await box.close()
        assert await kept

    run(story())


def test_the_watcher_hears_of_everything(opened, run, app):
    counts = Counts()

    async def story():
        app.up = False
        box = await opened(watcher=counts)
        assert await box.put(entry("one"))
        await until(lambda: app.asked)
        app.up = True
        await until(lambda: box.depth == 0)

    run(story())
    assert counts.seen[:2] == [("kept", "crm"), ("failed", "crm")]
    assert counts.seen[-1] == ("delivered", "crm")
    assert (counts.depths[0], max(counts.depths), counts.depths[-1]) == (0, 1, 0)


CHILD = textwrap.dedent(
    """
    import asyncio, os, sys
    from pathlib import Path
    from interceptor.outbox import Entry, Outbox

    async def main():
        async def deliver(entry):
            if entry.id % 3 == 0:
                await asyncio.sleep(0.002)
            return True
        box = Outbox(Path(sys.argv[1]), "crm", 10_000, deliver)
        await box.open()
        for number in range(10_000):
            if await box.put(Entry(app="crm", url="http://x/", body=b"%d" % number)):
                os.write(1, b"%d\\n" % number)

    asyncio.run(main())
    """
)


def test_after_kill_9_everything_kept_is_still_there_or_was_delivered(opened, run, app, tmp_path):
    folder = tmp_path / "outbox"
    with subprocess.Popen([sys.executable, "-c", CHILD, folder], stdout=subprocess.PIPE) as child:
        output = bytearray()
        while output.count(b"\n") < 200:
            ready, _, _ = select.select([child.stdout], [], [], 20)
            assert ready, "the child says nothing"
            output += os.read(child.stdout.fileno(), 65536)
        child.send_signal(signal.SIGKILL)
        output += child.stdout.read()
    promised = [int(line) for line in output[: output.rfind(b"\n") + 1].split()]

    async def story():
        box = await opened(limit=10_000)
        await until(lambda: box.depth == 0)

    run(story())
    left = [int(text) for text in app.got]
    assert left == list(range(left[0], left[0] + len(left))), "in order, without a hole"
    assert left[-1] >= promised[-1]
    assert left[0] > 0, "what was delivered before is not delivered again from the start"


def test_what_came_first_leaves_first_whenever_it_was_put(opened, run, app):
    async def story():
        app.up = False
        box = await opened(clock=lambda: 5000.0)
        for at, text in ((4903.0, "c"), (4901.0, "a"), (4904.0, "d"), (4902.0, "b")):
            assert await box.put(entry(text, at=at))
        await box.close()
        app.up = True
        await opened(clock=lambda: 5000.0)
        await until(lambda: len(app.got) == 4)
        assert app.got == ["a", "b", "c", "d"]

    run(story())


def test_what_is_being_delivered_stays_the_first(opened, run):
    got, gate, begun = [], asyncio.Event(), asyncio.Event()

    async def deliver(kept):
        begun.set()
        await gate.wait()
        got.append(kept.body.decode())
        return True

    async def story():
        box = await opened(deliver=deliver, clock=lambda: 5000.0)
        assert await box.put(entry("newer", at=4902.0))
        await begun.wait()
        assert await box.put(entry("newest", at=4903.0))
        assert await box.put(entry("older", at=4901.0))
        gate.set()
        await until(lambda: box.depth == 0)
        assert got == ["newer", "older", "newest"]

    run(story())


def test_a_clock_that_goes_back_mixes_up_nothing(opened, run, app):
    async def story():
        app.up = False
        box = await opened(clock=lambda: 5000.0)
        for at, text in ((5000.0, "before"), (1400.0, "after")):
            assert await box.put(entry(text, at=at))
        app.up = True
        box.wake()
        await until(lambda: len(app.got) == 2)
        assert app.got == ["before", "after"]

    run(story())
