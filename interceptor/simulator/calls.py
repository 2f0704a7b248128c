"""Calls, their legs and states, and the table of those that are on and those that were.

Laws: a final state is entered once and never left; ``over`` is set in the same instant.
"""

import asyncio
import random
import string
from collections import deque
from enum import Enum

from interceptor.simulator.events import Pairs

KEYS_KEPT = 64
"""How many keys pressed before anybody asked for them are remembered, per leg."""


class CallState(Enum):
    """The states of the reference, section 5.1."""

    SETUP = "Setup"  # before it rings: no word of the reference, never sent
    RINGING = "Ringing"
    ANSWERED = "Answered"
    IN_CALL = "InCall"
    HOLD = "Hold"
    TRANSFERRED = "Transferred"
    BUSY = "Busy"
    CANCELLED = "Cancelled"
    COMPLETED = "Completed"
    ERROR = "Error"

    @property
    def is_final(self) -> bool:
        """Whether the call is over."""
        return self in _FINAL


_FINAL = frozenset({CallState.TRANSFERRED, CallState.BUSY, CallState.CANCELLED, CallState.COMPLETED, CallState.ERROR})


class Attempt(Enum):
    """How a try to reach a destination ended; the values are the words of ``LastCallState``."""

    CALLING = "Calling"
    ANSWERED = "Answered"
    NO_ANSWER = "NoAnswer"
    BUSY = "Busy"
    NOT_FOUND = "NotFound"
    ERROR = "Error"


class Party(Enum):
    """The two ends of a call."""

    CALLER = "caller"
    CALLEE = "callee"

    @property
    def other(self) -> "Party":
        """The other end."""
        return Party.CALLEE if self is Party.CALLER else Party.CALLER


class Leg:
    """One end of a call: a number, the keys it has pressed that nobody has taken yet, and whether OzML runs it."""

    def __init__(self, number: str) -> None:
        self.number = number
        self.session: object | None = None
        self._keys: deque[str] = deque(maxlen=KEYS_KEPT)
        self._pressed = asyncio.Event()

    def press(self, keys: str) -> None:
        """Remember keys until somebody takes them."""
        self._keys.extend(keys)
        self._pressed.set()

    @property
    def has_keys(self) -> bool:
        """Whether a key waits to be taken."""
        return bool(self._keys)

    async def key(self) -> str:
        """The next key, as soon as there is one."""
        await self.pressed()
        return self._keys.popleft()

    async def pressed(self) -> None:
        """Return as soon as there is a key to take."""
        while not self._keys:
            self._pressed.clear()
            await self._pressed.wait()

    def forget_keys(self) -> None:
        """Drop what was pressed and not taken."""
        self._keys.clear()


class Recording:
    """A recording that is going on, and where the PBX tells that it is finished."""

    def __init__(self, url: str, finished_url: str, began: float, party: Party | None) -> None:
        self.url, self.finished_url, self.began, self.party = url, finished_url, began, party


class Call:
    """One call from dialling to its end. Only the switchboard changes its state."""

    def __init__(self, call_id: str, caller: str, dialled: str, *, caller_id: str, began: float) -> None:
        self.id = call_id
        self.legs = {Party.CALLER: Leg(caller), Party.CALLEE: Leg(dialled)}
        self.dialled = dialled
        self.caller_id = caller_id or caller
        self.caller_name = ""
        self.state = CallState.SETUP
        self.ended_by = ""
        self.began = began
        self.rang_at: float | None = None
        self.answered_at: float | None = None
        self.ended_at: float | None = None
        self.answered = asyncio.Event()
        self.over = asyncio.Event()
        self.forwarded = asyncio.Event()
        self.forwarded_to = ""
        self.recordings: list[Recording] = []
        self.alarms: deque[Pairs] = deque(maxlen=16)
        self.alarmed = asyncio.Event()
        self.verbs_run = 0
        self.continued: Call | None = None

    @property
    def caller(self) -> str:
        """The number that calls."""
        return self.legs[Party.CALLER].number

    @property
    def callee(self) -> str:
        """The number that is called at this moment."""
        return self.legs[Party.CALLEE].number

    def ring_seconds(self, now: float) -> float:
        """How long it has rung, or rang."""
        if self.rang_at is None:
            return 0.0
        until = self.answered_at if self.answered_at is not None else self.ended_at
        return (now if until is None else until) - self.rang_at

    def talk_seconds(self, now: float) -> float:
        """How long the two have talked."""
        if self.answered_at is None:
            return 0.0
        return (now if self.ended_at is None else self.ended_at) - self.answered_at


class CallTable:
    """The calls that are on, by id, and the latest of those that are over."""

    def __init__(self, *, seed: int = 1, active: int = 2000, history: int = 5000) -> None:
        self._dice = random.Random(seed)
        self._most = active
        self.active: dict[str, Call] = {}
        self.history: deque[Call] = deque(maxlen=history)

    def is_full(self) -> bool:
        """Whether one more call would be one too many."""
        return len(self.active) >= self._most

    def new_id(self) -> str:
        """Six letters and digits, as the PBX gives them."""
        while True:
            call_id = "".join(self._dice.choices(string.ascii_letters + string.digits, k=6))
            if call_id not in self.active:
                return call_id

    def add(self, call: Call) -> None:
        """Keep a call that begins."""
        self.active[call.id] = call

    def retire(self, call: Call) -> None:
        """Move a call that has ended to the history."""
        if self.active.pop(call.id, None) is not None:
            self.history.append(call)
