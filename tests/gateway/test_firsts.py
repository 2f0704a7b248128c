"""The table of commands that may come again: bounded, shared by processes, whole whatever dies."""

import signal
import subprocess
import sys
from pathlib import Path

from interceptor.gateway.firsts import KEY_BYTES, ROOM, ROWS, TABLE_BYTES, WAYS, Firsts, Found, Stage
from interceptor.state import SharedTable, make_tables
from interceptor.wire.answers import read_answer

NOW = 1000.0
KEYS = 2000
CLAIMING = """
import sys
from pathlib import Path
from interceptor.gateway.firsts import Firsts
from interceptor.state import SharedTable

table = SharedTable(Path(sys.argv[1]), "firsts")
firsts = Firsts(table.memory, table, worker=int(sys.argv[2]))
won = [
    number
    for number in range(2000)
    if firsts.claim(number.to_bytes(4, "little") * 4, f"x-{number:x}", 1000.0, until=1060.0, at_last=1060.0) is None
]
print(*won)
"""
DYING = """
import os
import signal
import sys
from pathlib import Path
from interceptor.gateway.firsts import Firsts
from interceptor.state import SharedTable

class Dying:
    \"\"\"Memory in which a process writes so many times, and is killed.\"\"\"

    def __init__(self, memory, left):
        self.memory, self.left = memory, left

    def __len__(self):
        return len(self.memory)

    def find(self, *where):
        return self.memory.find(*where)

    def __getitem__(self, at):
        return self.memory[at]

    def __setitem__(self, at, value):
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
        self.memory[at] = value

    def __buffer__(self, flags):
        return memoryview(self.memory)

table = SharedTable(Path(sys.argv[1]), "firsts")
firsts = Firsts(Dying(table.memory, int(sys.argv[2])), table, worker=1)
key = bytes(range(16))
print(firsts.claim(key, "x-w1-1", 1000.0, until=1060.0, at_last=1060.0), flush=True)
firsts.answered(key, "x-w1-1", b"<Response><Code>200</Code></Response>")
os.kill(os.getpid(), signal.SIGKILL)
"""


