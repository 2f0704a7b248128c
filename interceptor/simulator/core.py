"""What all parts of the simulated PBX share, and the one place where the states of calls change.

``routing`` brings a call to its callee, ``lifecycle`` lives it to its end, ``ozml`` runs what apps answer, ``commands``
carries out what apps ask. They meet here; the composition is in ``pbx``.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from interceptor.simulator.calls import Call, CallState, CallTable, Party, Recording
from interceptor.simulator.clock import Clock
from interceptor.simulator.directory import Directory
from interceptor.simulator.events import CallChanged, EventLog, Heard, MessageDelivered, Pressed
from interceptor.simulator.notifications import Notifier
from interceptor.values import Verb

if TYPE_CHECKING:
    from interceptor.simulator.answers import Answer
    from interceptor.simulator.commands.base import Asked
    from interceptor.simulator.ozml.session import VerbHandler

MAX_TASKS = 20_000


class Generation(Enum):
    """The two generations of the API (reference, sections 2 and 7)."""

    PHONE_SYSTEM = "phone-system"
    OZEKI_10 = "ozeki-10"


class Subscriptions(Struct):
    """Where the configured notifications go; an empty address sends none. May be changed at any time."""

    route: str = ""
    events: str = ""
    incoming: str = ""
    sms: str = ""


class Order(Struct, frozen=True, kw_only=True):
    """A call that is to be made.

    ``connected_url`` of ``None`` is a call from a phone; any text, also an empty one, is a call that an app ordered,
    and the place that CallConnected goes to. ``verbs`` run on the caller's side instead of asking there. ``answered``
    skips the ringing: the two are put together at once.
    """

    caller: str
    dialled: str
    caller_id: str = ""
    caller_name: str = ""
    connected_url: str | None = None
    error_url: str = ""
    finished_url: str = ""
    ring_seconds: float = 90.0
    verbs: tuple[Verb, ...] | None = None
    error_verbs: tuple[Verb, ...] = ()
    answered: bool = False
    transfer_url: str = ""


class Message(Struct, frozen=True):
    """A text from somebody to somebody."""

    sender: str
    recipient: str
    text: str


class Core:
    """The state of one simulated PBX, and every change of a call's state."""

    def __init__(
        self,
        *,
        clock: Clock,
        log: EventLog,
        directory: Directory,
        notifier: Notifier,
        table: CallTable,
        generation: Generation,
        live: Callable[["Core", Call, Order], Coroutine[Any, Any, None]],
        record_completed: Callable[["Core", Call, Recording], Coroutine[Any, Any, None]],
        call_changed: Callable[["Core", Call, CallState], Awaitable[None]],
        carry_out: Callable[["Core", "Asked"], Awaitable["Answer"]],
        verbs: Mapping[str, "VerbHandler"],
    ) -> None:
        self.clock, self.log, self.directory, self.notifier = clock, log, directory, notifier
        self.calls, self.generation = table, generation
        self.carry_out, self.verbs = carry_out, verbs
        self.subscriptions = Subscriptions()
        self.inbox: deque[Message] = deque(maxlen=1000)
        self.message_arrived = asyncio.Event()
        self.files: set[str] = set()
        self.accidents: deque[BaseException] = deque(maxlen=20)
        self.call_waits_for_pickup = False
        self.voicemails: tuple[dict[str, str], ...] = ()  # what `ForEach` finds under that name
        self.record_url = "http://pbx.test/HttpRecordings"
        self._live, self._record_completed, self._call_changed = live, record_completed, call_changed
        self._tasks: set[asyncio.Task[None]] = set()
        self._changes: dict[str, deque[CallState]] = {}
        self._numbers = itertools.count(1)

    def new_message_id(self) -> str:
        """A text in the form of a GUID, other than all before."""
        return f"5f0c9f5e-0000-4000-8000-{next(self._numbers):012x}"

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside; what it raises is kept in ``accidents``: a fault of the simulator itself."""
        if len(self._tasks) >= MAX_TASKS:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.accidents.append(error)
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a fault inside the simulated PBX", "exception": error}
            )

    async def stop(self) -> None:
        """Cancel all that is still going on."""
        while tasks := [task for task in self._tasks if not task.done()]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def place(self, order: Order) -> Call:
        """Begin a call; it lives on its own from here. A full PBX ends it at once."""
        call = Call(self.calls.new_id(), order.caller, order.dialled, caller_id=order.caller_id, began=self.clock.now())
        call.caller_name = order.caller_name
        if self.calls.is_full():
            self.finish(call, CallState.ERROR, by="pbx")
            return call
        self.calls.add(call)
        self.spawn(self._live(self, call, order))
        return call

    async def picked_up(self, call: Call) -> None:
        """Return when somebody picked up or the call is over, without holding the clock meanwhile."""
        await race(call.answered.wait(), call.over.wait())

    def enter(self, call: Call, state: CallState) -> None:
        """Change a call's state, and tell so where somebody has subscribed; a final state stays."""
        if call.state is state or call.state.is_final:
            return
        call.state = state
        now = self.clock.now()
        if state is CallState.RINGING and call.rang_at is None:
            call.rang_at = now
        if state is CallState.ANSWERED:
            call.answered_at = now
            call.answered.set()
        self.log.append(CallChanged(at=now, call_id=call.id, state=state.value, caller=call.caller, callee=call.callee))
        if self.subscriptions.events:
            waiting = self._changes.get(call.id)
            if waiting is None:
                self._changes[call.id] = deque([state])
                self.spawn(self._tell_changes(call))
            else:
                waiting.append(state)

    async def _tell_changes(self, call: Call) -> None:
        """Tell a call's states one after the other, in order."""
        try:
            waiting = self._changes[call.id]
            while waiting:
                await self._call_changed(self, call, waiting.popleft())
        finally:
            del self._changes[call.id]

    def finish(self, call: Call, state: CallState, *, by: str) -> None:
        """End a call; only the first end counts."""
        if call.over.is_set():
            return
        call.ended_at = self.clock.now()
        call.ended_by = by
        self.enter(call, state)
        call.over.set()
        self.calls.retire(call)
        recordings, call.recordings = call.recordings, []
        for recording in recordings:
            self.spawn(self._record_completed(self, call, recording))

    def finish_recording(self, call: Call, recording: Recording) -> None:
        """End one recording before the call ends."""
        if recording in call.recordings:
            call.recordings.remove(recording)
            self.spawn(self._record_completed(self, call, recording))

    def sound(self, call: Call, party: Party, how: str, what: str) -> None:
        """Let a party hear something."""
        self.log.append(Heard(at=self.clock.now(), call_id=call.id, party=call.legs[party].number, how=how, what=what))

    def press(self, call: Call, party: Party, keys: str) -> None:
        """Let a party press keys; whoever runs the call at the other end gets them."""
        self.log.append(Pressed(at=self.clock.now(), call_id=call.id, party=call.legs[party].number, keys=keys))
        call.legs[party].press(keys)

    def deliver(self, how: str, message_id: str, *, sender: str, recipient: str, text: str) -> None:
        """Let a message leave the house."""
        self.log.append(
            MessageDelivered(
                at=self.clock.now(), how=how, message_id=message_id, sender=sender, recipient=recipient, text=text
            )
        )


async def race(*runners: Awaitable[Any]) -> list[bool]:
    """Run several things until the first is done; tell which were done then, raise what one of those raised.

    The others are cancelled and waited for, whatever happens.
    """
    tasks = [asyncio.ensure_future(runner) for runner in runners]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        done = [task.done() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task, is_done in zip(tasks, done, strict=True):
        if is_done and not task.cancelled():
            task.result()
    return done
