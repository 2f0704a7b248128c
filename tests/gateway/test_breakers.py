"""When an address is left alone: the table of those that fail, which all workers share."""

import subprocess
import sys
from pathlib import Path

from interceptor.gateway.breakers import TABLE_BYTES, Breaker, Breakers
from interceptor.settings import App
from interceptor.state import SharedTable, make_tables

URL = "http://app.test/pbx?tenant=7"
SHOWN = "http://app.test/pbx"
ROWS = 4096
MARKS = 256
FAILING = """
import sys
from pathlib import Path
from interceptor.gateway.breakers import Breakers
from interceptor.settings import App
from interceptor.state import SharedTable

table = SharedTable(Path(sys.argv[1]), "breakers")
breakers = Breakers({"crm": App("crm", failures_to_open=300)}, table.memory, table)
for _ in range(100):
    breakers.of("crm", "http://app.test/pbx", guarded=False).failed()
"""


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def workers(count: int = 2, limit: int = 2, pause: float = 5.0) -> tuple[Clock, bytearray, list[Breakers]]:
    clock, memory = Clock(), bytearray(TABLE_BYTES)
    apps = {"switchboard": App("switchboard"), "crm": App("crm", failures_to_open=limit, retry_after=pause)}
    return clock, memory, [Breakers(apps, memory, clock=clock) for _ in range(count)]


def of(breakers: Breakers, url: str = URL, *, guarded: bool = False) -> Breaker:
    found = breakers.of("crm", url, guarded=guarded)
    assert found is not None
    return found


def test_a_breaker_lets_one_trial_through_after_each_pause() -> None:
    clock, _, (breakers,) = workers(1)
    breaker = of(breakers)
    breaker.failed()
    assert breaker.allows()
    clock.now = 1001.0
    breaker.failed()
    allowed = []
    for clock.now in (1001.0, 1005.9, 1006.0, 1006.1, 1010.9, 1011.0):
        allowed.append(breaker.allows())
    assert allowed == [False, False, True, False, False, True]
    breaker.succeeded()
    assert breaker.allows()
    assert breakers.left_alone() == {"crm": []}


def test_workers_count_together_and_one_of_them_has_the_trial() -> None:
    clock, _, all_of_them = workers(3, limit=3)
    first, second, third = (of(each) for each in all_of_them)
    first.failed()
    second.failed()
    assert [each.allows() for each in (first, second, third)] == [True] * 3
    third.failed()
    assert [each.allows() for each in (first, second, third)] == [False] * 3
    assert [each.left_alone() for each in all_of_them] == [{"crm": [SHOWN]}] * 3
    clock.now += 5
    assert [each.allows() for each in (second, first, third)] == [True, False, False]
    second.failed()
    clock.now += 5
    assert [each.allows() for each in (third, first)] == [True, False]
    third.succeeded()
    assert [each.allows() for each in (first, second)] == [True, True]
    assert [each.left_alone() for each in all_of_them] == [{"crm": []}] * 3


def test_a_worker_that_begins_anew_knows_who_is_left_alone() -> None:
    clock, memory, (before,) = workers(1, limit=1)
    of(before).failed()
    after = Breakers({"switchboard": App("switchboard"), "crm": App("crm", failures_to_open=1)}, memory, clock=clock)
    assert after.left_alone() == {"crm": [SHOWN]}
    assert not of(after).allows()


def test_an_answer_anywhere_begins_the_count_anew() -> None:
    _, _, (one, other) = workers(2, limit=2)
    of(one).failed()
    of(other).succeeded()
    of(one).failed()
    assert of(other).allows()


def test_what_apps_choose_counts_by_its_host_and_0_never_counts() -> None:
    _, _, (breakers,) = workers(1, limit=1)
    of(breakers, "http://chosen.test/a?b=1", guarded=True).failed()
    assert not of(breakers, "http://chosen.test/other", guarded=True).allows()
    assert breakers.left_alone() == {"crm": ["chosen.test"]}
    assert breakers.of("nobody", URL, guarded=False) is None
    never = Breakers({"crm": App("crm", failures_to_open=0)})
    of(never).failed()
    assert of(never).allows()
    assert never.left_alone() == {"crm": []}


def test_what_counts_outlives_the_breaker_that_a_worker_has_at_hand() -> None:
    _, _, (breakers,) = workers(1, limit=3)
    of(breakers).failed()
    of(breakers).failed()
    for number in range(5000):
        of(breakers, f"http://{number}.test/")
    of(breakers).failed()
    assert breakers.left_alone() == {"crm": [SHOWN]}


def test_there_is_room_for_so_many_and_those_that_are_left_alone_keep_theirs() -> None:
    clock, _, (breakers,) = workers(1, limit=1)
    for number in range(3 * ROWS):
        of(breakers, f"http://{number}.test/").failed()
    alone = breakers.left_alone()["crm"]
    assert len(alone) == ROWS
    assert not of(breakers, alone[0]).allows()
    late = of(breakers, "http://late.test/")
    late.failed()
    assert late.allows()  # there is no room for it
    clock.now += 5  # now there is: whoever is left alone could be tried
    late.failed()
    assert not late.allows()
    assert len(breakers.left_alone()["crm"]) == ROWS


def test_one_that_is_asked_makes_room_before_one_that_is_left_alone() -> None:
    clock, _, (breakers,) = workers(1, limit=2, pause=1.0)
    for number in range(ROWS // 4):
        for _ in range(2):
            of(breakers, f"http://{number}.test/").failed()
    clock.now += 60  # their pauses are over
    alone = set(breakers.left_alone()["crm"])
    for number in range(ROWS, 4 * ROWS):
        of(breakers, f"http://{number}.test/").failed()
    left = set(breakers.left_alone()["crm"])
    assert left == alone


def test_a_table_that_a_death_has_spoilt_is_right_with_the_next_message() -> None:
    clock, memory, (breakers,) = workers(1, limit=2)
    breaker = of(breakers)
    breaker.failed()
    memory[:MARKS] = bytes(MARKS)  # the mark was about to be set
    breaker.failed()
    assert not breaker.allows()
    memory[:MARKS] = b"\1" * MARKS  # the marks were about to be taken away
    fresh = of(breakers, "http://well.test/")
    assert fresh.allows()
    fresh.succeeded()
    breaker.succeeded()
    assert memory[:MARKS].count(0) >= 1
    assert breaker.allows()
    shorter = Breakers({"switchboard": App("switchboard"), "crm": App("crm", retry_after=1.0)}, memory, clock=clock)
    breaker.failed()
    breaker.failed()
    assert of(shorter).allows()  # no pause of its own ends so late


def test_processes_count_together(tmp_path: Path) -> None:
    make_tables(tmp_path, 3, more={"breakers": TABLE_BYTES})
    running = [subprocess.Popen([sys.executable, "-c", FAILING, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(55) for process in running] == [0] * 3
    table = SharedTable(tmp_path, "breakers")
    apps = {"crm": App("crm", failures_to_open=301)}
    breakers = Breakers(apps, table.memory, table)
    assert breakers.left_alone() == {"crm": ["http://app.test/pbx"]}  # by the three hundredth failure
    of(breakers, "http://app.test/pbx").failed()
    assert not of(breakers, "http://app.test/pbx").allows()
