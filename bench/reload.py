"""What a reload costs those who are being served: the latency while policies are exchanged, beside the quiet one.

    python -m bench reload                       # 100 reloads of 10,000 rules
    python -m bench reload --reloads 10 --rules 1000

Interceptor stands under the load of wrk on all connections the whole time. Quiet seconds and reloads take turns, so
that what disturbs the machine disturbs both. Two policies alternate, both of which let the load pass; whatever is not
answered by the back end is a failure.
"""

import argparse
import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from msgspec import Struct

from bench import machine
from bench.backend import Backend
from bench.contestant import Site
from bench.load import Counted, Load, read_output, write_script
from bench.processes import Pen, Running, StartError, fetch, free_ports, resident_bytes, wait_until
from bench.proxies.interceptor import environment, launch
from bench.rules import as_interceptor

NOTES_BEGIN: Final = "<!-- reload: between these two marks stands what `python -m bench reload` measured -->"
NOTES_END: Final = "<!-- end of reload -->"
_LOAD: Final = Load(64)
_RELOAD_SECONDS: Final = 300.0
_LONGER: Final = 36_000  # wrk is told to stop earlier
_LEAST_SECONDS: Final = 2.0  # one that is told so before it has begun prints nothing


class Round(Struct, frozen=True):
    """One quiet time and one time of reloads after another; ``seconds`` of each reload from its request to its end."""

    quiet: Counted
    during: Counted
    seconds: tuple[float, ...]


class Figures(Struct, frozen=True):
    """One measurement."""

    rules: int
    rounds: tuple[Round, ...]
    failed: int
    load_average: float
    memory_before: int
    memory_after: int

    @property
    def reloads(self) -> int:
        return sum(len(each.seconds) for each in self.rounds)

    @property
    def requests(self) -> int:
        return sum(each.during.requests for each in self.rounds)

    @property
    def ratio(self) -> float:
        """The 99th percentile while policies are exchanged, of the quiet one: the median over the rounds."""
        return median(each.during.p99 / max(1, each.quiet.p99) for each in self.rounds)


def measure(
    pen: Pen, folder: Path, *, reloads: int, rules: int, rounds: int, cores: tuple[list[int], list[int]]
) -> Figures:
    """Measure on a machine: the proxy on the first cores, the load on the others, the examiner wherever it is free."""
    proxy_cores, load_cores = cores
    load_average = os.getloadavg()[0]
    backend = Backend(pen, folder, load_cores)
    port, admin = free_ports(2)
    site = Site(folder / "reload", port, admin, backend.port)
    command = launch(site, rules, "relaxed", policy="{emergency: unchecked, watch: false}")
    policies = [as_interceptor(rules), as_interceptor(rules).replace("deny-", "refuse-")]
    everywhere = sorted({*proxy_cores, *load_cores, *os.sched_getaffinity(0)})
    running = pen.start("reload", command, cores=everywhere, folder=folder, environment=environment())
    wait_until(running, lambda: fetch(admin, "/readyz")[0] == 200, 120.0)
    _pin_main(running, proxy_cores)
    script = write_script(_LOAD, folder)
    _load(pen, script, port, load_cores, lambda: time.sleep(2.0))
    before = resident_bytes(running.popen.pid)
    found: list[Round] = []
    done = 0
    for turn in range(rounds):
        count = reloads * (turn + 1) // rounds - done
        coming = [policies[(done + at + 1) % 2] for at in range(count)]
        quiet, _ = _load(pen, script, port, load_cores, lambda: time.sleep(5.0))
        during, seconds = _load(pen, script, port, load_cores, partial(_reload_all, site, coming))
        done += count
        found.append(Round(quiet, during, tuple(seconds)))
        print(
            f"reload    round {turn + 1}/{rounds}  quiet p99 {quiet.p99:,} µs  {count} reloads p99 {during.p99:,} µs"
            f"  {during.requests_per_second:,.0f}/s of {quiet.requests_per_second:,.0f}/s"
            f"  {median(seconds):.1f} s each  errors {quiet.errors + during.errors}",
            flush=True,
        )
    failed = sum(each.quiet.errors + each.during.errors for each in found) + _refused(admin)
    return Figures(rules, tuple(found), failed, load_average, before, resident_bytes(running.popen.pid))


def _load(pen: Pen, script: Path, port: int, cores: list[int], meanwhile: Any) -> tuple[Counted, Any]:
    """Keep wrk running for as long as something takes; what wrk counted, and what that gave."""
    command = ["wrk", "-t1", f"-c{_LOAD.connections}", f"-d{_LONGER}s", "--timeout", "10s", "-s", str(script)]
    wrk = pen.start("wrk", [*command, f"http://127.0.0.1:{port}"], cores=cores)
    begun = time.monotonic()
    try:
        given = meanwhile()
        time.sleep(max(0.0, begun + _LEAST_SECONDS - time.monotonic()))
        wrk.popen.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            wrk.popen.wait(30)
    finally:
        pen.stop(wrk)
    return read_output(wrk.log.read_text("utf-8", "replace")), given


def _reload_all(site: Site, coming: list[str]) -> list[float]:
    return [_reload(site, policy) for policy in coming]


