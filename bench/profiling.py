"""Where Interceptor's time goes under load: py-spy where it is installed, else cProfile."""

import argparse
import pstats
import shutil
from collections import Counter
from pathlib import Path

from bench import machine
from bench.load import Load, run_wrk
from bench.measure import Course
from bench.plan import POLICY_RULES
from bench.processes import Pen
from bench.proxies import interceptor
from bench.results import Results

_RATE = 500  # samples a second
_LOOP = ("run (asyncio/runners.py", "Runner.run (asyncio/runners.py")
_WAITING = ("PyThread_acquire_lock_timed", "epoll_")  # with C frames, py-spy takes waiting threads for busy ones


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m bench profile``."""
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rules", type=int, default=POLICY_RULES)
    parser.add_argument("--durability", choices=("relaxed", "strict"), default="relaxed")
    parser.add_argument("--close", action="store_true", help="every request on a connection of its own")
    parser.add_argument("--distinct", action="store_true", help="every answer of the back end differs")
    parser.add_argument("--denied", type=float, default=0.0, help="share of requests that the rules refuse")
    parser.add_argument("--lines", type=int, default=35, help="how many lines of each list")
    parser.add_argument("--by-line", action="store_true", help="py-spy: count lines, not functions")
    parser.add_argument("--native", action="store_true", help="py-spy: look into C extensions as well")
    parser.add_argument("--cprofile", action="store_true", help="cProfile even where py-spy is installed")


def profile(options: argparse.Namespace, folder: Path) -> int:
    """Start Interceptor, load it, and print the functions that take the most time."""
    spy = folder / "venv" / "bin" / "py-spy"
    by_sampling = spy.exists() and not options.cprofile
    work = folder / "profile"
    shutil.rmtree(work, ignore_errors=True)
    proxy_cores, load_cores = machine.cores()
    results = Results(at="", machine={}, versions={}, settings={})
    dump = work / "cprofile.out"
    wrapper = () if by_sampling else ("-m", "cProfile", "-o", str(dump))
    contestant = interceptor.make("interceptor", "Interceptor", options.rules, options.durability, wrapper=wrapper)
    load = Load(options.connections, options.close, options.distinct, options.denied)
    with Pen(work / "logs") as pen:
        course = Course(pen, work, proxy_cores, load_cores, results)
        started = course.start(contestant)
        if not started:
            print("\n".join(results.remarks))
            return 1
        if by_sampling:
            stacks = work / "stacks.txt"
            command = [str(spy), "record", "--pid", str(started.running.busiest()), "--rate", str(_RATE)]
            command += ["--duration", str(options.seconds), "--format", "raw", "--output", str(stacks), "--threads"]
            # Reading C frames needs the process to stand still for each sample, which slows it down.
            command += ["--native" if options.native else "--nonblocking"]
            watching = pen.start("py-spy", command, cores=load_cores)
        used = started.running.cpu_seconds()
        counted = run_wrk(pen, course.script(load), started.site.port, load, seconds=options.seconds, cores=load_cores)
        used = started.running.cpu_seconds() - used
        print(
            f"{counted.requests_per_second:,.0f} requests a second, {used * 1e6 / max(1, counted.requests):.1f} µs each"
        )
        if by_sampling:
            watching.popen.wait(options.seconds + 30)
    if by_sampling:
        if not stacks.exists():
            print(watching.last_words())
            return 1
        print(read_stacks(stacks.read_text("utf-8", "replace"), options.lines, by_line=options.by_line))
    else:
        pstats.Stats(str(dump)).sort_stats("tottime").print_stats(options.lines)
    return 0


def read_stacks(text: str, lines: int, *, by_line: bool = False) -> str:
    """Two lists out of py-spy's raw format (``outer;inner COUNT``): time in a function, and with all it calls."""
    itself: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if not count.isdigit() or any(frame.startswith(_WAITING) for frame in frames):
            continue
        # What stands above the event loop is the same for every sample and says nothing.
        begin = max((place for place, frame in enumerate(frames) if frame.startswith(_LOOP)), default=-1) + 1
        frames = [frame if by_line else _without_line(frame) for frame in frames[begin:] or frames[-1:]]
        itself[frames[-1]] += int(count)
        within.update(dict.fromkeys(frames, int(count)))
    total = max(1, itself.total())
    parts = [f"{total} samples"]
    for title, counter in (("the function itself", itself), ("with what it calls", within)):
        parts.append(f"\n   share  {title}")
        parts += [f"{count / total:8.1%}  {frame}" for frame, count in counter.most_common(lines)]
    return "\n".join(parts)


def _without_line(frame: str) -> str:
    # `name (folder/file.py:12)`: the lines of one function belong together.
    name, bracket, place = frame.rpartition(" (")
    return f"{name} ({place.rpartition(':')[0] or place.rstrip(')')})" if bracket else frame
