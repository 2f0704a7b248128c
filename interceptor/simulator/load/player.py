"""Plays a load: begins calls and messages at a steady rate, lets callers press keys and hang up, and keeps the books.

Calls begin when their time has come, whether the ones before are answered or not: a proxy that is slow gets no rest.
Times are taken in one process on one clock. That process can be the one that is short of time: ``behind`` tells how
late its own timers were, and a wait that is not above that says nothing about anybody else.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Hashable
from typing import Any

from msgspec import Struct

from interceptor.simulator.business_app import SimulatedApp
from interceptor.simulator.calls import CallState, Party
from interceptor.simulator.directory import API, Extension, Phone
from interceptor.simulator.events import (
    CallChanged,
    CommandReceived,
    Event,
    Heard,
    MessageEvent,
    NotificationAnswered,
    NotificationFailed,
    NotificationReceived,
    NotificationSent,
    Rang,
    VerbFailed,
)
from interceptor.simulator.load.measures import Counts, Latencies, Spread
from interceptor.simulator.load.pages import COLLEAGUE, ENGAGED, EXTENSION, LINES, MENU, LoadPages
from interceptor.simulator.pages import Door
from interceptor.simulator.pbx import SimulatedPbx

MOST_CALLS_PER_SECOND = 1000.0
MOST_SECONDS = 3600.0
MOST_OPEN = 10_000
"""Errands under way at once; more are not begun, and told."""

KEPT_EVENTS = 256
"""Of each PBX and app: all is counted when it happens, and long logs are memory for the collector to go through."""

_CUSTOMERS = 1000
_LINE_WEIGHTS = (75, 12, 8, 5)  # the menu, a colleague, a colleague who is engaged, the line that turns callers away
_TICK_SECONDS = 0.005
_WATCH_SECONDS = 0.05
_WAITING = frozenset({"CallConnected", "IncomingCall", "DtmfEntered", "GoTo", "RoutingInterception"})
_COMMANDS = frozenset({"Call", "SendSms", "Hangup"})
_AFTER_READING = frozenset({401, 402, 501})
"""Codes of a PBX that has read the command and could not do it: such a command has arrived, and is not another's."""
_MOST_STARTS = 20_000


class Results(Struct, frozen=True, kw_only=True):
    """What came of a load. Times are seconds; counts are exact but for what ``lost`` says of messages alike."""

    seconds: float
    begun: dict[str, int]
    not_begun: int
    ended: dict[str, int]
    still_open: int
    commands_sent: int
    commands_seen: int
    notifications_sent: int
    notifications_seen: int
    lost: int
    doubled: int
    examples: list[str]
    failures: dict[str, int]
    command_latency: Spread
    set_up: Spread
    silence: dict[str, Spread]
    notification_latency: Spread
    on_the_way: Spread
    behind: Spread

    @property
    def calls(self) -> int:
        """How many calls were begun, by whomever."""
        return sum(count for kind, count in self.begun.items() if not kind.startswith("text"))


