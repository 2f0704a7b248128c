"""How hard the properties look: `quick`, or `deep` with HYPOTHESIS_PROFILE=deep. Their coverage is not taken.

And what saves time in all of the tests.
"""

import gc
import importlib
import os
import pkgutil
import shutil
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

# No deadline: the machine is shared, and a slow moment is no fault. The examples that failed are kept out of the tree.
settings.register_profile("quick", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "deep",
    deadline=None,
    max_examples=100_000,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

# Whoever starts us in the background of a script has taken Ctrl-C from us, and from every process that we start; some
# tests are about what it does to those.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are processors: somebody always waits for a deadline or for a process to start.

    A third of the time that one alone takes is such waiting. Each further one costs what it takes to collect.
    """
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Let one tracer watch, and not two: a process of several gets a second, and pausing that one wakes the first.

    What is not to be watched would be after all, at five times its price.
    """
    coverage = _coverage(session.config)
    if coverage is not None and hasattr(session.config, "workerinput"):
        coverage.pause()  # for good: its own begins after this


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give what was found its order back, and keep properties and fuzzing out of the coverage.

    Watched line by line, they take up to eight times as long.

    It also makes the coverage say more: a line counts only where an example has been that somebody chose, the same in
    each run. A long loop of another test is kept out by its own mark, `no_cover`.
    """
    items.sort(key=lambda item: item.path)
    for item in items:
        if isinstance(item, pytest.Function) and (is_hypothesis_test(item.obj) or item.get_closest_marker("fuzz")):
            item.add_marker("no_cover")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Collect without being watched: pytest rewrites every assertion, which under a tracer takes twice as long.

    What is measured is imported before, since the lines of a module's head count. And what is collected stays to the
    end: the collector of rubbish looks at nothing of it, neither now nor later.
    """
    _begin_elsewhere(session.config)
    coverage = _coverage(session.config)
    gc.disable()
    if coverage is not None:
        coverage.pause()
        importlib.import_module("hpack.huffman_table")  # a second under a tracer, which nobody measures
        coverage.resume()
        _import_all()
        coverage.pause()
    try:
        return (yield)
    finally:
        if coverage is not None:
            coverage.resume()
        gc.freeze()
        gc.enable()


def _coverage(config: pytest.Config) -> Any:
    """Who watches which lines are run, if anybody does."""
    return getattr(config.pluginmanager.getplugin("_cov"), "cov_controller", None)


def _begin_elsewhere(config: pytest.Config) -> None:
    """Have each of several workers begin with other files: what one has rewritten the others need only read."""
    worker = getattr(config, "workerinput", None)
    if worker is None or config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    files = sorted(str(path) for path in (config.rootpath / "tests").rglob("test_*.py"))
    first = int(worker["workerid"].removeprefix("gw")) * len(files) // worker["workercount"]
    config.args = files[first:] + files[:first]


def _import_all() -> None:
    import interceptor

    for module in pkgutil.walk_packages(interceptor.__path__, "interceptor."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)


@pytest.fixture(scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """mitmproxy makes a certificate authority for each new folder, longer than most tests take: here one for all.

    Processes that a test starts make their own.
    """
    from mitmproxy.certs import CertStore

    folder = tmp_path_factory.mktemp("authority")
    made = CertStore.from_store(folder, "mitmproxy", 2048)

    def from_store(path: str, *_: Any, **__: Any) -> CertStore:
        shutil.copytree(folder, path, dirs_exist_ok=True)
        return CertStore(made.default_privatekey, made.default_ca, None, made.default_crl, made.dhparams)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CertStore, "from_store", from_store)
        yield
