"""What the figures were measured on, and with what."""

import os
import platform
import subprocess
from pathlib import Path

import bench.proxies.envoy
import bench.proxies.haproxy
import bench.proxies.interceptor
import bench.proxies.mitmdump
import bench.proxies.nginx


def describe(folder: Path) -> dict[str, str]:
    """The machine, in words."""
    model = _field(Path("/proc/cpuinfo"), "model name") or platform.machine()
    memory = _field(Path("/proc/meminfo"), "MemTotal").split()
    return {
        "processor": f"{model}, {os.cpu_count()} cores, {len(os.sched_getaffinity(0))} of them usable",
        "memory": f"{int(memory[0]) / 1048576:.0f} GiB" if memory else "unknown",
        "kernel": f"{platform.system()} {platform.release()}",
        "file system of the journal": _file_system(folder),
        "load average before": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }


def versions(venv: Path) -> dict[str, str]:
    """The versions of all that took part; what is not installed is left out."""
    told = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout.split()
    found = {
        "interceptor": bench.proxies.interceptor.version(),
        "python": f"{platform.python_version()} ({platform.python_compiler()})",
        "nginx": bench.proxies.nginx.version(),
        "haproxy": bench.proxies.haproxy.version(),
        "envoy": bench.proxies.envoy.version(venv),
        "mitmdump": bench.proxies.mitmdump.version(),
        "wrk": told[1] if len(told) > 1 else "",
    }
    return {name: version for name, version in found.items() if version}


def cores() -> tuple[list[int], list[int]]:
    """The core of the proxies, and the core of load and back end."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise SystemExit("bench: two cores are needed, one for the proxy and one for load and back end")
    return usable[-1:], usable[:1]


def _field(file: Path, name: str) -> str:
    for line in file.read_text("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _file_system(folder: Path) -> str:
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        device, place, found, *_ = line.split()
        if f"{folder.resolve()}/".startswith(place.rstrip("/") + "/") and len(place) >= len(best):
            best, kind = place, f"{found} on {device}"
    return kind
