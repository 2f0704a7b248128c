"""One run of OzML: a document, the documents that follow it, and the variables that live through all of them.

Laws: a session that has no call runs only verbs that need none; a verb that fails is logged and the next one runs;
every session ends after ``MAX_VERBS`` verbs, whatever an app answers.
"""

import re
from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct

from interceptor.simulator.answers import MESSAGES, CommandError
from interceptor.simulator.calls import Call, CallState, Leg, Party
from interceptor.simulator.core import Core
from interceptor.simulator.events import Pairs, VerbFailed, VerbRan
from interceptor.simulator.notifications import Told
from interceptor.values import Verb

MAX_VERBS = 5000
_VARIABLE = re.compile(r"\$([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?)")


class LeaveError(Exception):
    """The session is over."""


class BackError(Exception):
    """The party went back to the menu above."""


class JumpError(Exception):
    """The rest of the document is replaced by another one."""

    def __init__(self, verbs: tuple[Verb, ...]) -> None:
        super().__init__()
        self.verbs = verbs


class VerbHandler(Struct, frozen=True):
    """What carries out a verb, and whether it can without a call."""

    name: str
    run: Callable[["Session", Verb], Awaitable[None]]
    needs_call: bool = True


class Session:
    """Runs verbs for one side of a call, or for no call at all."""

    def __init__(self, core: Core, call: Call | None, side: Party | None) -> None:
        self.core, self._call, self._side = core, call, side
        self.variables: dict[str, str] = {}
        self.arrays: dict[str, tuple[dict[str, str], ...]] = {"voicemails": core.voicemails}
        self._run = 0

    @property
    def call(self) -> Call:
        """The call; a verb that needs one is not run without."""
        if self._call is None:
            raise LeaveError
        return self._call

    @property
    def side(self) -> Party:
        """The side of the call that this session is."""
        if self._side is None:
            raise LeaveError
        return self._side

    @property
    def has_call(self) -> bool:
        """Whether there is a call to act on."""
        return self._call is not None and not self._call.over.is_set()

    @property
    def call_id(self) -> str:
        """The call's id, or an empty text."""
        return "" if self._call is None else self._call.id

    @property
    def party(self) -> Leg:
        """The one at the other end, who hears what is said and presses keys."""
        return self.call.legs[self.side.other]

    def hear(self, how: str, what: str) -> None:
        """Let the other end hear something."""
        self.core.sound(self.call, self.side.other, how, what)

    async def run(self, verbs: tuple[Verb, ...]) -> None:
        """Run a document and all that follow it."""
        if self._call is not None and self._side is not None:
            self._call.legs[self._side].session = self
        while True:
            try:
                await self.perform(verbs)
            except JumpError as jump:
                verbs = jump.verbs
                continue
            except (LeaveError, BackError):
                pass
            return

    async def perform(self, verbs: tuple[Verb, ...]) -> None:
        """Run verbs in order."""
        for verb in verbs:
            await self._perform_one(verb)

    async def _perform_one(self, raw: Verb) -> None:
        self._run += 1
        if self._run > MAX_VERBS:
            self.fail(raw.name, 303, f"more than {MAX_VERBS} verbs in one session")
            raise LeaveError
        handlers: Mapping[str, VerbHandler] = self.core.verbs
        handler = handlers.get(raw.name.lower())
        verb = self.filled(raw)
        if handler is None:
            self.fail(verb.name, 301, MESSAGES[301].format(verb.name))
        elif handler.needs_call and not self.has_call:
            self.fail(verb.name, 303, MESSAGES[303].format(verb.name))
        else:
            self.core.log.append(
                VerbRan(
                    at=self.core.clock.now(),
                    call_id=self.call_id,
                    name=handler.name,
                    attributes=verb.attributes,
                    text=verb.text,
                )
            )
            try:
                await handler.run(self, verb)
            except CommandError as error:
                self.fail(verb.name, error.answer.code, error.answer.message)

    def fail(self, name: str, code: int, message: str) -> None:
        """Log that a verb could not be carried out."""
        self.core.log.append(
            VerbFailed(at=self.core.clock.now(), call_id=self.call_id, name=name, code=code, message=message)
        )

    def filled(self, verb: Verb) -> Verb:
        """The verb with the variables in its attributes and its text filled in; what is inside it keeps its own."""
        attributes = tuple((name, self._fill(value)) for name, value in verb.attributes)
        return Verb(verb.name, attributes, self._fill(verb.text), verb.children)

    def _fill(self, text: str) -> str:
        return _VARIABLE.sub(self._value, text) if "$" in text else text

    def _value(self, found: re.Match[str]) -> str:
        name = found[1].lower()
        if name in self.variables:
            return self.variables[name]
        first, _, rest = name.partition(".")
        return self.variables[first] + "." + rest if rest and first in self.variables else found[0]

    async def ask(self, name: str, url: str, fields: Pairs) -> Told:
        """Notify the app; an answer that cannot be used ends the session, and so the call."""
        told = await self.core.notifier.tell(name, url, fields, call_id=self.call_id)
        if not told.usable:
            if self._call is not None:
                self.core.finish(self._call, CallState.COMPLETED, by="pbx")
            raise LeaveError
        return told
