"""Plays a scenario in a world, step after step, and says of each how it went. The first that fails ends it."""

import asyncio
from collections.abc import Callable, Iterator
from functools import singledispatchmethod
from typing import Any

from msgspec import Struct

from interceptor.simulator.business_app import SimulatedApp
from interceptor.simulator.calls import Call, Party
from interceptor.simulator.events import (
    CallChanged,
    CommandReceived,
    Event,
    EventLog,
    Heard,
    MessageEvent,
    NotificationFailed,
    NotificationReceived,
    Rang,
    VerbFailed,
    VerbRan,
)
from interceptor.simulator.pbx import SimulatedPbx
from interceptor.simulator.scenario import form
from interceptor.simulator.scenario.world import World


class Outcome(Struct, frozen=True):
    """How one step went; ``detail`` says what was found in place of what was wanted."""

    step: form.Step
    good: bool
    detail: str = ""


class Played(Struct, frozen=True):
    """How a whole scenario went. Steps after the first that failed were not played."""

    scenario: form.Scenario
    outcomes: tuple[Outcome, ...]

    @property
    def good(self) -> bool:
        """Whether every step went as it should."""
        return all(outcome.good for outcome in self.outcomes)


class StepError(Exception):
    """A step did not go as the scenario says; the text says what was found."""


async def play(scenario: form.Scenario, world: World, *, watch: Callable[[Outcome], None] = lambda _: None) -> Played:
    """Play one scenario; ``watch`` is told each outcome as it comes. Calls that still go on at the end are hung up."""
    outcomes: list[Outcome] = []
    await world.set_up(scenario)
    player = Player(scenario, world)
    try:
        for step in scenario.steps:
            try:
                await player.take(step)
                outcome = Outcome(step, good=True)
            except (StepError, TimeoutError) as error:
                outcome = Outcome(step, good=False, detail=str(error) or "it took too long")
            outcomes.append(outcome)
            watch(outcome)
            if not outcome.good:
                break
    finally:
        player.end()
    return Played(scenario, tuple(outcomes))


