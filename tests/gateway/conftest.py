"""Starts the real parts of the gateway's tests, and ends them with the test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.harness import ALLOW_ALL, Backend, Loop, Proxy, Script, settings_for
from tests.gateway.process import Process


@pytest.fixture(scope="session", autouse=True)
def authority(one_authority: None) -> None:
    """One for all."""


@pytest.fixture
def loop() -> Iterator[Loop]:
    running = Loop()
    yield running
    running.close()


@pytest.fixture
def backend(loop: Loop) -> Iterator[Callable[[Script], Backend]]:
    """Starts back ends, and ends them with the test."""
    started: list[Backend] = []

    def start(script: Script) -> Backend:
        started.append(Backend(loop, script).start())
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.fixture
def proxy(loop: Loop, tmp_path: Path) -> Iterator[Callable[..., Proxy]]:
    """Starts Interceptor in front of back ends, and ends it with the test."""
    started: list[Proxy] = []

    def start(pbx: list[int] | int, app: int = 9, *, rules: str = ALLOW_ALL, **changes: Any) -> Proxy:
        ports = pbx if isinstance(pbx, list) else [pbx]
        started.append(Proxy(loop, settings_for(tmp_path, ports, app, **changes), rules).start())
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts Interceptor as a process, and sees that nothing of it is left."""
    started: list[Process] = []

    def start(*pbx: int, folder: Path | None = None, **changes: Any) -> Process:
        if folder is None:
            folder = tmp_path / f"site{len(started)}"
            folder.mkdir()
        started.append(Process(folder, pbx, **changes))
        return started[-1]

    yield start
    for each in started:
        each.kill()
