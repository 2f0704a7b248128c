"""Notifications that are delivered later: what goes into an app's outbox, and how it leaves.

An outbox for each app that is told of something and for each address that a rule names (``addresses.py``), a folder for
each worker: no two processes write one file.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from interceptor.exchanges import Fault
from interceptor.gateway.addresses import AddressBoxes
from interceptor.gateway.http1 import Reply
from interceptor.gateway.upstream import Pool, Site
from interceptor.metrics.families import OTHER
from interceptor.outbox import AddressTurn, AddressTurns, Entry, Outbox, Turn
from interceptor.outbox import Watcher as OutboxWatcher
from interceptor.settings import Address, Deadlines, Limits
from interceptor.wire.answers import reads_like_page
from interceptor.wire.url import WebAddress, take_apart

NOBODY = ""  # whose outbox keeps what is undecided and has no subscriber: only a decision will tell whose it is
MOVED = "moved"
log = logging.getLogger(__name__)


def heirless_folders(root: Path, index: int, workers: int) -> list[Path]:
    """The folders in ``root`` of workers that are no more, of which worker ``index`` of so many is the heir."""
    found = []
    for folder in sorted(root.glob("w*")):
        number = folder.name[1:]
        if number.isdecimal() and int(number) >= workers and int(number) % workers == index:
            found.append(folder)
    return found


class Deliveries:
    """The outboxes of one worker. ``turns`` and ``address_turns`` keep the order over several.

    ``decide`` is asked about what was kept undecided.
    ``heirless`` are the folders of workers that are no more, of which this one is the heir.
    """

    def __init__(
        self,
        folder: Path,
        apps: Iterable[str],
        limits: Limits,
        pool_for: Callable[[Site], Pool],
        patience: Deadlines,
        watcher: OutboxWatcher,
        decide: Callable[[Entry], Entry | str],
        turns: Mapping[str, Turn] | None = None,
        address_turns: AddressTurns | None = None,
        heirless: Sequence[Path] = (),
    ) -> None:
        self._folder = folder
        self._heirless = heirless
        self._pool_for = pool_for
        self._patience = patience
        self._decide = decide
        self._decided: dict[str, tuple[int, Entry | str]] = {}  # of the first in each box, so that it is done once
        turns = turns or {}

        def make(queue: str, label: str, turn: Turn | AddressTurn | None) -> Outbox:
            return Outbox(folder, queue, limits.outbox, self._deliver, watcher, turn=turn, label=label)

        def dropped(reason: str) -> None:
            watcher.outbox_dropped(OTHER, reason)
            if reason == "full":
                watcher.limit_hit("outbox_addresses")

        self._boxes = {app: make(app, app or OTHER, turns.get(app)) for app in (*apps, NOBODY)}
        self._addresses = AddressBoxes(
            folder,
            lambda address, turn: make(address, OTHER, turn),
            dropped,
            limits.outbox_addresses,
            address_turns,
        )

    async def open(self) -> None:
        """Take the folders and go on with what was left. Raises ``OutboxError``."""
        for box in self._boxes.values():
            await box.open(self._heirless)
        await self._addresses.open(self._heirless)
        for folder in (self._folder, *self._heirless):
            for path in sorted(folder.glob("[!@]*.outbox")):
                if path.stat().st_size and path.stem != "%" and unquote(path.stem) not in self._boxes:
                    log.warning("`%s` stays as it is: no app of this name is configured", path)

    async def close(self) -> None:
        """Stop delivering; what waits is on disk."""
        for box in self._boxes.values():
            await box.close()
        await self._addresses.close()

    def waiting(self, queue: str) -> bool:
        """Whether newer notifications for an app, or for an address, have to queue behind older ones."""
        box = self._boxes.get(queue)
        if box is None:
            return self._addresses.waiting(queue)
        return queue != NOBODY and box.waiting

    def put(self, entry: Entry, then: Callable[[bool], None]) -> None:
        """Keep a notification; ``then`` hears whether it is safe."""
        if not entry.undecided and not (entry.url and entry.app):
            then(False)
            return
        self._put(entry).add_done_callback(lambda kept: then(not kept.cancelled() and kept.result()))

    def _put(self, entry: Entry) -> asyncio.Future[bool]:
        box = self._boxes.get(entry.app)
        return self._addresses.put(entry) if box is None else box.put(entry)

    def wake(self, queue: str) -> None:
        """An app, or an address, has answered: what waits for it need not wait longer."""
        box = self._boxes.get(queue)
        if box is None:
            self._addresses.wake(queue)
        elif box.waiting:
            box.wake()

    def depths(self) -> dict[str, int]:
        """How many wait, by app; all that wait for no app are counted as one."""
        depths = {app: box.depth for app, box in self._boxes.items()}
        depths[OTHER] = depths.pop(NOBODY) + sum(box.depth for box in self._addresses)
        return depths

    def queues(self) -> list[dict[str, Any]]:
        """How the outbox of each app, and of each address that something waits for, stands, for ``/outbox``."""
        others = (box for box in (self._boxes[NOBODY], *self._addresses) if box.depth)
        boxes = (*(box for app, box in self._boxes.items() if app != NOBODY), *others)
        return [msgspec.structs.asdict(box.queue) for box in boxes]

    async def _deliver(self, entry: Entry) -> bool | str:
        """Whether it was taken, or why it needs no delivery."""
        if entry.undecided is None:
            return await self._ask(entry)
        box, (number, decided) = entry.app, self._decided.get(entry.app, (0, ""))
        if number != entry.id:
            decided = self._decide(entry)
            self._decided[box] = entry.id, decided
        if isinstance(decided, str):
            return decided
        if decided.app != box:
            return MOVED if await self._put(decided) else False
        return await self._ask(decided)

    async def _ask(self, entry: Entry) -> bool:
        place = take_apart(entry.url)
        if place is None:
            return False
        errand = _Delivery()
        site = Site(Address(place.host, place.port), place.tls, entry.app if entry.guarded else "")
        self._pool_for(site).send(errand, _request(entry, place), self._patience)
        with contextlib.suppress(ConnectionError):
            reply = await errand.outcome
            # A script that dies says 200 and an error page. Other texts are no OzML either, and yet a receipt: an app
            # that says "OK" to every report would never be rid of the first.
            return 200 <= reply.status < 300 and not reads_like_page(reply.body)
        return False


class _Delivery:
    """The errand of one delivery."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def replied(self, reply: Reply) -> None:
        """The app answered."""
        if not self.outcome.done():
            self.outcome.set_result(reply)

    def failed(self, fault: Fault, *, sent: bool, stale: bool = False) -> None:
        """The app did not."""
        del sent, stale
        if not self.outcome.done():
            self.outcome.set_exception(ConnectionError(fault.value))


def _request(entry: Entry, place: WebAddress) -> bytes:
    own = f"X-Interceptor-Exchange: {entry.exchange}\r\n" if entry.exchange else ""
    return b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Type: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
        place.path,
        place.authority.encode("latin-1"),
        entry.content_type.encode("latin-1"),
        own.encode("latin-1"),
        len(entry.body),
        entry.body,
    )
