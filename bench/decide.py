"""Measures the decision alone: latency, load time and memory of compiled sets of growing size.

``python bench/decide.py [SIZES…]`` prints a table. Each size runs in a process of its own, so that memory is its own.
The facts are made before, of numbers that the rules know and of numbers that they do not.
"""

import gc
import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path

SIZES = (10, 100, 1_000, 10_000, 100_000)
DECISIONS = 200_000
APPS = ("crm", "switchboard", "marketing")


def rules_text(size: int, rng: random.Random) -> str:
    """A policy as operators grow it: half exact numbers, a third prefixes, the rest apps, times, texts and effects."""
    rules = []
    for index in range(size - 4):
        match index % 6:
            case 0 | 1 | 2:
                when, act = f'{{number: "+3620{rng.randrange(10**7):07}"}}', "deny: {code: 306, message: blocked}"
            case 3 | 4:
                prefix = f"+{rng.randrange(10 ** rng.randrange(3, 8)) + 100}"
                when, act = f"{{app: {rng.choice(APPS)}, number: {{prefix: '{prefix}'}}}}", "deny: true"
            case _:
                when = f"{{caller: '{1000 + index % 9000}', time: {{days: mon-fri, hours: '08:00-18:00'}}}}"
                act = f"tag: t{index % 50}"
        names = ("[Call, BlindTransfer, Forward]", "Call", "command")[index % 3]
        rules.append(f"  - name: rule-{index}\n    on: {names}\n    when: {when}\n    {act}\n")
    rules.append('  - {name: line, on: Call, when: {app: crm}, rewrite: {set: {CallerId: "+3612222222"}}}\n')
    rules.append("  - {name: marketing, on: command, when: {app: marketing}, reroute: pbx-marketing}\n")
    rules.append('  - {name: spam, on: SendSms, when: {Message: {regex: "(?i)lottery"}}, deny: true}\n')
    rules.append("  - {name: rest, on: command, allow: true}\n")
    return "rules:\n" + "".join(rules)


def resident_mb() -> float:
    """Resident memory of this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def measure(size: int) -> dict[str, float]:
    """One row of the table."""
    from interceptor.policy import Context, Source, compile_policy  # noqa: PLC0415 - the parent does not need it
    from interceptor.values import Facts, Kind, Number, NumberClass, Verdict  # noqa: PLC0415

    def number(text: str) -> Number:
        number_class = NumberClass.INTERNAL if len(text) == 4 else NumberClass.MOBILE
        return Number(text, text, "HU" if text.startswith("+36") else "", number_class)

    rng = random.Random(1)
    context = Context(
        ("Call", "BlindTransfer", "Forward", "SendSms", "ListActiveCalls"),
        ("RoutingInterception", "CallChanged"),
        ("Call", "BlindTransfer", "Route"),
        frozenset(APPS),
        frozenset(("pbx-main", "pbx-marketing")),
        {Kind.COMMAND: Verdict.DENY, Kind.NOTIFICATION: Verdict.ALLOW, Kind.VERB: Verdict.DENY},
        "Europe/Budapest",
        number,
    )
    data = rules_text(size, rng).encode()
    compile_policy([Source("warm.yaml", rules_text(10, rng).encode())], context)
    gc.collect()
    before, begun = resident_mb(), time.perf_counter()
    rules = compile_policy([Source("rules.yaml", data)], context)
    loaded = time.perf_counter() - begun
    gc.collect()
    memory = resident_mb() - before

    known = re.findall(r"\+3620\d{7}", data.decode()) or ["+36201234567"]
    values = {"command": "Call", "dialed": "+36201234567", "callerid": "1001", "url": "http://app.test/connected"}
    asked = []
    for index in range(DECISIONS):
        text = known[index % len(known)] if index % 4 == 0 else f"+{rng.randrange(10**9, 10**11)}"
        asked.append(
            Facts(
                Kind.COMMAND, "Call", APPS[index % 3], "127.0.0.1", number(text),
                number(str(1000 + index % 9000)), values, {}, 1_700_000_000.0 + index / 1000,
            )
        )  # fmt: skip
    decide, clock = rules.decide, time.perf_counter_ns
    for facts in asked[:5000]:
        decide(facts)
    gc.collect()
    gc.freeze()
    took = []
    for facts in asked:
        begun = clock()
        decide(facts)
        took.append(clock() - begun)
    took.sort()
    empty = sorted(-clock() + clock() for _ in range(10_000))[5_000]
    return {
        "rules": size,
        "p50": (took[len(took) // 2] - empty) / 1000,
        "p99": (took[len(took) * 99 // 100] - empty) / 1000,
        "load": loaded,
        "memory": memory,
    }


def main() -> None:
    """Print the table, one process per size."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(int(sys.argv[2]))))
        return
    sizes = [int(size) for size in sys.argv[1:]] or SIZES
    print(f"{'rules':>9} {'p50 µs':>8} {'p99 µs':>8} {'load s':>8} {'memory MB':>10}")
    for size in sizes:
        command = [sys.executable, __file__, "--one", str(size)]
        run = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
        row = json.loads(run.stdout)
        print(
            f"{size:>9,} {row['p50']:>8.2f} {row['p99']:>8.2f} {row['load']:>8.2f} {row['memory']:>10.1f}", flush=True
        )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
