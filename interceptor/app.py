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
from interceptor.config import public
from interceptor.gateway.master import ListenError
from interceptor.journal import JournalError
from interceptor.loading import load_settings, rule_sources
from interceptor.metrics import Snapshot
from interceptor.policy import Source
from interceptor.settings import Address, Settings
from interceptor.supervisor import Supervisor
from interceptor.worker import Worker, new_event_loop

log = logging.getLogger(__name__)


def load(config: Path) -> tuple[Settings, tuple[Source, ...]]:
    """Read a configuration and its rules. Raises :class:`ProblemsError` with every problem, ``OSError``."""
    settings = load_settings(config, os.environ)
    return settings, rule_sources(settings.rules)


class Interceptor:
    """The whole proxy in this process: one worker and the admin listener."""

    def __init__(
        self, settings: Settings, rules: Sequence[Source], *, observe: Callable[[Record], None] | None = None
    ) -> None:
        self._settings = settings
        self.worker = Worker(settings, rules, observe=observe)
        self._admin = AdminServer(settings.admin, self)
        self.addresses: dict[str, Address] = {}

    async def start(self) -> None:
        """Begin to serve; ``addresses`` holds the listeners by name, and ``admin``, once it returns."""
        try:
            self.addresses = await self.worker.start()
            self.addresses["admin"] = await self._admin.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Unready, stop accepting, finish what is in flight, flush the journal."""
        self.worker.drain()
        await self.worker.stop()
        await self._admin.stop()

    # admin.AdminSource

    async def not_ready(self) -> tuple[str, ...]:
        """Why no traffic should come here."""
        return tuple(self.worker.unready())

    async def metrics(self) -> Snapshot:
        """Everything counted."""
        return self.worker.snapshot()

    async def config(self) -> Mapping[str, Any]:
        """The configuration without its secrets."""
        return public(self._settings)

    async def policy(self) -> Mapping[str, Any]:
        """The rules in force."""
        return self.worker.policy()


def run(config: Path) -> int:
    """Serve until SIGTERM or SIGINT. 0: ended as asked; 2: cannot start.

    Raises :class:`ProblemsError` with every problem of the configuration or of the rules, ``OSError``.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("mitmproxy").setLevel(logging.WARNING)
    logging.getLogger("mitmproxy.addons.proxyserver").setLevel(logging.CRITICAL)  # a ListenError tells it better
    settings, sources = load(config)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_serve(settings, sources))


async def _serve(settings: Settings, sources: Sequence[Source]) -> int:
    loop = asyncio.get_running_loop()
    asked_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_end.set)
    proxy = Interceptor(settings, sources) if settings.workers == 1 else Supervisor(settings, sources)
    try:
        await proxy.start()
    except (ListenError, JournalError, OSError) as error:
        sys.stderr.write(f"cannot start: {error}\n")
        return 2
    for name, address in sorted(proxy.addresses.items()):
        log.info("%s listens on %s", name, address)
    await asked_to_end.wait()
    log.info("ending: finishing what is in flight")
    await proxy.stop()
    return 0
