"""Taking mitmproxy's layers apart when their connection has ended.

Each of them knows the others, and itself by the methods that it keeps for its states. Such circles stay until the
collector comes by, with whatever hangs on them (the state of TLS, whole messages), and a worker has it come rarely.
So they are opened by hand: then all of it goes at once, however long it lived.

What cannot be reached so is young: a hello that was read; errors that mitmproxy raises and catches while it makes a
message of HTTP/2, and with them what was on the stack. For these the collector is called more often.
"""

import asyncio
import gc
from collections.abc import Generator
from typing import Any, Final

from mitmproxy.proxy.commands import Command
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.events import Event
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode, HttpStream
from mitmproxy.proxy.layers.http._http2 import Http2Connection
from mitmproxy.proxy.server import ConnectionHandler

_LEFT_BY_EACH: Final = 64 << 10  # bytes, beside messages: what was read at once, and some four hundred small things
_LEFT_MOST: Final = 2 << 20  # for so much the collector takes a millisecond or two


def take_apart(handler: ConnectionHandler) -> None:
    """Leave nothing of the layers of a connection that has ended; what still comes for them finds nobody."""
    layers = tuple(handler.layer.context.layers)
    handler.layer = _NOBODY
    handler.timeout_watchdog.callback = _nothing
    for layer in layers:
        if isinstance(layer, HttpLayer):
            for each in {*layer.connections.values(), *layer.streams.values(), *layer.command_sources.values()}:
                if isinstance(each, Http2Connection):
                    vars(each.h2_conn).clear()
                vars(each).clear()
        vars(layer).clear()


async def _nothing() -> None:
    pass


class _Nobody(Layer):
    """In place of layers that are gone."""

    def __init__(self) -> None:
        """Stand on nothing."""

    def handle_event(self, event: Event) -> Generator[Command, Any, None]:
        """Nothing is to be done."""
        del event
        yield from ()

    _handle_event = handle_event


_NOBODY: Final = _Nobody()


class Leavings:
    """Has the collector see to what connections and messages left behind, before it is much."""

    def __init__(self) -> None:
        self._left = 0

    def more(self, size: int = 0) -> None:
        """There is one more, with messages of this size."""
        self._left += _LEFT_BY_EACH + size
        if self._left >= _LEFT_MOST:
            self._left = 0
            # From the loop, where the stack holds nothing: what is in use becomes old, and is looked at no more.
            asyncio.get_running_loop().call_soon(gc.collect, 1)


class Http2Layer(HttpLayer):
    """mitmproxy's HTTP/2, of whose streams nothing is left when they are over."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, HTTPMode.transparent)
        self._over: list[HttpStream] = []
        self.streams = _Streams(self._over)

    def _handle_event(self, event: Event) -> Generator[Command, Any, None]:
        yield from super()._handle_event(event)
        while self._over:
            stream = self._over.pop()
            if stream not in self.command_sources.values():  # else it waits for something, and is met again
                vars(stream).clear()


class _Streams(dict[int, HttpStream]):
    """The streams of a connection, with a list of those that are over."""

    def __init__(self, over: list[HttpStream]) -> None:
        super().__init__()
        self._over = over

    def pop(self, key: int, default: Any = None) -> Any:
        """A stream is over."""
        stream = super().pop(key, default)
        if stream is not None:
            self._over.append(stream)
        return stream
