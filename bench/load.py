"""The load: wrk with a script that varies the dialled number, and what it tells at the end."""

import contextlib
import json
import math
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct

from bench.processes import Pen, StartError
from bench.rules import APPS, NUMBERS, allowed_numbers, denied_numbers

_SCRIPT = """
local requests, place = {}, 0

function init(arguments)
  for path in io.lines(%(paths)s) do
    requests[#requests + 1] = wrk.format("GET", path, %(headers)s)
  end
end

function request()
  place = place %% #requests + 1
  return requests[place]
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests":%%d,"microseconds":%%d,"bytes":%%d,"errors":%%d,"p50":%%d,"p90":%%d,"p99":%%d,"max":%%d}\\n',
    summary.requests, summary.duration, summary.bytes,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))
end
"""


class Load(Struct, frozen=True):
    """One way to load a proxy.

    ``close``: every request on a connection of its own. ``distinct``: every answer of the back end differs. ``denied``:
    the share of requests that the rules refuse.
    """

    connections: int
    close: bool = False
    distinct: bool = False
    denied: float = 0.0

    @property
    def name(self) -> str:
        """A name for a file."""
        return f"{'close' if self.close else 'keep'}{'-distinct' if self.distinct else ''}-{self.denied:.2f}"


class Counted(Struct, frozen=True):
    """What wrk counted in one run; latencies in microseconds."""

    requests: int
    microseconds: int
    bytes: int
    errors: int
    p50: int
    p90: int
    p99: int
    max: int

    @property
    def requests_per_second(self) -> float:
        return self.requests / (self.microseconds / 1e6)


def read_output(output: str) -> Counted:
    """Find the counts in what wrk printed; raises :class:`ValueError` when it printed none."""
    for line in output.splitlines():
        if line.startswith("RESULT "):
            return Counted(**json.loads(line.removeprefix("RESULT ")))
    raise ValueError(f"wrk told no result: {output.strip()[-400:]}")


def path_of(number: str, place: int) -> str:
    """A real command that dials this number."""
    app = tuple(APPS)[place % len(APPS)]
    callback = quote(f"http://10.0.0.5:8001/pbx/connected?id={place}", safe="")
    return (
        f"/?command=Call&Dialed={quote(number, safe='')}&ApiExtension=9000&CallerId={2000 + place % 700}"
        f"&Url={callback}&Username={app}&Password={APPS[app]}"
    )


def paths(denied: float) -> list[str]:
    """Request targets in the order they are sent, this share of them denied, evenly spread."""
    good, bad = allowed_numbers(), denied_numbers(NUMBERS) if denied else ()
    turns = [math.floor((place + 1) * denied) > math.floor(place * denied) for place in range(NUMBERS)]
    return [path_of((bad if refused else good)[place], place) for place, refused in enumerate(turns)]


def write_script(load: Load, folder: Path) -> Path:
    """Write the script of this load and the requests it sends."""
    targets = folder / f"{load.name}.txt"
    targets.write_text("\n".join(paths(load.denied)) + "\n")
    headers = {"Connection": "close"} if load.close else {}
    if load.distinct:
        headers["X-Answer"] = "distinct"
    table = ", ".join(f'["{name}"]="{value}"' for name, value in headers.items())
    script = folder / f"{load.name}.lua"
    script.write_text(_SCRIPT % {"paths": json.dumps(str(targets)), "headers": f"{{{table}}}"})
    return script


def run_wrk(pen: Pen, script: Path, port: int, load: Load, *, seconds: int, cores: Sequence[int]) -> Counted:
    """Load a port for so many seconds; what wrk counted. More cores, more threads."""
    threads = min(len(cores), load.connections)
    command = ["wrk", f"-t{threads}", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script)]
    running = pen.start("wrk", [*command, f"http://127.0.0.1:{port}"], cores=cores)
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.popen.wait(seconds + 30)
    finally:
        pen.stop(running)
    try:
        return read_output(running.log.read_text("utf-8", "replace"))
    except ValueError as error:
        raise StartError(str(error)) from None