def key(number: int) -> bytes:
    """One that stands in the rows with this number."""
    return number.to_bytes(4, "little") * (KEY_BYTES // 4)


def in_one_place(count: int) -> list[bytes]:
    """Keys that may all stand in the same rows."""
    return [bytes(4) + number.to_bytes(KEY_BYTES - 4, "big") for number in range(1, count + 1)]


class Forgotten:
    """Counts what was forgotten."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def claim(
    firsts: Firsts, key: bytes, exchange: str = "x-w0-1", now: float = NOW, until: float = NOW + 10
) -> Found | None:
    return firsts.claim(key, exchange, now, until=until, at_last=now + 100)


def test_a_first_is_under_way_until_it_is_answered_and_keeps_its_answer_until_its_time_is_over() -> None:
    firsts = Firsts(bytearray(TABLE_BYTES))
    assert claim(firsts, key(1)) is None
    assert claim(firsts, key(1), "x-w0-2", NOW + 50) == Found(Stage.UNDER_WAY, "x-w0-1")
    firsts.answered(key(1), "x-w0-1", b"<yes/>")
    found = Found(Stage.ANSWERED, "x-w0-1", b"<yes/>")
    assert claim(firsts, key(1), "x-w0-2", NOW + 9.9) == found
    assert firsts.find(key(1)) == found
    assert claim(firsts, key(1), "x-w0-2", NOW + 10, NOW + 20) is None
    assert claim(firsts, key(1), "x-w0-3", NOW + 11) == Found(Stage.UNDER_WAY, "x-w0-2")
    assert firsts.find(key(2)) is None


def test_an_answer_that_never_comes_is_not_waited_for_for_ever() -> None:
    firsts = Firsts(bytearray(TABLE_BYTES))
    claim(firsts, key(1))
    assert claim(firsts, key(1), "x-w0-2", NOW + 99.9) is not None
    assert claim(firsts, key(1), "x-w0-2", NOW + 100) is None
    firsts.answered(key(1), "x-w0-1", b"<late/>")  # it is another's now
    assert firsts.find(key(1)) == Found(Stage.UNDER_WAY, "x-w0-2")


def test_who_waited_is_told_what_was_not_sent_and_the_next_is_a_first() -> None:
    firsts = Firsts(bytearray(TABLE_BYTES))
    claim(firsts, key(1))
    firsts.answered(key(1), "x-w0-1", b"<no/>", again_at=NOW + 1)
    assert firsts.find(key(1)) == Found(Stage.ANSWERED, "x-w0-1", b"<no/>")
    assert claim(firsts, key(1), "x-w0-2", NOW + 1) is None


def test_of_an_answer_that_is_too_long_the_code_is_kept() -> None:
    firsts = Firsts(bytearray(TABLE_BYTES))
    for number, (answer, code) in enumerate(
        ((b"<Response><Code>402</Code>" + b"x" * ROOM + b"</Response>", 402), (b"x" * (ROOM + 1), 906))
    ):
        claim(firsts, key(number))
        firsts.answered(key(number), "x-w0-1", answer)
        found = firsts.find(key(number))
        assert found is not None
        assert read_answer(found.answer).code == code
    claim(firsts, key(9))
    firsts.answered(key(9), "x-w0-1", b"y" * ROOM)
    found = firsts.find(key(9))
    assert found is not None
    assert found.answer == b"y" * ROOM


def test_where_all_rows_are_needed_the_one_that_is_over_soonest_is_forgotten() -> None:
    forgotten = Forgotten()
    firsts = Firsts(bytearray(TABLE_BYTES), forgot=forgotten)
    keys = in_one_place(WAYS + 2)
    for number, each in enumerate(keys[:WAYS]):
        assert claim(firsts, each, until=NOW + 10 + (number - 3) % WAYS) is None
    assert forgotten.count == 0
    assert claim(firsts, keys[WAYS], until=NOW + 50) is None
    assert forgotten.count == 1
    assert [number for number, each in enumerate(keys[:WAYS]) if firsts.find(each) is None] == [3]
    firsts.answered(keys[7], "x-w0-1", b"", again_at=NOW)  # nobody needs it any more
    assert claim(firsts, keys[WAYS + 1]) is None
    assert forgotten.count == 1
    assert firsts.find(keys[7]) is None


def test_what_a_dead_worker_had_under_way_is_lost_and_what_it_had_answered_is_not() -> None:
    memory = bytearray(TABLE_BYTES)
    firsts = [Firsts(memory, worker=worker) for worker in (0, 1)]
    claim(firsts[0], key(1), "x-w0-1")
    claim(firsts[1], key(2), "x-w1-1")
    claim(firsts[1], key(3), "x-w1-2")
    firsts[1].answered(key(3), "x-w1-2", b"<yes/>")
    firsts[0].lose(1)
    found = [firsts[0].find(key(number)) for number in (1, 2, 3)]
    assert [each and each.stage for each in found] == [Stage.UNDER_WAY, Stage.LOST, Stage.ANSWERED]
    firsts[1].answered(key(2), "x-w1-1", b"<late/>")
    assert claim(firsts[0], key(2), "x-w0-2", NOW + 9.9) == Found(Stage.LOST, "x-w1-1")
    assert claim(firsts[0], key(2), "x-w0-2", NOW + 10) is None


def test_of_processes_that_claim_the_same_commands_one_has_each(tmp_path: Path) -> None:
    make_tables(tmp_path, 3, more={"firsts": TABLE_BYTES})
    commands = [[sys.executable, "-c", CLAIMING, str(tmp_path), str(worker)] for worker in range(3)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    won = [int(number) for process in running for number in process.communicate(timeout=55)[0].split()]
    assert sorted(won) == list(range(KEYS))
    assert KEYS < ROWS


def test_a_process_that_is_killed_between_any_two_steps_leaves_a_row_that_says_what_holds(tmp_path: Path) -> None:
    seen = []
    for steps in range(5):
        make_tables(tmp_path, 2, more={"firsts": TABLE_BYTES})
        killed = subprocess.run(
            [sys.executable, "-c", DYING, str(tmp_path), str(steps)], timeout=55, stdout=subprocess.DEVNULL, check=False
        )
        assert killed.returncode == -signal.SIGKILL
        table = SharedTable(tmp_path, "firsts")
        seen.append(Firsts(table.memory, table).find(bytes(range(16))))
        table.close()
    under_way = Found(Stage.UNDER_WAY, "x-w1-1")
    answered = Found(Stage.ANSWERED, "x-w1-1", b"<Response><Code>200</Code></Response>")
    assert seen == [None, None, under_way, under_way, answered]
