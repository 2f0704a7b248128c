"""mitmproxy as the host of one worker: its ``Master`` with only the addons that the gateway needs."""

import asyncio
import os
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from mitmproxy import options
from mitmproxy.addons import core, proxyserver, tlsconfig
from mitmproxy.certs import CertStoreEntry
from mitmproxy.http import HTTPFlow
from mitmproxy.master import Master
from mitmproxy.proxy.context import Context
from mitmproxy.tls import TlsData

from interceptor.gateway import mode as _mode  # noqa: F401 - mitmproxy knows a mode once its module is there
from interceptor.gateway.addon import LayerHooks, PipelineAddon
from interceptor.gateway.connection import Door
from interceptor.settings import Address, Limits, Listener, Mode

_STORE = frozenset({"confdir"})  # the option that has mitmproxy open its store of certificates


class ListenError(Exception):
    """A listener cannot be opened."""


class GatewayMaster(Master):
    """The master of one worker. ``doors`` are its gateway listeners by name."""

    def __init__(
        self,
        doors: dict[str, Door],
        hooks: LayerHooks,
        limits: Limits,
        *,
        state: Path,
        share_port: bool,
        answer_seconds: float,
    ) -> None:
        super().__init__(options.Options(), event_loop=asyncio.get_running_loop())
        self.doors = doors
        self.hooks = hooks
        self.share_port = share_port
        self._ready = asyncio.Event()
        self._proxyserver = proxyserver.Proxyserver()
        self.addons.add(
            core.Core(),
            self._proxyserver,
            _Certificates(doors),
            PipelineAddon(doors, hooks, answer_seconds, self._proxyserver.connections),
            _Ready(self._ready),
        )
        certificates = [
            f"{_certificate_name(door.listener)}={door.listener.certificate}"
            for door in doors.values()
            if door.listener.certificate
        ]
        chosen: dict[str, Any] = {
            "mode": [f"gateway:{name}" for name in doors],
            "confdir": str(state / "mitmproxy"),
            "certs": certificates,
            "body_size_limit": str(limits.body),
            "connection_strategy": "lazy",
            "upstream_cert": False,
            "rawtcp": False,
            "keep_host_header": True,
            "http3": False,
            "server": True,
        }
        self.options.update(**chosen)
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> dict[str, Address]:
        """Open the listeners; give their addresses by listener name. Raises :class:`ListenError`."""
        self._running = asyncio.get_running_loop().create_task(self.run())
        ready = asyncio.get_running_loop().create_task(self._ready.wait())
        await asyncio.wait({self._running, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        addresses: dict[str, Address] = {}
        for instance in self._proxyserver.servers:
            door = self.doors[instance.mode.data]
            if instance.last_exception is not None or not instance.listen_addrs:
                where = f"listener `{door.listener.name}` cannot listen on {door.listener.address}"
                msg = f"{where}: {_why(instance.last_exception)}"
                raise ListenError(msg)
            host, port, *_ = instance.listen_addrs[0]
            addresses[door.listener.name] = Address(host, port)
        return addresses

    async def stop_listening(self) -> None:
        """Take no more connections; those that are open go on."""
        for instance in self._proxyserver.servers:
            if instance.is_running:
                await instance.stop()

    async def stop(self) -> None:
        """End mitmproxy and whatever runs in its layers."""
        self.should_exit.set()
        if self._running is not None:
            await self._running


def _why(error: Exception | None) -> str:
    """The system's own words; the event loop's repeat the address."""
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:  # that of an unknown name is less
        return os.strerror(error.errno).lower()
    return str(error)


class _Certificates(tlsconfig.TlsConfig):
    """Each listener shows the certificate that config gives it; one without shows what mitmproxy makes for the name.

    mitmproxy's store of certificates takes the processor for a fifth of a second, an authority of its own among them.
    Where no listener is made for TLS it is opened when somebody wants TLS all the same, beside the event loop.
    """

    def __init__(self, doors: Mapping[str, Door]) -> None:
        super().__init__()
        self._doors = doors
        self._open = any(door.listener.mode is not Mode.GATEWAY for door in doors.values())
        self._opening = asyncio.Lock()

    def configure(self, updated: Container[str]) -> None:
        """mitmproxy says which of its options are set: all of ours at once, before it runs."""
        if self._open:
            super().configure(updated)  # type: ignore[no-untyped-call]

    def running(self) -> None:
        """mitmproxy would open its store a second time."""

    async def tls_start_client(self, tls_start: TlsData) -> None:  # type: ignore[override]  # mitmproxy awaits hooks
        """A connection begins to speak TLS."""
        async with self._opening:
            if not self._open:
                await asyncio.to_thread(super().configure, _STORE)
                self._open = True
        super().tls_start_client(tls_start)

    def request(self, flow: HTTPFlow) -> None:
        """mitmproxy would answer for its own list of revoked certificates: that is no command."""

    def get_cert(self, conn_context: Context) -> CertStoreEntry:
        """mitmproxy asks for the certificate of a connection."""
        listener = self._doors[conn_context.client.proxy_mode.data].listener
        if listener.certificate is not None:
            return self.certstore.get_cert(_certificate_name(listener), [])
        return super().get_cert(conn_context)


def _certificate_name(listener: Listener) -> str:
    """A name for mitmproxy's store that no client can ask for."""
    return f"listener {listener.name}"


class _Ready:
    """Says when every listener was tried."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    def running(self) -> None:
        """mitmproxy's hook."""
        self._event.set()
