"""Starts the real parts of the gateway's tests, and ends them with the test."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mitmproxy.certs import CertStore

from tests.gateway.harness import ALLOW_ALL, Backend, Loop, Proxy, Script, settings_for
from tests.gateway.process import Process


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """mitmproxy makes a certificate authority for each new folder, longer than most tests take: here one for all.

    Processes that a test starts make their own.
    """
    folder = tmp_path_factory.mktemp("authority")
    made = CertStore.from_store(folder, "mitmproxy", 2048)

    def from_store(path: str, *_: Any, **__: Any) -> CertStore:
        shutil.copytree(folder, path, dirs_exist_ok=True)
        return CertStore(made.default_privatekey, made.default_ca, None, made.default_crl, made.dhparams)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CertStore, "from_store", from_store)
        yield


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
        each.stop()


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
