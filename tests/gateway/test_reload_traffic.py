"""Policies that change under traffic: nothing fails, and every decision is by one whole set."""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.gateway.harness import LOCAL, Backend, Script, answering, free_port
from tests.gateway.process import Process
from tests.gateway.test_reload import policy, post, soon, write

StartProcess = Callable[..., Process]
StartBackend = Callable[[Script], Backend]

RELOADS = 6
RULES = 300
CONNECTIONS = 16
COMMANDS = ("Call", "ListExtensions")
# In one set the first rule refuses calls and the last one passes the rest; in the other it is the other way round. A
# set of which only a part were there would show.
CODES = {"one": {"Call": 306, "ListExtensions": 200}, "two": {"Call": 200, "ListExtensions": 307}}


def rules(which: str) -> str:
    refused, passed = ("Call", "ListExtensions") if which == "one" else ("ListExtensions", "Call")
    code = CODES[which][refused]
    filling = "".join(
        f"  - name: filling-{number}\n    on: Call\n    when: {{number: {{prefix: '+3630{number:07d}'}}}}\n"
        f"    deny: true\n"
        for number in range(RULES)
    )
    first = f"  - name: first\n    on: {refused}\n    deny: {{code: {code}, message: '{which}'}}\n"
    last = f"  - name: last\n    on: {passed}\n    allow: true\n"
    return f"rules:\n{first}{filling}{last}"


@dataclass
class Asked:
    """One command: when it was sent and answered, what the answer said."""

    command: str
    sent: float
    answered: float
    exchange: str
    code: int


async def keep_asking(port: int, number: int, stop: asyncio.Event, seen: list[Asked]) -> None:
    """Ask again and again on one connection. Whatever is not a whole answer is an exception."""
    reader, writer = await asyncio.open_connection(LOCAL, port)
    turn = number
    while not stop.is_set():
        command = COMMANDS[turn % 2]
        turn += 1
        sent = time.monotonic()
        writer.write(f"GET /?command={command}&Dialed=1001 HTTP/1.1\r\nHost: pbx.test\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"(?im)^content-length: (\d+)", head)
        exchange = re.search(r"(?im)^x-interceptor-exchange: (\S+)", head)
        assert head.startswith("HTTP/1.1 200 "), head
        assert length, head
        assert exchange, head
        code = re.search(rb"<Code>(\d+)</Code>", await reader.readexactly(int(length[1])))
        assert code
        seen.append(Asked(command, sent, time.monotonic(), exchange[1], int(code[1])))
    writer.close()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.timeout(240)
def test_reloads_under_traffic_fail_nobody_and_every_decision_is_by_one_whole_set(
    process: StartProcess, backend: StartBackend, workers: int
) -> None:
    pbx = backend(answering())
    running = process(
        pbx.port, workers=workers, commands=f"{LOCAL}:{free_port()}", rules=rules("one"), policy="watch: false"
    )
    running.wait_for("admin listens on")
    port = running.address("commands").port
    revisions = {"one": policy(running)["revision"]}
    seen: list[Asked] = []
    changes: list[tuple[float, float, str]] = []  # of each reload when it was asked for, when answered, and the set

    async def reload_all() -> None:
        for turn in range(1, RELOADS + 1):
            which = "two" if turn % 2 else "one"
            before = len(seen)
            while len(seen) < before + CONNECTIONS:  # noqa: ASYNC110 - traffic in every set; it goes on by itself
                await asyncio.sleep(0.01)
            write(running, rules(which))
            asked = time.monotonic()
            status, told = await asyncio.to_thread(post, running, "/policy/reload")
            changes.append((asked, time.monotonic(), which))
            assert (status, told["outcome"]) == (200, "loaded"), told
            assert revisions.setdefault(which, told["in_force"]) == told["in_force"]

    async def story() -> None:
        stop = asyncio.Event()
        asking = [asyncio.create_task(keep_asking(port, number, stop, seen)) for number in range(CONNECTIONS)]
        try:
            await reload_all()
        finally:
            stop.set()
            await asyncio.gather(*asking)

    asyncio.run(story())
    wanted = {each.exchange for each in seen}

    def decided() -> dict[str, str]:
        return {record["exchange"]: record["revision"] for record in running.journal() if record["event"] == "decision"}

    assert soon(lambda: wanted <= set(decided()))
    revision_of = decided()
    names = {revision: which for which, revision in revisions.items()}
    assert len(names) == 2
    assert len(seen) > RELOADS * CONNECTIONS
    for each in seen:
        which = names[revision_of[each.exchange]]
        assert each.code == CODES[which][each.command], each
    # Whoever asked after a reload was answered is decided by the new set, in whichever worker; and before, by the old.
    in_force = [(0.0, 0.0, "one"), *changes]
    for (_, begin, which), (end, _, _) in zip(in_force, [*changes, (float("inf"), 0.0, "")], strict=True):
        between = [each for each in seen if each.sent > begin and each.answered < end]
        assert {names[revision_of[each.exchange]] for each in between} <= {which}
    workers_seen = {exchange.split("-")[1] for exchange in wanted}
    assert len(workers_seen) == workers
