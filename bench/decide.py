"""Measures decisions of one policy in a process of its own: ``python -m bench.decide RULES [TABLE]``, prints JSON.

``RULES`` is how many rules there are, ``TABLE`` what a table of a million entries holds that two of them ask:
``numbers``, ``columns`` (numbers with two columns) or ``prefixes`` (the same of prefixes).
"""

import gc
import json
import random
import re
import sys
import time
from pathlib import Path

from bench.deciding import MIDNIGHT, Decide, House
from bench.rules import APPS, NUMBERING
from interceptor.policy import Source

DECISIONS = 100_000
UNSEEN = 5_000
NUMBERS = 5_000  # different numbers that are dialled again and again
ENTRIES = 1_000_000
_APPS = tuple(APPS)[:3]


def rules_text(size: int, dice: random.Random) -> str:
    """A policy as operators grow it: half exact numbers, a third prefixes, the rest callers, hours, texts, effects."""
    rules = []
    for index in range(size - 4):
        match index % 6:
            case 0 | 1 | 2:
                when, act = f'{{number: "+3620{dice.randrange(10**7):07}"}}', "deny: {code: 306, message: blocked}"
            case 3 | 4:
                prefix = f"+{dice.randrange(10 ** dice.randrange(3, 8)) + 100}"
                when, act = f"{{app: {dice.choice(_APPS)}, number: {{prefix: '{prefix}'}}}}", "deny: true"
            case _:
                when = f"{{caller: '{1000 + index % 9000}', time: {{days: mon-fri, hours: '08:00-18:00'}}}}"
                act = f"tag: t{index % 50}"
        names = ("[Call, BlindTransfer, Forward]", "Call", "command")[index % 3]
        rules.append(f"  - name: rule-{index}\n    on: {names}\n    when: {when}\n    {act}\n")
    rules.append('  - {name: line, on: Call, when: {app: crm}, rewrite: {set: {CallerId: "+3612222222"}}}\n')
    rules.append("  - {name: marketing, on: command, when: {app: billing}, reroute: pbx-marketing}\n")
    rules.append('  - {name: spam, on: SendSms, when: {Message: {regex: "(?i)lottery"}}, deny: true}\n')
    rules.append("  - {name: rest, on: command, allow: true}\n")
    return "rules:\n" + "".join(rules)


def table_sources(kind: str, dice: random.Random) -> list[Source]:
    """A table of a million entries, not sorted, and the rules that ask it."""
    if kind == "prefixes":
        entries = [f"+{code}" for code in dice.sample(range(10**6, 10**8), ENTRIES)]
    else:
        entries = [f"+36{tail}" for tail in dice.sample(range(200_000_000, 209_999_999), ENTRIES)]
    if kind == "numbers":
        file, text, body = "rules/tables/t.txt", "\n".join(entries), ""
    else:
        head = "prefix" if kind == "prefixes" else "number"
        rows = (f"{entry},pbx-{('main', 'marketing')[at % 2]},c{at % 1000}" for at, entry in enumerate(entries))
        file, text = "rules/tables/t.csv", "\n".join((f"{head},cluster,customer", *rows))
        body = "  - {name: least-cost, on: Call, reroute: {table: t, column: cluster}}\n"
    rules = "rules:\n" + body + "  - {name: listed, on: Call, when: {app: helpdesk, number: {table: t}}, tag: listed}\n"
    return [Source(file, text.encode()), Source("rules/table.yaml", rules.encode())]


def resident_mb(field: str = "VmRSS") -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024


def measure(size: int, kind: str) -> dict[str, float]:
    dice = random.Random(1)
    house = House()
    base = Source("rules/base.yaml", rules_text(size, dice).encode())
    tables = table_sources(kind, dice) if kind else []
    house.compile([Source("warm.yaml", rules_text(10, dice).encode())])
    if kind:
        rules = house.compile([base])  # so that what is measured is the table
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the most that was resident so far
    before, begun, cpu = resident_mb(), time.perf_counter(), time.process_time()
    rules = house.compile([*tables, base])
    loaded, cpu = time.perf_counter() - begun, time.process_time() - cpu
    gc.collect()
    memory = resident_mb() - before
    peak = resident_mb("VmHWM") - before

    listed = tables[0].data.decode() if kind else base.data.decode()
    found = re.findall(r"\+36\d{7,9}", listed)
    known = dice.sample(found, min(1_000, len(found)))
    known += [f"{dice.choice(NUMBERING)}{dice.randrange(2_000_000, 9_000_000)}" for _ in range(NUMBERS - len(known))]
    whole = house.decider(rules)
    asked = [
        ("Call", _APPS[index % 3], dice.choice(known), str(1000 + index % 4000), MIDNIGHT + index / 100)
        for index in range(DECISIONS)
    ]
    for number in known:
        house.reader.read(number)
    for message in asked[:NUMBERS]:
        whole(*message)
    gc.collect()
    gc.freeze()
    took = _times(whole, asked)
    new = {f"+3670{dice.randrange(2_000_000, 9_000_000)}" for _ in range(UNSEEN)} - set(known)
    unseen = _times(whole, [("Call", "crm", number, "1001", MIDNIGHT) for number in sorted(new)])
    return {
        "p50": took[len(took) // 2],
        "p99": took[len(took) * 99 // 100],
        "unseen": unseen[len(unseen) // 2],
        "load": loaded,
        "cpu": cpu,
        "memory": memory,
        "peak": peak,
        "decisions": len(took),
    }


def _times(whole: Decide, messages: list[tuple[str, str, str, str, float]]) -> list[float]:
    """Microseconds of each, sorted, without what looking at the clock takes."""
    clock, took = time.perf_counter_ns, []
    for message in messages:
        begun = clock()
        whole(*message)
        took.append(clock() - begun)
    empty = sorted(-clock() + clock() for _ in range(10_000))[5_000]
    return [(each - empty) / 1000 for each in sorted(took)]


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")))
