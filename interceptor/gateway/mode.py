"""The gateway as a mode of mitmproxy: a ``ProxyMode`` and its ``ServerInstance``, the public extension points.

Every listener is one of these, in every worker, whatever its own mode is. Plain HTTP/1 connections never come here;
what begins otherwise (a TLS hello) goes to mitmproxy's own layers, where ``addon.py`` runs the same pipeline. A
connection that was redirected to us is one like any other: where its client wanted to go is not asked, because what
may be reached is what config names.
"""

from typing import Any

from mitmproxy.connection import Address as MitmproxyAddress
from mitmproxy.proxy import mode_servers, mode_specs
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers import modes

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


class GatewayInstance(mode_servers.ServerInstance[GatewayMode]):
    """What mitmproxy takes for the server of a listener; the listener is open without it (``listening.py``)."""

    _runs = False

    @property
    def is_running(self) -> bool:
        """Whether it was started."""
        return self._runs

    @property
    def listen_addrs(self) -> tuple[MitmproxyAddress, ...]:
        """None: mitmproxy takes no connection."""
        return ()

    async def _start(self) -> None:
        self._runs = True

    async def _stop(self) -> None:
        self._runs = False

    def make_top_layer(self, context: Context) -> Layer:
        """What mitmproxy makes of a connection that is not plain HTTP/1: it looks, and finds TLS or nothing.

        Its layers want to know a destination; every flow has an answer of ours, so this one is never connected.
        """
        context.server.address = NOWHERE
        return modes.TransparentProxy(context)
