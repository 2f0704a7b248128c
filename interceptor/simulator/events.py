"""What a simulated PBX or app received and did: a bounded log of typed events, to assert on and to wait for.

A log answers both questions of a test: what the other side saw, and what it did *not* see.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from msgspec import Struct

from interceptor.simulator.clock import Clock
from interceptor.values import Verb

Pairs = tuple[tuple[str, str], ...]


class Event(Struct, frozen=True, kw_only=True):
    """Something that happened; ``at`` is the time of the clock the log belongs to."""

    at: float


class MessageEvent(Event, frozen=True, kw_only=True):
    """An event that carries parameters; ``name`` is the command's or the notification's."""

    name: str
    parameters: Pairs = ()

    def get(self, parameter: str) -> str | None:
        """The value of the first parameter of that name, compared without case."""
        wanted = parameter.lower()
        for name, value in self.parameters:
            if name.lower() == wanted:
                return value
        return None


class CommandReceived(MessageEvent, frozen=True, kw_only=True):
    """The PBX was asked something; ``target`` and ``body`` are the bytes as they came."""

    method: str
    target: str
    body: bytes
    headers: Pairs
    source: str
    http_version: str


class CommandAnswered(Event, frozen=True, kw_only=True):
    """The PBX answered a command with this code."""

    name: str
    code: int
    message: str


class NotificationSent(MessageEvent, frozen=True, kw_only=True):
    """The PBX told an app something; ``name`` is ``""`` for the two notifications that have none."""

    url: str
    call_id: str


class NotificationAnswered(Event, frozen=True, kw_only=True):
    """The app's answer to a notification, as the PBX understood it."""

    name: str
    url: str
    status: int
    body: bytes
    verbs: tuple[Verb, ...]
    call_id: str


class NotificationFailed(Event, frozen=True, kw_only=True):
    """A notification got no answer that the PBX could use; ``reason`` is a stable word."""

    name: str
    url: str
    reason: str
    detail: str
    call_id: str


class CallChanged(Event, frozen=True, kw_only=True):
    """A call entered a state of the reference's table."""

    call_id: str
    state: str
    caller: str
    callee: str


class Rang(Event, frozen=True, kw_only=True):
    """A phone, or an outside line, began to ring."""

    call_id: str
    number: str
    caller_id: str


class Heard(Event, frozen=True, kw_only=True):
    """A party was told or played something; ``how`` is ``speak``, ``play``, ``beep`` or ``keys``."""

    call_id: str
    party: str
    how: str
    what: str


class Pressed(Event, frozen=True, kw_only=True):
    """A party pressed keys."""

    call_id: str
    party: str
    keys: str


class VerbRan(Event, frozen=True, kw_only=True):
    """The PBX carried out one verb; ``text`` and ``attributes`` have their variables filled in."""

    call_id: str
    name: str
    attributes: Pairs
    text: str


class VerbFailed(Event, frozen=True, kw_only=True):
    """A verb could not be carried out; ``code`` is the PBX's, 303 where the verb may not be used at all."""

    call_id: str
    name: str
    code: int
    message: str


class MessageDelivered(Event, frozen=True, kw_only=True):
    """A text message, an e-mail, an alarm or an inner message left the PBX; ``how`` says which."""

    how: str
    message_id: str
    sender: str
    recipient: str
    text: str


class FileChanged(Event, frozen=True, kw_only=True):
    """A verb moved (``target`` is a folder) or deleted (``target`` is empty) a file, or ran SQL (``how``)."""

    how: str
    file: str
    target: str


class NotificationReceived(MessageEvent, frozen=True, kw_only=True):
    """An app was told something; ``target`` and ``body`` are the bytes as they came."""

    method: str
    target: str
    body: bytes
    headers: Pairs
    source: str
    http_version: str


class NotificationReplied(Event, frozen=True, kw_only=True):
    """What the app said to a notification."""

    name: str
    body: bytes


class CommandSent(MessageEvent, frozen=True, kw_only=True):
    """An app asked something of a PBX."""

    url: str
    method: str


class AnswerReceived(Event, frozen=True, kw_only=True):
    """What the app was told; ``code`` is ``None`` where none was found, ``status`` 0 where there was no answer."""

    name: str
    status: int
    code: int | None
    message: str


class EventLog:
    """The latest ``capacity`` events in order; older ones are dropped and counted."""

    def __init__(self, clock: Clock, capacity: int = 20_000) -> None:
        self._clock = clock
        self._events: deque[Event] = deque(maxlen=capacity)
        self._waiting: list[tuple[Callable[[Event], bool], asyncio.Future[Event]]] = []
        self._observers: list[Callable[[Event], None]] = []
        self.count = 0

    @property
    def dropped(self) -> int:
        """How many events have fallen out of the log."""
        return self.count - len(self._events)

    @property
    def all(self) -> list[Event]:
        """Every event that is still kept."""
        return list(self._events)

    def since(self, count: int) -> list[Event]:
        """The events that came after the log's ``count`` was this."""
        kept = self.count - count
        return list(self._events)[-kept:] if kept > 0 else []

    def of[E: Event](self, kind: type[E], where: Callable[[E], bool] | None = None) -> list[E]:
        """The events of one type, in order."""
        return [event for event in self._events if isinstance(event, kind) and (where is None or where(event))]

    def keep(self, most: int) -> None:
        """Keep only so many of the latest from now on: for whoever observes a flood and asks nothing afterwards."""
        self._events = deque(self._events, maxlen=most)

    def observe(self, observer: Callable[[Event], None]) -> None:
        """Have ``observer`` called with every event from now on."""
        self._observers.append(observer)

    def leave(self, observer: Callable[[Event], None]) -> None:
        """Have it called no more."""
        self._observers.remove(observer)

    def append(self, event: Event) -> None:
        """Keep an event and wake whoever waits for it."""
        self._events.append(event)
        self.count += 1
        for observer in self._observers:
            observer(event)
        if self._waiting:
            for wanted, found in self._waiting:
                if not found.done() and wanted(event):
                    found.set_result(event)
            self._waiting = [entry for entry in self._waiting if not entry[1].done()]

    async def wait[E: Event](
        self, kind: type[E], where: Callable[[E], bool] | None = None, *, since: int = 0, within_seconds: float = 10.0
    ) -> E:
        """The first event of that type after ``since``; drives the clock until there is one.

        :class:`TimeoutError` after ``within_seconds`` of real time.
        """

        def wanted(event: Event) -> bool:
            return isinstance(event, kind) and (where is None or where(event))

        for event in self.since(since):
            if isinstance(event, kind) and wanted(event):
                return event
        found: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, found))
        try:
            event = await self._clock.drive(found, within_seconds)
        except TimeoutError:
            seen = ", ".join(type(event).__name__ for event in list(self._events)[-8:])
            msg = f"no {kind.__name__} within {within_seconds} s; the latest events: {seen or 'none'}"
            raise TimeoutError(msg) from None
        finally:
            found.cancel()
        assert isinstance(event, kind)
        return event