class Player:
    """One load on PBXs and apps that run. ``caller`` is the app that sends the commands; ``seed`` makes it repeatable.

    Law: when :meth:`play` is over, nothing that it began is under way, or it is told as ``still_open``.
    """

    def __init__(
        self, pbxs: dict[str, SimulatedPbx], apps: dict[str, SimulatedApp], *, caller: str, pbx: str, seed: int = 1
    ) -> None:
        self._pbxs, self._apps = pbxs, apps
        self._app, self._pbx = apps[caller], pbxs[pbx]
        self._dice = random.Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._serial = 0
        self._commands, self._notifications = Counts(), Counts()
        self._begun: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._not_begun = 0
        self._seconds = 0.0
        self._command_latency, self._set_up, self._on_the_way = Latencies(), Latencies(), Latencies()
        self._behind = Latencies()
        self._silence: dict[str, Latencies] = {}
        self._notification_latency = Latencies()
        self._asked: dict[tuple[str, str], float] = {}
        self._routing: dict[str, float] = {}
        self._furnish()

    def _furnish(self) -> None:
        for app in self._apps.values():
            app.doors[:] = [Door(LoadPages(app.url))]
            app.log.keep(KEPT_EVENTS)
            app.log.observe(self._app_saw)
        for pbx in self._pbxs.values():
            pbx.log.keep(KEPT_EVENTS)
            pbx.log.observe(self._pbx_saw)
            for extension in pbx.core.directory:  # where fallbacks and rules may lead
                pbx.core.directory.set_phone(Phone(number=extension.id, talks_seconds=2.0))
            pbx.core.directory.keep(Extension(id=EXTENSION, type=API))
            pbx.core.directory.outside = Phone(number="*", talks_seconds=2.0)
            for number in range(_CUSTOMERS):
                pbx.core.directory.set_phone(_customer(number))
            pbx.core.directory.set_phone(Phone(number=COLLEAGUE, answers_after_seconds=1.0, talks_seconds=2.0))
            pbx.core.directory.set_phone(Phone(number=ENGAGED, busy=True))

    async def play(self, *, calls_per_second: float, seconds: float, drain_seconds: float = 30.0) -> None:
        """Begin calls for so many seconds, then wait until all are over, at most for ``drain_seconds``."""
        began = time.monotonic()
        watching = asyncio.get_running_loop().create_task(self._watch())
        try:
            next_at = began
            while (now := time.monotonic()) < began + seconds:
                while next_at <= now and next_at < began + seconds:
                    self._begin_one()
                    next_at += self._dice.expovariate(calls_per_second)
                await asyncio.sleep(min(_TICK_SECONDS, max(0.0, next_at - now)))
            self._seconds += time.monotonic() - began
        finally:
            watching.cancel()
        end = time.monotonic() + drain_seconds
        while time.monotonic() < end and self._is_busy:  # noqa: ASYNC110 - it also ends when time is up
            await asyncio.sleep(_WATCH_SECONDS)

    async def stop(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for app in self._apps.values():
            app.log.leave(self._app_saw)
        for pbx in self._pbxs.values():
            pbx.log.leave(self._pbx_saw)
            for call in list(pbx.core.calls.active.values()):
                pbx.hang_up(call)

    @property
    def _is_busy(self) -> bool:
        return bool(self._tasks or self.open_calls or self._commands.lost or self._notifications.lost)

    @property
    def open_calls(self) -> int:
        """How many calls go on."""
        return sum(len(pbx.core.calls.active) for pbx in self._pbxs.values())

    @property
    def begun(self) -> int:
        """How many errands have begun."""
        return sum(self._begun.values())

    @property
    def failed(self) -> int:
        """How much has failed so far."""
        return sum(self._failures.values())

    def results(self) -> Results:
        """What came of it so far."""
        accidents = Counter(
            f"simulator: {type(each).__name__}" for pbx in self._pbxs.values() for each in pbx.accidents
        )
        return Results(
            seconds=self._seconds,
            begun=dict(self._begun.most_common()),
            not_begun=self._not_begun,
            ended=dict(self._ended.most_common()),
            still_open=self.open_calls + len(self._tasks),
            commands_sent=self._commands.sent,
            commands_seen=self._commands.seen,
            notifications_sent=self._notifications.sent,
            notifications_seen=self._notifications.seen,
            lost=self._commands.lost + self._notifications.lost,
            doubled=self._commands.doubled + self._notifications.doubled,
            examples=self._commands.examples() + self._notifications.examples(),
            failures=dict((self._failures + accidents).most_common(30)),
            command_latency=self._command_latency.spread(),
            set_up=self._set_up.spread(),
            silence={name: self._silence[name].spread() for name in sorted(self._silence)},
            notification_latency=self._notification_latency.spread(),
            on_the_way=self._on_the_way.spread(),
            behind=self._behind.spread(),
        )

    # what is begun

    def _begin_one(self) -> None:
        """A call, and with every fifth one a text message beside it."""
        if len(self._tasks) >= MOST_OPEN or self.open_calls >= MOST_OPEN:
            self._not_begun += 1
            return
        self._serial += 1
        if self._dice.random() < 0.5:
            self._do("click to call", self._click)
        else:
            self._begun["call from outside"] += 1
            self._inbound()
        if self._serial % 5 == 0:
            self._do("text message out", self._text)
        if self._serial % 10 == 0:
            self._begun["text message in"] += 1
            self._pbx.receive_sms(_customer(self._serial % _CUSTOMERS).number, "+3613334000", f"text {self._serial}")

    def _do(self, kind: str, errand: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._begun[kind] += 1
        task = asyncio.get_running_loop().create_task(errand())
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failures[f"simulator: {type(error).__name__}"] += 1

    async def _click(self) -> None:
        number = _customer(self._dice.randrange(_CUSTOMERS)).number
        await self._send(
            "Call",
            number,
            ApiExtension=EXTENSION,
            Dialed=number,
            RingTime="3",
            Url=f"{self._app.url}/connected?id={self._serial}&note=100%25",
        )

    async def _text(self) -> None:
        number = _customer(self._dice.randrange(_CUSTOMERS)).number
        message = f"Your parcel {self._serial} is here & waits"
        report = f"{self._app.url}/report?id={self._serial}"
        await self._send(
            "SendSms", number, ApiExtension=EXTENSION, Recipient=number, Message=message, DeliveryReportURL=report
        )

    async def _send(self, name: str, what: str, /, **parameters: str) -> None:
        """One command; what is refused on its way is a failure, and not lost."""
        key = _command_key(name, what)
        self._commands.send(key)
        began = time.monotonic()
        answer = await self._app.command(name, **parameters)
        self._command_latency.add(time.monotonic() - began)
        if answer.code == 200:
            return
        self._failures[f"{name}: {f'code {answer.code}' if answer.status else 'no answer'}"] += 1
        if answer.code is not None and answer.code not in _AFTER_READING:
            await asyncio.sleep(0)
            if self._commands.is_open(key):
                self._commands.refuse(key)

    def _inbound(self) -> None:
        line = self._dice.choices(tuple(LINES), weights=_LINE_WEIGHTS)[0]
        call = self._pbx.dial(_customer(self._dice.randrange(_CUSTOMERS)).number, line)
        if self._dice.random() < 0.05:
            asyncio.get_running_loop().call_later(0.02, self._pbx.hang_up, call)

    # what both sides see

    def _pbx_saw(self, event: Event) -> None:
        match event:
            case NotificationSent():
                self._notifications.send(_notification_key(event))
                self._keep(self._asked, (event.name, event.call_id))
                if event.name == "RoutingInterception" and event.get("LastCallState") == "Calling":
                    self._keep(self._routing, event.call_id)
            case NotificationAnswered(name=name, call_id=call_id):
                self._answered(name, call_id)
                if name == "IncomingCall":
                    self._is_set_up(call_id)
            case NotificationFailed(name=name, call_id=call_id, reason=reason):
                self._asked.pop((name, call_id), None)
                self._failures[f"{name or 'notification'}: {reason}"] += 1
            case CommandReceived(name=name) if name in _COMMANDS:
                what = event.get("Dialed") or event.get("Recipient") or event.get("CallId") or ""
                self._commands.see(_command_key(name, what))
            case Rang(call_id=call_id, number=number) if number != EXTENSION:
                self._is_set_up(call_id)
            case Heard(call_id=call_id, what=what, party=party) if what.startswith(MENU):
                self._listener(call_id, party)
            case VerbFailed(name=name, code=code, call_id=call_id) if self._goes_on(call_id):
                self._failures[f"verb {name}: code {code}"] += 1
            case CallChanged(call_id=call_id, state=state) if CallState(state).is_final:
                self._ended[state] += 1
                self._routing.pop(call_id, None)
            case _:
                pass

    def _app_saw(self, event: Event) -> None:
        if isinstance(event, NotificationReceived):
            key = _notification_key(event)
            self._notifications.see(key)
            asked = self._asked.get((event.name, event.get("CallId") or ""))
            if asked is not None:
                self._on_the_way.add(time.monotonic() - asked)

    def _answered(self, name: str, call_id: str) -> None:
        asked = self._asked.pop((name, call_id), None)
        if asked is not None:
            kind = name if name in _WAITING else "reports"
            waited = time.monotonic() - asked
            self._silence.setdefault(kind, Latencies()).add(waited)
            self._notification_latency.add(waited)

    def _is_set_up(self, call_id: str) -> None:
        began = self._routing.pop(call_id, None)
        if began is not None:
            self._set_up.add(time.monotonic() - began)

    def _listener(self, call_id: str, party: str) -> None:
        """Whoever hears a prompt presses a key in a while; one in ten wants a person, one in twenty hangs up."""
        wish = self._dice.random()
        act = self._leave if wish < 0.05 else self._press_zero if wish < 0.15 else self._press_one
        asyncio.get_running_loop().call_later(self._dice.uniform(0.2, 0.8), act, call_id, party)

    def _press_one(self, call_id: str, party: str) -> None:
        self._press(call_id, party, "1")

    def _press_zero(self, call_id: str, party: str) -> None:
        self._press(call_id, party, "0")

    def _press(self, call_id: str, party: str, keys: str) -> None:
        for pbx in self._pbxs.values():
            call = pbx.core.calls.active.get(call_id)
            if call is not None:
                pbx.press(call, keys, Party.CALLER if call.caller == party else Party.CALLEE)

    def _leave(self, call_id: str, party: str) -> None:
        for pbx in self._pbxs.values():
            call = pbx.core.calls.active.get(call_id)
            if call is not None:
                pbx.hang_up(call, Party.CALLER if call.caller == party else Party.CALLEE)

    def _goes_on(self, call_id: str) -> bool:
        """Whether it is more than the rest of a document whose caller has hung up."""
        return any(call_id in pbx.core.calls.active for pbx in self._pbxs.values())

    def _keep[K](self, times: dict[K, float], key: K) -> None:
        if len(times) < _MOST_STARTS:
            times[key] = time.monotonic()

    async def _watch(self) -> None:
        """How late our own timers are."""
        while True:
            due = time.monotonic() + _WATCH_SECONDS
            await asyncio.sleep(_WATCH_SECONDS)
            self._behind.add(max(0.0, time.monotonic() - due))


def _customer(number: int) -> Phone:
    """A customer's phone: of twenty, one is engaged and one is not answered."""
    written = f"+36305{number:06d}"
    match number % 20:
        case 0:
            return Phone(number=written, busy=True)
        case 1:
            return Phone(number=written, answers_after_seconds=None)
        case rest:
            return Phone(number=written, answers_after_seconds=0.5 + rest / 10)


def _command_key(name: str, what: str) -> Hashable:
    """Rules may spell numbers another way: their ends tell them apart."""
    return name, what[-6:]


def _notification_key(event: MessageEvent) -> Hashable:
    """By the call, or the message, that it is about."""
    about = event.get("CallId") or event.get("X-SmsId") or event.get("X-Message") or (event.get("CallerID") or "")[-6:]
    return event.name, about, event.get("LastCallState") or event.get("X-CallState") or event.get("DtmfDigits") or ""
