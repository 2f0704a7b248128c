"""Measures one policy engine in a process of its own: ``python contest.py ENGINE WORK``.

``WORK`` is a JSON file with ``rules`` (command, app or "", prefix, hours from and to or -1), ``apps``, ``allowed``
prefixes, ``messages`` (command, app, number, hour) with the ``verdicts`` that the rules mean for the first of them, and
``seconds`` to measure, after ``warm`` messages or half a second. An engine is a module beside this one with
``load(work)``, which returns a function from a message to whether it is allowed. Nothing here needs the project, so
that the engines can live in an environment of their own.
"""

import gc
import importlib
import json
import sys
import time
from pathlib import Path


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def measure(engine: str, work: dict) -> dict[str, float]:
    module = importlib.import_module(engine)
    messages = [tuple(message) for message in work["messages"]]
    gc.collect()
    before, begun, cpu = resident_mb(), time.perf_counter(), time.process_time()
    decide = module.load(work)
    loaded, cpu = time.perf_counter() - begun, time.process_time() - cpu
    gc.collect()
    memory = resident_mb() - before
    for message, allowed in zip(messages[:20], work["verdicts"], strict=False):
        found = decide(message)
        if found is not allowed:
            sys.exit(f"{engine} says {found} to {message}, the rules mean {allowed}")
    clock, took = time.perf_counter_ns, []
    gc.freeze()
    end = clock() + 500_000_000
    for message in messages[: work["warm"]]:
        if clock() > end:
            break
        decide(message)
    end = clock() + int(work["seconds"] * 1e9)
    while len(took) < len(messages) and (clock() < end or len(took) < 5):
        begun = clock()
        decide(messages[len(took)])
        took.append(clock() - begun)
    took.sort()
    empty = sorted(-clock() + clock() for _ in range(1000))[500]
    return {
        "decisions": len(took),
        "p50": (took[len(took) // 2] - empty) / 1000,
        "p99": (took[len(took) * 99 // 100] - empty) / 1000,
        "load": loaded,
        "cpu": cpu,
        "memory": memory,
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))))
