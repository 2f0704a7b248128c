"""The gateway as a mode of mitmproxy: a ``ProxyMode`` and its ``ServerInstance``, the public extension points.

Every listener is one of these, in every worker, whatever its own mode is. Plain HTTP/1 connections are taken by
:class:`~interceptor.gateway.taking.Taker`; what begins otherwise (a TLS hello) goes to mitmproxy's own layers, on top
of which ``addon.py`` sets what runs the same pipeline. A connection that was redirected to us is one like any other:
where its client wanted to go is not asked, because what may be reached is what config names.
"""

import asyncio
from typing import Any, Protocol, cast

from mitmproxy import ctx
from mitmproxy.connection import Address as MitmproxyAddress
from mitmproxy.proxy import mode_servers, mode_specs
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers import modes

from interceptor.gateway.addon import LayerHooks
from interceptor.gateway.connection import Door
from interceptor.gateway.http1_layer import Intake, IntakeProtocol
from interceptor.gateway.taking import Taker, listen

NOWHERE = ("127.0.0.1", 9)


class GatewayMode(mode_specs.ProxyMode):
    """``gateway:NAME``, where NAME is a listener of config, which has the address."""

    @property
    def default_port(self) -> None:
        """The address is the listener's own matter."""

    @property
    def description(self) -> str:
        """For mitmproxy's log."""
        return f"interceptor listener {self.data!r}"

    @property
    def transport_protocol(self) -> Any:
        """HTTP/1 runs over TCP."""
        return "tcp"

    def __post_init__(self) -> None:
        """The listener's name is all there is to check."""
        if not self.data:
            msg = "a gateway mode names its listener"
            raise ValueError(msg)


class Doors(Protocol):
    """Where an instance finds its listener: the worker's master."""

    doors: dict[str, Door]
    hooks: LayerHooks
    share_port: bool


class GatewayInstance(mode_servers.ServerInstance[GatewayMode]):
    """The server of one gateway listener."""

    _takers: tuple[Taker, ...] = ()
    _handed_over: set[asyncio.Task[None]]
    _hooks: LayerHooks

    @property
    def is_running(self) -> bool:
        """Whether it listens."""
        return bool(self._takers)

    @property
    def listen_addrs(self) -> tuple[MitmproxyAddress, ...]:
        """The addresses it listens on, with the ports that the system chose."""
        return tuple(taker.address for taker in self._takers)

    async def _start(self) -> None:
        master = cast("Doors", ctx.master)
        door = master.doors[self.mode.data]
        self._handed_over = set()
        door.hand_over = self._hand_over
        self._hooks = master.hooks
        loop = asyncio.get_running_loop()
        listening = await listen(door.listener.address, share_port=master.share_port)
        self._takers = tuple(Taker(door, each, loop) for each in listening)

    async def _stop(self) -> None:
        takers, self._takers = self._takers, ()
        for taker in takers:
            taker.close()

    def make_top_layer(self, context: Context) -> Layer:
        """What mitmproxy makes of a connection that is not plain HTTP/1: it asks the addon what that is.

        Its layers want to know a destination; every flow has an answer of ours, so this one is never connected.
        """
        context.server.address = NOWHERE
        return modes.TransparentProxy(context)

    def _hand_over(self, transport: asyncio.Transport, data: bytes) -> None:
        self._hooks.handed_over(self.mode.data)
        loop = asyncio.get_running_loop()
        intake = Intake(loop)
        protocol = IntakeProtocol(intake, loop)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)
        writer = asyncio.StreamWriter(transport, protocol, intake, loop)
        task = loop.create_task(self.handle_stream(intake, writer))
        self._handed_over.add(task)
        task.add_done_callback(self._handed_over.discard)
