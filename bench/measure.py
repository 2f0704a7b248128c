"""Carries out a plan: starts the contestants, loads them in turn, round by round, and keeps what was counted."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from bench.backend import Backend
from bench.contestant import Contestant, Site
from bench.load import Counted, Load, path_of, run_wrk, write_script
from bench.plan import DIRECT, SHARED, Measure
from bench.processes import Pen, Running, StartError, fetch, free_ports, resident_bytes, wait_until
from bench.results import Case, Reading, Results, Sample
from bench.rules import allowed_numbers, denied_numbers

_WARM_UP = Load(16)


class Started:
    """A contestant that runs."""

    def __init__(self, contestant: Contestant, running: Running, site: Site) -> None:
        self.contestant = contestant
        self.running = running
        self.site = site


class Course:
    """The place where all of it happens: a folder, two sets of cores, a back end, and who has been started."""

    def __init__(self, pen: Pen, folder: Path, proxy_cores: list[int], load_cores: list[int], results: Results) -> None:
        self.pen = pen
        self.folder = folder
        self.proxy_cores = proxy_cores
        self.load_cores = load_cores
        self.results = results
        self.backend = Backend(pen, folder, load_cores)
        self._started: dict[str, Started] = {}
        self._scripts: dict[Load, Path] = {}

    def start(self, contestant: Contestant, *, check: bool = True) -> Started | None:
        """Start a contestant, make sure that it does what it should, and warm it up; ``None`` with a remark if not."""
        if contestant.key in self._started:
            return self._started[contestant.key]
        port, spare_port = free_ports(2)
        site = Site(self.folder / contestant.key, port, spare_port, self.backend.port)
        launch = contestant.prepare(site)
        cores = self._cores(contestant)
        running = self.pen.start(
            contestant.key, launch.command, cores=cores, folder=launch.folder, environment=launch.environment
        )
        try:
            took = wait_until(
                running, lambda: fetch(launch.ready_port, launch.ready_path)[0] == 200, launch.seconds_to_start
            )
            if check:
                _check(contestant, port, running)
            # Counted like any other load: a proxy that answers nothing under load is told now, not after ten minutes.
            counted = run_wrk(self.pen, self.script(_WARM_UP), port, _WARM_UP, seconds=1, cores=self.load_cores)
            if not counted.requests:
                raise StartError(f"{contestant.key} answers nothing under load:\n{running.last_words()}")
        except StartError as error:
            self.pen.stop(running)
            self.remark(f"{contestant.key} did not take part: {error}")
            return None
        self.results.titles[contestant.key] = contestant.title
        self.results.seconds_to_start[contestant.key] = round(took, 2)
        self._started[contestant.key] = Started(contestant, running, site)
        return self._started[contestant.key]

    def stop(self, keys: Iterable[str]) -> None:
        """Stop these, where they run."""
        stopped = [self._started.pop(key) for key in list(keys) if key in self._started]
        self.pen.stop(*(started.running for started in stopped))

    def script(self, load: Load) -> Path:
        """The wrk script of a load."""
        if load not in self._scripts:
            self._scripts[load] = write_script(load, self.folder)
        return self._scripts[load]

    def measure(self, measure: Measure, known: dict[str, Contestant], told: Callable[[str], None]) -> None:
        """All rounds of one case. Within a round everyone runs once, so what disturbs one disturbs all."""
        taking_part = [key for key in measure.contestants if key in (DIRECT, SHARED) or self.start(known[key])]
        self.results.cases.append(Case(measure.key, measure.title))
        for turn in range(measure.rounds):
            for key in taking_part:
                sample = self._sample(measure, turn, key)
                self.results.samples.append(sample)
                told(
                    f"{measure.key:12} round {turn + 1}/{measure.rounds}  {key:28}{sample.requests_per_second:10,.0f}/s"
                    f"  p50 {sample.counted.p50:6,} µs  {sample.cpu_microseconds:7.1f} µs of processor each"
                )

    def _sample(self, measure: Measure, turn: int, key: str) -> Sample:
        started = self._started.get(key)
        port = started.site.port if started else self.backend.port
        spread_out = started is not None and started.contestant.all_cores
        cores = self._all_cores() if spread_out else self.load_cores
        self.backend.running.pin(self.proxy_cores if key == DIRECT else cores)
        before_cpu = started.running.cpu_seconds() if started else 0.0
        before = self.backend.requests()
        counted = run_wrk(self.pen, self.script(measure.load), port, measure.load, seconds=measure.seconds, cores=cores)
        passed = (self.backend.requests() - before - 1) / max(1, counted.requests)
        cpu = (started.running.cpu_seconds() if started else 0.0) - before_cpu
        self._remark_on(measure, key, counted, passed)
        return Sample(measure.key, turn, key, counted, round(cpu, 2), round(passed, 4))

    def _remark_on(self, measure: Measure, key: str, counted: Counted, passed: float) -> None:
        if counted.errors:
            self.remark(f"{measure.key}: {key} had {counted.errors} errors in {counted.requests} requests")
        # What was in flight when wrk stopped reaches the back end without being counted by wrk.
        slack = 0.01 + 2 * measure.load.connections / max(1, counted.requests)
        if abs(passed - (1 - measure.load.denied)) > slack:
            self.remark(f"{measure.key}: the back end saw {passed:.1%} of the requests sent to {key}")

    def memory(self, contestant: Contestant, exchanges: int, told: Callable[[str], None]) -> None:
        """Readings of a fresh worker's memory over so many exchanges, the first after 50,000."""
        self.stop([contestant.key])
        started = self.start(contestant)
        if not started:
            return
        load, readings = Load(64), list[Reading]()
        marks = [min(50_000, exchanges), *range(100_000, exchanges, 100_000), exchanges]
        base = self.backend.requests()
        # One long wrk run, watched from outside: a run for each reading would hide what connections leave behind.
        command = ["wrk", "-t1", f"-c{load.connections}", "-d900s", "-s", str(self.script(load))]
        wrk = self.pen.start("wrk", [*command, f"http://127.0.0.1:{started.site.port}"], cores=self.load_cores)
        try:
            while marks and wrk.popen.poll() is None and started.running.popen.poll() is None:
                time.sleep(0.1)
                done = self.backend.requests() - base
                if done >= marks[0]:
                    readings.append(Reading(done, resident_bytes(started.running.busiest())))
                    told(f"memory after {done:9,} exchanges: {readings[-1].resident / 1e6:.1f} MB")
                    marks = [mark for mark in marks if mark > done]
        finally:
            self.pen.stop(wrk)
        if marks:
            self.remark(
                f"memory: {contestant.key} did not get to {marks[-1]:,} exchanges: {started.running.last_words()}"
            )
        self.results.memory[contestant.key] = readings

    def remark(self, text: str) -> None:
        """Keep something that the reader of the figures has to know."""
        if text not in self.results.remarks:
            self.results.remarks.append(text)

    def _cores(self, contestant: Contestant) -> list[int]:
        return self._all_cores() if contestant.all_cores else self.proxy_cores

    def _all_cores(self) -> list[int]:
        return sorted(os.sched_getaffinity(0) | set(self.proxy_cores) | set(self.load_cores))


def _check(contestant: Contestant, port: int, running: Running) -> None:
    """Make sure that it forwards what is allowed and refuses what is not: doing nothing is fast, too."""
    good = path_of(allowed_numbers()[0], 0)
    bad = path_of(denied_numbers(1)[0], 0)
    expected = [("allowed", good, b"<Code>200</Code>")]
    if contestant.rules:
        expected += [
            ("denied", bad, b"<Code>306</Code>"),
            ("with a wrong password", good.replace("-secret", "-guess"), b"<Code>305</Code>"),
        ]
    for words, path, code in expected:
        status, body = fetch(port, path)
        if status != 200 or code not in body:
            told = f"answered a command {words} with {status} {body[:300]!r}"
            raise StartError(f"{contestant.key} {told}\n{running.last_words()}")