def _reload(site: Site, policy: str) -> float:
    """Put a policy in the place of the present one and load it; the seconds it took."""
    place = site.folder / "rules" / "10-dialling.yaml"
    beside = place.with_name(".new")
    beside.write_text(policy)
    beside.replace(place)
    connection = http.client.HTTPConnection("127.0.0.1", site.spare_port, timeout=_RELOAD_SECONDS)
    begin = time.monotonic()
    try:
        connection.request("POST", "/policy/reload")
        told = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    if told["outcome"] != "loaded":
        raise StartError(f"a reload was {told['outcome']}: {told['message']}")
    return time.monotonic() - begin


def _refused(admin: int) -> int:
    """Commands that were not answered by the back end with its 200, of all since the start."""
    lines = fetch(admin, "/metrics")[1].decode().splitlines()
    commands = [line for line in lines if line.startswith("interceptor_commands_total{")]
    return sum(int(float(line.rpartition(" ")[2])) for line in commands if 'code="200"' not in line)


def _pin_main(running: Running, cores: list[int]) -> None:
    """Keep what serves on its cores; processes that it starts later may use all, as they would elsewhere."""
    for thread in Path(f"/proc/{running.popen.pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), cores)


def table(figures: Figures) -> str:
    """The figures as a part of the page."""
    quiet = median(each.quiet.p99 / 1000 for each in figures.rounds)
    during = median(each.during.p99 / 1000 for each in figures.rounds)
    seconds = [second for each in figures.rounds for second in each.seconds]
    ratios = [each.during.p99 / max(1, each.quiet.p99) for each in figures.rounds]
    verdict = "reached" if figures.ratio < 3 else "**missed**"
    rows = [
        ("reloads, rules in each", f"{figures.reloads}, {figures.rules:,}"),
        ("requests meanwhile", f"{figures.requests:,}"),
        ("failed requests (goal: none)", f"{figures.failed}, {'reached' if not figures.failed else '**missed**'}"),
        ("p99 quiet, ms", f"{quiet:.2f}"),
        ("p99 while policies are exchanged, ms", f"{during:.2f}"),
        (
            "p99 of the quiet one (goal: below 3)",
            f"{figures.ratio:.2f} [{min(ratios):.2f}–{max(ratios):.2f}], {verdict}",
        ),
        ("slowest answer quiet, meanwhile, ms", _slowest(figures)),
        (
            "from the request to the new policy in force, s",
            f"{median(seconds):.1f} [{min(seconds):.1f}–{max(seconds):.1f}]",
        ),
        ("load average of the machine before (a quiet one: below 0.3)", f"{figures.load_average:.1f}"),
        ("memory before, after, MB", f"{figures.memory_before / 1e6:.0f}, {figures.memory_after / 1e6:.0f}"),
    ]
    lines = ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(lines)


def _slowest(figures: Figures) -> str:
    quiet, during = (max(count.max for count in counts) / 1000 for counts in _both(figures))
    return f"{quiet:.0f}, {during:.0f}"


def _both(figures: Figures) -> tuple[list[Counted], list[Counted]]:
    return [each.quiet for each in figures.rounds], [each.during for each in figures.rounds]


def put_on_page(page: Path, figures: Figures, at: str) -> None:
    """Write the part of the page that is ours."""
    text = page.read_text("utf-8")
    part = (
        f"{NOTES_BEGIN}\n\n## Reload under load\n\n"
        f"Measured {at} by `python -m bench reload`: wrk on {_LOAD.connections} connections, one worker on one core, "
        "journal `relaxed`; two policies alternate. The examination runs in a process of its own, wherever there is a "
        "core to spare.\n\n"
        f"{table(figures)}\n\n{NOTES_END}"
    )
    before, found, rest = text.partition(NOTES_BEGIN)
    after = rest.partition(NOTES_END)[2] if found else ""
    page.write_text(f"{before.rstrip()}\n\n{part}\n{after}" if found else f"{text.rstrip()}\n\n{part}\n", "utf-8")


def kept_part(page_before: str) -> str:
    """Our part of an earlier page, with its marks; ``""`` where there is none."""
    _, found, rest = page_before.partition(NOTES_BEGIN)
    return f"{NOTES_BEGIN}{rest.partition(NOTES_END)[0]}{NOTES_END}" if found else ""


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command line may say."""
    parser.add_argument("--reloads", type=int, default=100, help="how many (100)")
    parser.add_argument("--rules", type=int, default=10_000, help="rules in each policy (10000)")
    parser.add_argument("--rounds", type=int, default=5, help="how many times quiet and reloads take turns (5)")
    parser.add_argument("--page", type=Path, help="write the figures into this page")


def run(options: argparse.Namespace, folder: Path) -> int:
    """Measure and print; 1 where a request failed."""
    work = folder / f"reload-{os.getpid()}"
    with Pen(work / "logs") as pen:
        figures = measure(
            pen, work, reloads=options.reloads, rules=options.rules, rounds=options.rounds, cores=machine.cores()
        )
    print(f"\n{table(figures)}")
    if options.page:
        put_on_page(options.page, figures, time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()))
    return 1 if figures.failed else 0
