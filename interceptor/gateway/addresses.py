"""The outboxes of addresses that rules name: one for each, made when something has to wait for it.

Laws of this module:

* One address that is dead holds up nobody else.
* There are ``most``; an empty one makes room for another. What a former process left is taken over beyond that.
* Nothing of an address stays on disk for which nothing waits.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from interceptor.outbox import AddressTurn, AddressTurns, Entry, Outbox, OutboxError, addresses_in

log = logging.getLogger(__name__)


class AddressBoxes:
    """The outboxes of one worker's addresses, in ``folder``; ``make`` makes the one of an address.

    ``dropped`` hears why something was not kept. ``turns`` keeps the order over several workers.
    """

    def __init__(
        self,
        folder: Path,
        make: Callable[[str, AddressTurn | None], Outbox],
        dropped: Callable[[str], None],
        most: int,
        turns: AddressTurns | None = None,
    ) -> None:
        self._folder = folder
        self._make = make
        self._dropped = dropped
        self._most = most
        self._turns = turns
        self._boxes: dict[str, Outbox] = {}
        self._coming: dict[str, int] = {}  # how many wait for the outbox of an address to be opened
        self._changing = asyncio.Lock()  # held while one is opened or closed: no file is opened twice
        self._puts: set[asyncio.Future[bool]] = set()
        self._closed = False

    def __iter__(self) -> Iterator[Outbox]:
        return iter(self._boxes.values())

    async def open(self, heirless: Sequence[Path]) -> None:
        """Go on with what was left, and with what workers left that are no more. Raises ``OutboxError``."""
        for address in await asyncio.to_thread(addresses_in, self._folder, heirless):
            box = self._new(address)
            await box.open(heirless)
            self._boxes[address] = box
        if self._turns is not None:
            self._turns.all_read()

    async def close(self) -> None:
        """Write what has come, stop delivering; what waits is on disk."""
        if self._puts:
            await asyncio.wait(self._puts)
        async with self._changing:
            self._closed = True
            for box in self._boxes.values():
                await _close(box)
            self._boxes.clear()

    def waiting(self, address: str) -> bool:
        """Whether newer notifications have to queue behind older ones."""
        box = self._boxes.get(address)
        if box is not None and box.waiting:
            return True
        return address in self._coming or (self._turns is not None and self._turns.elsewhere(address) > 0)

    def wake(self, address: str) -> None:
        """The address has answered."""
        box = self._boxes.get(address)
        if box is not None and box.waiting:
            box.wake()

    def put(self, entry: Entry) -> asyncio.Future[bool]:
        """Keep ``entry`` for the address that it names as its app; true once it is on disk."""
        box = self._boxes.get(entry.app)
        if box is not None and entry.app not in self._coming:
            return box.put(entry)
        self._coming[entry.app] = self._coming.get(entry.app, 0) + 1
        kept = asyncio.ensure_future(self._put(entry))
        self._puts.add(kept)
        kept.add_done_callback(self._puts.discard)
        return kept

    async def _put(self, entry: Entry) -> bool:
        try:
            box = await self._opened(entry.app)
            kept = None if box is None else box.put(entry)
        finally:
            self._coming[entry.app] -= 1
            if not self._coming[entry.app]:
                del self._coming[entry.app]
        return kept is not None and await kept

    async def _opened(self, address: str) -> Outbox | None:
        async with self._changing:
            box = self._boxes.get(address)
            if box is not None or self._closed:
                return box
            if not await self._make_room():
                self._dropped("full")
                return None
            box = self._new(address)
            try:
                await box.open()
            except OutboxError as fault:
                log.error("nothing can be kept for %s: %s", address, fault)  # noqa: TRY400 - its text says all
                self._dropped("cannot_write")
                self._let_go(address)
                return None
            self._boxes[address] = box
            return box

    async def _make_room(self) -> bool:
        if len(self._boxes) < self._most:
            return True
        for address, box in self._boxes.items():
            if not box.depth and address not in self._coming:
                del self._boxes[address]
                await _close(box)
                self._let_go(address)
                return True
        return False

    def _new(self, address: str) -> Outbox:
        return self._make(address, None if self._turns is None else self._turns.turn(address))

    def _let_go(self, address: str) -> None:
        if self._turns is not None:
            self._turns.let_go(address)


async def _close(box: Outbox) -> None:
    empty = not box.depth
    await box.close()
    if empty and not box.depth:
        await asyncio.to_thread(box.delete)
