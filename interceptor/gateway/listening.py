"""The listeners of one worker: all opened or none, told where they listen, closed."""

import os
from collections.abc import Mapping
from functools import partial

from interceptor.gateway.connection import Door
from interceptor.gateway.layers import Layers
from interceptor.gateway.taking import Taker, listen
from interceptor.settings import Address, Mode


class ListenError(Exception):
    """A listener cannot be opened."""


class Listening:
    """The listening sockets of these ``doors``, by the names of their listeners.

    Plain HTTP/1 is served at the door; what begins otherwise is led to the ``layers``.
    """

    def __init__(self, doors: Mapping[str, Door], layers: Layers, *, share_port: bool) -> None:
        self._doors = doors
        self._layers = layers
        self._share_port = share_port
        self._takers: list[Taker] = []

    async def open(self) -> dict[str, Address]:
        """Listen; give the first address of each listener by its name. Raises :class:`ListenError`."""
        if any(door.listener.mode is not Mode.GATEWAY for door in self._doors.values()):
            await self._layers.open()  # most that come will want them: what is wrong with them is told now
        addresses: dict[str, Address] = {}
        for name, door in self._doors.items():
            door.hand_over = partial(self._layers.take, door)
            addresses[name] = await self._open(door)
        return addresses

    async def _open(self, door: Door) -> Address:
        listener = door.listener
        try:
            sockets = await listen(listener.address, share_port=self._share_port)
        except OSError as error:
            self.close()
            msg = f"listener `{listener.name}` cannot listen on {listener.address}: {_why(error)}"
            raise ListenError(msg) from None
        takers = [Taker(door, each, self._layers.loop) for each in sockets]
        self._takers += takers
        return Address(*takers[0].address)

    def close(self) -> None:
        """Take no more connections; those that are open go on."""
        takers, self._takers = self._takers, []
        for taker in takers:
            taker.close()


def _why(error: OSError) -> str:
    """The system's own words; the event loop's repeat the address."""
    if error.errno is not None and error.errno > 0:  # that of an unknown name is less
        return os.strerror(error.errno).lower()
    return str(error)
