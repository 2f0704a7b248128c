"""Reports that a rule sends to an address of its own: kept while that is away, each address for itself."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from interceptor.outbox import Entry
from interceptor.pipeline import NO_OPINION
from interceptor.settings import Limits
from tests.gateway.harness import LOCAL, Backend, Loop, Proxy, Script, answering, free_port
from tests.gateway.misbehaving import await_until, counted
from tests.gateway.process import Process
from tests.gateway.test_kept import tell_each

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

OZML = answering(b"<Response/>")


@pytest.fixture
def app_at(loop: Loop) -> Callable[[int], Backend]:
    """Starts an app at a port that was its own before."""
    started: list[Backend] = []

    def start(port: int) -> Backend:
        started.append(Backend(loop, OZML, port=port).start())
        return started[-1]

    yield start
    for each in started:
        each.stop()


def rules(**ports: int) -> str:
    """Each of these notifications goes to a port of its own, with its call in the query."""
    return "rules:\n" + "".join(
        f'  - {{name: r{name}, on: {name}, reroute: {{url: "http://{LOCAL}:{port}/sink?of={{{{CallId}}}}"}}}}\n'
        for name, port in ports.items()
    )


def told(running: Proxy, name: str, *numbers: int) -> list[str]:
    """Send reports; how each ended."""
    before = len(running.settlements())
    for number in numbers:
        answer = running.notify(f"NotificationName={name}&CallId={number}")
        assert (answer.status, answer.body.strip()[-11:]) == (200, NO_OPINION[-11:])
    return [each.outcome for each in running.settlements()[before:]]


def arrived(app: Backend) -> list[int]:
    return [int(re.findall(rb"CallId=(\d+)", request)[0]) for request in app.requests]


def queues(running: Proxy | Process) -> dict[str, int]:
    """How many wait for each address."""
    page = running.page("/outbox")
    found = json.loads(page if isinstance(page, str) else page[1])["outbox"]
    return {each["app"]: each["waiting"] for each in found if "://" in each["app"]}


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "outbox").rglob("@*"))


@pytest.mark.parametrize("subscribed", [False, True])
def test_each_address_has_its_own_queue_and_a_dead_one_holds_up_nobody(
    proxy: Start, app_at: Callable[[int], Backend], *, subscribed: bool
) -> None:
    crm, dead, back = (free_port() for _ in range(3))
    more = {} if subscribed else {"subscriptions": ()}
    running = proxy(9, crm, rules=rules(CallChanged=dead, RecordCompleted=back), **more)
    assert told(running, "CallChanged", 1, 2) == ["kept"] * 2
    assert told(running, "RecordCompleted", 3, 4, 5) == ["kept"] * 3
    assert queues(running) == {f"http://{LOCAL}:{dead}/sink": 2, f"http://{LOCAL}:{back}/sink": 3}
    assert counted(running, "interceptor_outbox_entries", app="_other") == 5
    app = app_at(back)
    app.wait_for(3)
    assert arrived(app) == [3, 4, 5]
    assert app.requests[0].startswith(b"POST /sink?of=3 HTTP/1.1\r\n")
    await_until(lambda: queues(running) == {f"http://{LOCAL}:{dead}/sink": 2})
    assert told(running, "RecordCompleted", 6) == ["answered"]
    if subscribed:
        app_at(crm)
        assert told(running, "Error", 7) == ["answered"]  # its app is not behind the dead address
    assert counted(running, "interceptor_outbox_delivered_total", app="_other") == 3


def test_what_waits_for_an_address_survives_a_restart_and_newer_ones_queue_behind_it(
    proxy: Start, app_at: Callable[[int], Backend], tmp_path: Path
) -> None:
    port = free_port()
    running = proxy(9, rules=rules(CallChanged=port), subscriptions=())
    assert told(running, "CallChanged", 1, 2) == ["kept"] * 2
    running.stop()
    running = proxy(9, rules=rules(CallChanged=port), subscriptions=())
    assert queues(running) == {f"http://{LOCAL}:{port}/sink": 2}
    assert told(running, "CallChanged", 3) == ["kept"]
    app = app_at(port)
    app.wait_for(3)
    await_until(lambda: not queues(running))
    assert arrived(app) == [1, 2, 3]
    running.stop()
    assert files(tmp_path) == []  # nothing stays of an address for which nothing waits


def test_there_are_so_many_queues_and_each_is_so_long(
    proxy: Start, app_at: Callable[[int], Backend], tmp_path: Path
) -> None:
    first, second, third = (free_port() for _ in range(3))
    there = rules(CallChanged=first, RecordCompleted=second, Error=third)
    running = proxy(9, rules=there, subscriptions=(), limits=replace(Limits(), outbox=2, outbox_addresses=2))
    assert told(running, "CallChanged", 1, 2, 3) == ["kept", "kept", "lost"]
    assert told(running, "RecordCompleted", 4) == ["kept"]
    assert told(running, "Error", 5) == ["lost"]
    assert counted(running, "interceptor_outbox_dropped_total", app="_other", reason="full") == 2
    for limit in ("outbox", "outbox_addresses"):
        assert counted(running, "interceptor_limit_hits_total", limit=limit) == 1
    app_at(second).wait_for(1)
    await_until(lambda: len(queues(running)) == 1)
    assert told(running, "Error", 6) == ["kept"]  # in the place of the one that is empty
    assert set(queues(running)) == {f"http://{LOCAL}:{first}/sink", f"http://{LOCAL}:{third}/sink"}
    assert len([name for name in files(tmp_path) if name.endswith(".outbox")]) == 2


def test_what_is_being_kept_at_the_end_is_kept(proxy: Start) -> None:
    address = f"http://{LOCAL}:{free_port()}/sink"
    running = proxy(9)
    kept: list[bool] = []

    async def last_second() -> None:
        for number in range(3):
            entry = Entry(app=address, url=address, body=b"%d" % number, exchange=f"e{number}")
            running.running.worker.deliveries.put(entry, kept.append)
        await running.running.worker.deliveries.close()

    running.loop.run(last_second())
    assert kept == [True] * 3
    running.stop()
    running = proxy(9)
    assert queues(running) == {address: 3}


def test_an_address_whose_outbox_cannot_be_opened_costs_its_reports_and_nobody_elses(
    proxy: Start, tmp_path: Path
) -> None:
    port, other = free_port(), free_port()
    running = proxy(9, rules=rules(CallChanged=port, Error=other), subscriptions=())
    assert told(running, "Error", 1) == ["kept"]
    folder = tmp_path / "outbox"
    folder.rename(tmp_path / "away")
    folder.write_bytes(b"")
    assert told(running, "CallChanged", 2) == ["lost"]
    assert counted(running, "interceptor_outbox_dropped_total", app="_other", reason="cannot_write") == 1
    folder.unlink()
    (tmp_path / "away").rename(folder)
    assert told(running, "CallChanged", 3) == ["kept"]


def test_what_workers_that_are_no_more_kept_for_addresses_is_delivered_in_order(
    process: Callable[..., Process], app_at: Callable[[int], Backend], tmp_path: Path
) -> None:
    port = free_port()
    running = process(9, workers=1, folder=tmp_path, rules=rules(CallChanged=port))
    tell_each(running, range(1, 4))
    running.kill()
    state = tmp_path / "state" / "outbox"
    (state / "w0").rename(state / "w7")
    running = process(9, workers=1, folder=tmp_path, rules=rules(CallChanged=port))
    running.address("admin")
    assert queues(running) == {f"http://{LOCAL}:{port}/sink": 3}
    app = app_at(port)
    app.wait_for(3)
    assert arrived(app) == [1, 2, 3]


def test_several_workers_deliver_what_they_kept_for_an_address_in_one_order(
    process: Callable[..., Process], app_at: Callable[[int], Backend], tmp_path: Path
) -> None:
    port = free_port()
    running = process(9, workers=2, folder=tmp_path, rules=rules(CallChanged=port))
    numbers = list(range(1, 25))
    tell_each(running, numbers[:12])
    address = f"http://{LOCAL}:{port}/sink"
    found = json.loads(running.page("/outbox")[1])["outbox"]
    assert sorted(each["worker"] for each in found if each["app"] == address) == ["w0", "w1"]
    running.kill()
    running = process(9, workers=2, folder=tmp_path, rules=rules(CallChanged=port))
    running.address("admin")
    tell_each(running, numbers[12:])
    app = app_at(port)
    app.wait_for(len(numbers))
    assert arrived(app) == numbers
