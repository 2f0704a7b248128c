"""The composition root: what a configuration file becomes when it runs.

``workers: 1`` serves in this process; more are processes of their own under ``supervisor.py``, which then owns the
admin listener.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from interceptor.admin import AdminServer
from interceptor.audit.record import Record
from interceptor.calls.ladder import Ladder
from interceptor.config import public
from interceptor.gateway.master import ListenError
from interceptor.journal import JournalError
from interceptor.live_calls import CallsPage, Wanted, ladder_from, page_of
from interceptor.loading import load_settings
from interceptor.metrics import Snapshot, merge
from interceptor.policy import Source
from interceptor.processes import open_as_many_files_as_may_be
from interceptor.rollout import Attempt, Beginning, By, Package, PolicySet, Rollout, RolloutError, begin, begin_with
from interceptor.rollout.page import attempt_page, policy_page, preview_page
from interceptor.settings import Address, Settings
from interceptor.state import keep_draining
from interceptor.supervisor import Supervisor
from interceptor.worker import Worker, new_event_loop, settle_memory

log = logging.getLogger(__name__)

_FILES_BESIDE = 256  # connections to PBXs and apps, the journal, the listeners


def load(config: Path) -> tuple[Settings, Beginning]:
    """Read a configuration, and the policy to begin with. Raises :class:`ProblemsError`, ``OSError``."""
    settings = load_settings(config, os.environ)
    return settings, begin(settings)


class Interceptor:
    """The whole proxy in this process: one worker and the admin listener.

    It begins with a policy as a start found it, or with these texts of one.
    """

    def __init__(
        self,
        settings: Settings,
        policy: Beginning | Sequence[Source],
        *,
        observe: Callable[[Record], None] | None = None,
    ) -> None:
        self._settings = settings
        beginning = policy if isinstance(policy, Beginning) else begin_with(tuple(policy), settings)
        chosen = beginning.chosen
        self.worker = Worker(settings, chosen.sources, observe=observe, rules=beginning.rules, canary=chosen.canary)
        self.rollout = Rollout(settings, self, beginning)
        self._admin = AdminServer(settings.admin, self)
        self.addresses: dict[str, Address] = {}

    async def start(self) -> None:
        """Begin to serve; ``addresses`` holds the listeners by name, and ``admin``, once it returns."""
        try:
            self.addresses = await self.worker.start()
            await self.rollout.start()
            self.addresses["admin"] = await self._admin.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Unready, stop accepting, finish what is in flight, flush the journal."""
        self.worker.drain()
        await self.rollout.stop()
        await self.worker.stop()
        await self._admin.stop()

    async def reload(self, by: By) -> Attempt:
        """Bring into force what the files say."""
        return await self.rollout.reload(by)

    # rollout.Fleet

    async def prepare(self, package: Package) -> None:
        """Have the worker compile the policy and keep it ready."""
        why = await self.worker.policies.prepare(lambda: package, package.revision)
        if why:
            raise RolloutError(why)

    async def activate(self, chosen: PolicySet) -> None:
        """Have the worker decide by the policy that it has ready."""
        if not self.worker.policies.activate(chosen.revision):
            raise RolloutError("the worker was not ready")

    async def forget(self) -> None:
        """Have the worker drop what it has ready."""
        self.worker.policies.forget()

    async def counted(self) -> Snapshot:
        """What the worker has counted."""
        return self.worker.snapshot()

    # admin.AdminSource

    async def not_ready(self) -> tuple[str, ...]:
        """Why no traffic should come here."""
        return tuple(self.worker.unready())

    async def warnings(self) -> tuple[str, ...]:
        """What an operator should know although messages are served."""
        return (*self.rollout.warnings(), *self.worker.warnings())

    async def metrics(self) -> Snapshot:
        """Everything counted."""
        return merge((self.worker.snapshot(), self.rollout.snapshot()))

    async def config(self) -> Mapping[str, Any]:
        """The configuration without its secrets."""
        return public(self._settings)

    async def policy(self) -> Mapping[str, Any]:
        """The policy in force, and how it came there."""
        revisions = {"w0": self.worker.policies.rules.revision}
        return policy_page(self.rollout, await self.metrics(), self._settings, revisions)

    async def clusters(self) -> Sequence[Mapping[str, Any]]:
        """The PBX endpoints and how they stand."""
        return self.worker.cluster_pages()

    async def outbox(self) -> Sequence[Mapping[str, Any]]:
        """How the outbox of each app stands."""
        return self.worker.outbox_pages()

    async def drain(self, cluster: str, endpoint: str, *, on: bool) -> bool:
        """Send nothing new to an endpoint, or do so again."""
        found = self.worker.set_draining(cluster, endpoint, draining=on)
        if found:
            keep_draining(self._settings.state, cluster, found, on=on)
        return bool(found)

    async def kept(self) -> Sequence[Mapping[str, Any]]:
        """The exchanges that can be explained."""
        return self.worker.kept.summaries()

    async def calls(self, most: int) -> CallsPage:
        """The newest calls."""
        live = self.worker.calls
        return page_of([live.export(Wanted(newest=most))], live.bounds, most)

    async def call(self, name: str) -> Ladder | None:
        """All that is known of one call."""
        live = self.worker.calls
        return ladder_from([live.export(Wanted(names=[name]))], live.bounds, name)

    async def explain(self, exchange: str) -> Any | None:
        """Why an exchange was decided as it was."""
        explanation = self.worker.explain(exchange)
        return None if explanation is None else await asyncio.to_thread(explanation)

    async def reload_policy(self, *, at_once: bool) -> Mapping[str, Any]:
        """Load the files; ``at_once`` for calls in progress, too."""
        attempt = await self.rollout.reload(By.REQUEST)
        if at_once and attempt.good:
            self.worker.change_calls()
        return attempt_page(attempt, self.rollout)

    async def preview_policy(self) -> Mapping[str, Any]:
        """What loading the files would change."""
        return await preview_page(self.rollout)

    async def roll_back_policy(self, revision: str) -> Mapping[str, Any]:
        """Return to the policy before this one, or to this revision."""
        return attempt_page(await self.rollout.rollback(revision), self.rollout)

    async def try_canary(self, percent: float) -> Mapping[str, Any]:
        """Give a share of the calls to the canary, or none."""
        return attempt_page(await self.rollout.try_canary(percent), self.rollout)


