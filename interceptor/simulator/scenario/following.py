"""Follows a scenario through a world in which somebody fails, from one of its steps on.

What people do, they do as it is written: they dial, press keys, hang up; apps send their commands. What they wait for
may never come, since a caller whose app has died hears something else. So a wait also ends when nobody talks any more,
and nothing is expected: whoever wants to know what came of it looks at the logs.
"""

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct

from interceptor.simulator.clock import SETTLING_ROUNDS
from interceptor.simulator.events import Event
from interceptor.simulator.scenario import form
from interceptor.simulator.scenario.playing import Player, StepError
from interceptor.simulator.scenario.world import World

PATIENCE_SECONDS = 10.0
"""Real time that a call may take to end by itself after the last step."""


class Followed(Struct, frozen=True):
    """How it went: the answer's code to each command that was sent, and the calls that had to be hung up in the end."""

    codes: tuple[tuple[form.Send, int | None], ...]
    hung_up: tuple[str, ...]


async def follow(scenario: form.Scenario, world: World, *, at: int, happens: Callable[[], Awaitable[None]]) -> Followed:
    """Follow it; before the step with index ``at``, ``happens`` is called once. Everybody is well until then."""
    await world.set_up(scenario)
    follower = _Follower(scenario, world)
    try:
        for index, step in enumerate(scenario.steps):
            if index == at:
                await happens()
            await follower.follow(step)
        return Followed(tuple(follower.codes), await follower.see_out())
    finally:
        follower.leave()


class _Follower(Player):
    """Takes steps without expecting anything of them."""

    def __init__(self, scenario: form.Scenario, world: World) -> None:
        super().__init__(scenario, world)
        self.codes: list[tuple[form.Send, int | None]] = []
        self._happened = asyncio.Event()
        for pbx in world.pbxs.values():
            pbx.log.observe(self._note)

    def _note(self, event: Event) -> None:
        del event
        self._happened.set()

    def leave(self) -> None:
        """Hang up what still goes on, and look no more."""
        self.end()
        for pbx in self._world.pbxs.values():
            pbx.log.leave(self._note)

    async def follow(self, step: form.Step) -> None:
        """Do what the step says, or wait for it while anybody talks."""
        self._go_where_the_call_is()
        match step:
            case form.Saw() | form.Break() | form.Recover():
                pass  # what a well world would have to show, and what is somebody else's to do here
            case form.Send():
                await self._ask(step)
            case form.Hear() | form.Rings() | form.Ran() | form.Reaches():
                await self._wait(step)
            case form.PressKeys() | form.HangUp():
                if self._active():
                    await self.take(step)
            case _:
                await self.take(step)

    async def see_out(self) -> tuple[str, ...]:
        """Wait until every call has ended; the ids of those that do not."""
        over = asyncio.ensure_future(self._silent())
        try:
            await self._world.clock.drive(over, PATIENCE_SECONDS)
        except TimeoutError:
            return tuple(self._active())
        finally:
            over.cancel()
        return ()

    async def _ask(self, step: form.Send) -> None:
        try:
            pairs = {name: self._filled(value) for name, value in step.parameters}
        except StepError:
            return  # it is about a call that never began
        answer = await self._world.apps[step.app].command(step.command, method=step.method, **pairs)
        self.codes.append((step, answer.code))

    async def _wait(self, step: form.Step) -> None:
        """Until it comes, or until nobody talks. Only one of the two lets time pass."""
        coming = asyncio.ensure_future(self.take(step))
        silent = asyncio.ensure_future(self._silent())
        try:
            await asyncio.wait({coming, silent}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (coming, silent):
                task.cancel()
            await asyncio.gather(coming, silent, return_exceptions=True)

    def _active(self) -> list[str]:
        return [call for pbx in self._world.pbxs.values() for call in pbx.core.calls.active]

    def _go_where_the_call_is(self) -> None:
        """A call that was to begin at one PBX may have begun at another."""
        here = self._of("")
        if here.core.calls.active:
            return
        for pbx in self._world.pbxs.values():
            if pbx.core.calls.active:
                self._pbx, self._call = pbx, None
                return

    async def _silent(self) -> None:
        """Return when no call goes on and nothing more happens."""
        while True:
            self._happened.clear()
            for _ in range(SETTLING_ROUNDS):
                await asyncio.sleep(0)
            if not self._happened.is_set():
                if not self._active():
                    return
                await self._happened.wait()
