"""The states of a call, what messages mean for them, and the one table that says which state follows which.

The PBX tells states in its own words (reference, section 5.1), apps ask for changes, and either may be late, missing
or told twice. So every pair of state and signal has an entry: where it leads, and how that is to be taken.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from msgspec import Struct


class State(Enum):
    """Where a call stands. ``NEW`` is before its first message, never seen from outside."""

    NEW = "new"
    REQUESTED = "requested"  # somebody wants it; it has no way yet
    ROUTED = "routed"  # it has a way: the PBX took the command, or was told where to, or the dial plan decides
    RINGING = "ringing"
    CONNECTED = "connected"
    HELD = "held"
    TRANSFERRING = "transferring"
    ENDED = "ended"

    __hash__ = object.__hash__  # members are single; Enum's own is made in Python and costs ten times as much


class Signal(Enum):
    """What a message means for the state of its call."""

    ASKED = "asked"  # a call is wanted
    ACCEPTED = "accepted"  # the PBX took the command that wants it
    ROUTED = "routed"  # a way was chosen
    RETRIED = "retried"  # an attempt has failed, and another way is asked for
    RANG = "rang"
    ANSWERED = "answered"  # picked up
    TALKED = "talked"  # two talk, or somebody hears a menu
    HELD = "held"
    TRANSFERRED = "transferred"  # a transfer was asked for and taken
    ENDED = "ended"

    __hash__ = object.__hash__


class Cause(Enum):
    """Why a call ended."""

    COMPLETED = "completed"  # a party hung up
    BUSY = "busy"
    CANCELLED = "cancelled"  # the caller gave up while it rang
    ERROR = "error"
    TRANSFERRED = "transferred"
    HUNG_UP = "hung up"  # by a command
    REJECTED = "rejected"  # by the app that was asked
    REFUSED = "refused"  # by the policy, or a rule answered in place of the PBX
    FAILED = "failed"  # the PBX did not take the command
    UNANSWERED = "unanswered"  # an attempt has failed, and the app that was asked named no further way
    GONE = "gone"  # the PBX does not know it any more; its end was not seen
    UNSEEN = "no end seen"  # nothing was heard of it for long
    CROWDED = "crowded out"  # there were too many open calls

    __hash__ = object.__hash__


PRESUMED: Final = frozenset({Cause.TRANSFERRED, Cause.UNANSWERED, Cause.GONE, Cause.UNSEEN, Cause.CROWDED})
"""Ends that we conclude, or of which the reference does not say whether they are final: a call may go on after them."""


class Taken(Enum):
    """How a signal is to be taken in a state."""

    ONWARD = "onward"  # the call moves
    STAYS = "stays"  # it says nothing new
    LATE = "late"  # the call was already further: told out of order, or for nothing
    OVER = "over"  # the call had ended

    __hash__ = object.__hash__


class Move(Struct, frozen=True):
    """An entry of the table."""

    to: State
    taken: Taken


_LETTERS: Final = {
    "q": State.REQUESTED,
    "w": State.ROUTED,
    "r": State.RINGING,
    "c": State.CONNECTED,
    "h": State.HELD,
    "t": State.TRANSFERRING,
    "e": State.ENDED,
}
# A letter: the call moves there. `.`: it stays, and that is in order. `l`: it stays, the message is late.
# `o`: it stays, and was over before.
_ROWS: Final = """
                asked accepted routed retried rang answered talked held transferred ended
new               q       w      w       q      r      c       c     h        t        e
requested         .       w      w       .      r      c       c     h        t        e
routed            .       .      .       q      r      c       c     h        t        e
ringing           l       .      w       q      .      c       c     h        t        e
connected         l       .      l       l      l      .       .     h        t        e
held              l       .      l       l      l      l       c     .        t        e
transferring      .       .      .       .      .      c       c     h        .        e
ended             o       .      .       o      o      o       o     o        o        .
"""


def _read(rows: str) -> dict[State, dict[Signal, Move]]:
    head, *lines = (line.split() for line in rows.strip().splitlines())
    signals = [Signal(word) for word in head]
    table: dict[State, dict[Signal, Move]] = {}
    for word, *entries in lines:
        state = State(word)
        table[state] = {signal: _move(state, entry) for signal, entry in zip(signals, entries, strict=True)}
    return table


def _move(state: State, entry: str) -> Move:
    match entry:
        case ".":
            return Move(state, Taken.STAYS)
        case "l":
            return Move(state, Taken.LATE)
        case "o":
            return Move(state, Taken.OVER)
        case _:
            return Move(_LETTERS[entry], Taken.ONWARD)


TABLE: Final[Mapping[State, Mapping[Signal, Move]]] = _read(_ROWS)
"""What becomes of a call in a state when a signal comes; every pair has an entry."""

PBX_STATES: Final[Mapping[str, tuple[Signal, Cause | None]]] = {
    "ringing": (Signal.RANG, None),
    "answered": (Signal.ANSWERED, None),
    "incall": (Signal.TALKED, None),
    "hold": (Signal.HELD, None),
    "transferred": (Signal.ENDED, Cause.TRANSFERRED),
    "busy": (Signal.ENDED, Cause.BUSY),
    "cancelled": (Signal.ENDED, Cause.CANCELLED),
    "completed": (Signal.ENDED, Cause.COMPLETED),
    "error": (Signal.ENDED, Cause.ERROR),
}
"""The PBX's own words for states, in lower case, and what they mean here."""


def move(state: State, cause: Cause | None, signal: Signal) -> Move:
    """What becomes of a call. An end that is only presumed is taken back by whatever shows that the call goes on."""
    if state is State.ENDED and cause in PRESUMED and signal is not Signal.ENDED:
        found = TABLE[State.NEW][signal]
        return found if signal in _SHOWS_LIFE else TABLE[state][signal]
    return TABLE[state][signal]


_SHOWS_LIFE: Final = frozenset({Signal.RANG, Signal.ANSWERED, Signal.TALKED, Signal.HELD, Signal.TRANSFERRED})