class Player:
    """What is true between the steps: the current call, and how far each log was read."""

    def __init__(self, scenario: form.Scenario, world: World) -> None:
        self._scenario, self._world = scenario, world
        self._patience = scenario.patience_seconds
        self._call: Call | None = None
        self._pbx = self._first_pbx()
        self._began = {id(log): log.count for log in self._logs()}
        self._read: dict[tuple[int, type[Event]], int] = {}

    def _first_pbx(self) -> SimulatedPbx | None:
        for wanted in self._scenario.pbxs:
            return self._world.pbxs[wanted.name]
        return None

    def _logs(self) -> list[EventLog]:
        pbxs = [pbx.log for pbx in self._world.pbxs.values()]
        return pbxs + [app.log for app in self._world.apps.values()]

    def end(self) -> None:
        """Hang up what still goes on."""
        for pbx in self._world.pbxs.values():
            for call in list(pbx.core.calls.active.values()):
                pbx.hang_up(call)

    def _of(self, name: str) -> SimulatedPbx:
        pbx = self._world.pbxs[name] if name else self._pbx
        if pbx is None:
            raise StepError("the scenario has no PBX")
        self._pbx = pbx
        return pbx

    @property
    def _current(self) -> Call:
        if self._call is None:
            self._call = next(iter(self._of("").core.calls.active.values()), None)
        if self._call is None:
            raise StepError("there is no call")
        while self._call.continued is not None:
            self._call = self._call.continued
        return self._call

    @singledispatchmethod
    async def take(self, step: form.Step) -> None:
        """Do, or wait for, what one step says."""
        raise NotImplementedError(type(step).__name__)

    @take.register
    async def _(self, step: form.Dial) -> None:
        pbx = self._of(step.pbx)
        self._call = pbx.dial(step.caller, step.dialled)

    @take.register
    async def _(self, step: form.PressKeys) -> None:
        self._of("").press(self._current, step.keys, Party(step.party))

    @take.register
    async def _(self, step: form.HangUp) -> None:
        self._of("").hang_up(self._current, Party(step.party))

    @take.register
    async def _(self, step: form.Hear) -> None:
        wanted = step.text.casefold()
        await self._next(Heard, lambda event: wanted in event.what.casefold())

    @take.register
    async def _(self, step: form.Rings) -> None:
        await self._next(Rang, lambda event: event.number == step.number)

    @take.register
    async def _(self, step: form.Ran) -> None:
        await self._next(VerbRan, lambda event: event.name.lower() == step.verb.lower())

    @take.register
    async def _(self, step: form.Reaches) -> None:
        await self._next(CallChanged, lambda event: event.state == step.state)

    @take.register
    async def _(self, step: form.Wait) -> None:
        await self._let_pass(step.seconds)

    @take.register
    async def _(self, step: form.Send) -> None:
        app = self._world.apps[step.app]
        before = app.username, app.password
        if step.username is not None:
            app.username = step.username
        if step.password is not None:
            app.password = step.password
        try:
            pairs = {name: self._filled(value) for name, value in step.parameters}
            answer = await app.command(step.command, method=step.method, **pairs)
        finally:
            app.username, app.password = before
        if step.code is not None and answer.code != step.code:
            raise StepError(f"the answer is {answer.code}: {answer.message}")

    @take.register
    async def _(self, step: form.Sms) -> None:
        self._of(step.pbx).receive_sms(step.sender, step.recipient, step.text)

    @take.register
    async def _(self, step: form.Break) -> None:
        who = self._who(step.who)
        if step.fault is None:
            await who.refuse_connections()
        elif step.message:
            wanted = step.message.lower()
            who.faults.inject(step.fault, times=step.times, where=lambda name: name.lower() == wanted)
        else:
            who.faults.inject(step.fault, times=step.times)

    @take.register
    async def _(self, step: form.Recover) -> None:
        who = self._who(step.who)
        who.faults.clear()
        await who.accept_connections()

    @take.register
    async def _(self, step: form.SetPhone) -> None:
        self._of(step.pbx).directory.set_phone(step.phone)

    @take.register
    async def _(self, step: form.Saw) -> None:
        log = self._who(step.who).log
        if step.never:
            seen = self._seen(log, step)
            if seen:
                raise StepError(f"it did: {_shown(seen[0])}")
            return
        while len(self._seen(log, step)) < (step.times or 1):
            count = log.count
            try:
                await log.wait(MessageEvent, since=count, within_seconds=self._patience)
            except TimeoutError:
                others = self._seen(log, step, any_parameters=True)
                raise StepError(f"it saw {'; '.join(map(_shown, others[-3:])) or 'no such message'}") from None
        if step.times is not None and len(self._seen(log, step)) != step.times:
            raise StepError(f"it saw {len(self._seen(log, step))} of them")

    def _who(self, name: str) -> SimulatedPbx | SimulatedApp:
        return self._world.pbxs.get(name) or self._world.apps[name]

    def _seen(self, log: EventLog, step: form.Saw, *, any_parameters: bool = False) -> list[MessageEvent]:
        return [
            event
            for event in log.since(self._began.get(id(log), 0))
            if isinstance(event, CommandReceived | NotificationReceived)
            and event.name.lower() == step.message.lower()
            and (any_parameters or all(event.get(key) == self._filled(value) for key, value in step.parameters))
        ]

    def _filled(self, text: str) -> str:
        if "{call}" in text:
            text = text.replace("{call}", self._current.id)
        return self._world.filled(text)

    async def _next[E: Event](self, kind: type[E], wanted: Callable[[E], bool]) -> E:
        """The next event of that type that is wanted, after the one that was found last."""
        log = self._of("").log
        key = (id(log), kind)
        since = self._read.get(key, self._began.get(id(log), 0))
        try:
            event = await log.wait(kind, wanted, since=since, within_seconds=self._patience)
        except TimeoutError:
            msg = f"not within {self._patience:g} s: {'; '.join(_instead(kind, log.since(since)))}"
            raise StepError(msg) from None
        later = log.since(since)
        self._read[key] = since + next(at for at, each in enumerate(later) if each is event) + 1
        return event

    async def _let_pass(self, seconds: float) -> None:
        sleeping = asyncio.ensure_future(self._world.clock.sleep(seconds))
        try:
            await self._world.clock.drive(sleeping, seconds + self._patience)
        finally:
            sleeping.cancel()


def _instead(kind: type[Event], events: list[Event]) -> Iterator[str]:
    """What there was of that kind, and what failed; where there was neither, what happened at all."""
    some, none, word = _WORDS[kind]
    found = [word(event) for event in events if isinstance(event, kind)]
    failed = [words for event in events if (words := _failure(event))]
    yield f"what {some} instead: {', '.join(found[-_MOST_SHOWN:])}" if found else none
    if failed:
        yield f"failed: {', '.join(failed[-_MOST_SHOWN:])}"
    if not found and not failed:
        latest = ", ".join(type(event).__name__ for event in events[-_MOST_SHOWN:])
        yield f"the latest events: {latest or 'none'}"


def _failure(event: Event) -> str:
    """What failed, and why; an empty text for an event that tells of no failure."""
    match event:
        case NotificationFailed(name=name, reason=reason, detail=detail):
            return f"notification {name or 'without a name'} ({reason}{detail and ': '}{_cut(detail)})"
        case VerbFailed(name=name, code=code, message=message):
            return f"verb {name} (code {code}{message and ': '}{_cut(message)})"
        case _:
            return ""


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


_MOST_SHOWN = 5
_LONGEST_SHOWN = 100
_WORDS: dict[type[Event], tuple[str, str, Callable[[Any], str]]] = {
    Heard: ("was heard", "nothing was heard", lambda event: f"“{_cut(event.what)}”"),
    Rang: ("rang", "nobody rang", lambda event: event.number),
    VerbRan: ("ran", "no verb ran", lambda event: event.name),
    CallChanged: ("calls became", "no call changed", lambda event: event.state),
}
"""Of each kind of event that a step waits for: what is said of some, of none, and of one."""


def _shown(event: MessageEvent) -> str:
    return " ".join(
        (event.name, *(f"{name}={value}" for name, value in event.parameters if name.lower() != "password"))
    )