def run(config: Path) -> int:
    """Serve until SIGTERM or SIGINT. 0: ended as asked; 2: cannot start.

    Raises :class:`ProblemsError` with every problem of the configuration or of the rules, ``OSError``.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("mitmproxy").setLevel(logging.WARNING)
    logging.getLogger("mitmproxy.addons.proxyserver").setLevel(logging.CRITICAL)  # a ListenError tells it better
    settings, beginning = load(config)
    files = open_as_many_files_as_may_be()
    if files is not None and files < settings.limits.connections + _FILES_BESIDE:
        log.warning(
            "a process may open %d files (ulimit -n): too few for the %d connections of limits.connections",
            files,
            settings.limits.connections,
        )
    serving = _serve(settings, beginning)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(serving)


async def _serve(settings: Settings, beginning: Beginning) -> int:
    loop = asyncio.get_running_loop()
    asked_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_end.set)
    if hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # there is nothing yet that could be loaded anew
    proxy = Interceptor(settings, beginning) if settings.workers == 1 else Supervisor(settings, beginning)
    del beginning  # its compiled rules would stay in memory for as long as we serve, whatever comes after them
    try:
        await proxy.start()
    except (ListenError, JournalError, OSError) as error:
        sys.stderr.write(f"cannot start: {error}\n")
        return 2
    if isinstance(proxy, Interceptor):
        settle_memory()
    for name, address in sorted(proxy.addresses.items()):
        log.info("%s listens on %s", name, address)
    signals = _Signals(proxy, asked_to_end)
    if hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, signals.hang_up)
    await asked_to_end.wait()
    log.info("ending: finishing what is in flight")
    await proxy.stop()
    return 0


class _Signals:
    """What SIGHUP means: load the policy, or end where it says that the terminal is gone."""

    def __init__(self, proxy: Interceptor | Supervisor, asked_to_end: asyncio.Event) -> None:
        self._proxy = proxy
        self._asked_to_end = asked_to_end
        self._terminal = sys.stderr.fileno() if sys.stderr.isatty() else -1
        self._tasks: set[asyncio.Task[Attempt]] = set()

    def hang_up(self) -> None:
        if self._terminal >= 0 and not os.isatty(self._terminal):
            self._asked_to_end.set()
            return
        task = asyncio.ensure_future(self._proxy.reload(By.SIGNAL))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
