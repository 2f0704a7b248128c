"""The calls that messages may be about: few enough to be listed, so what rules ask of them is decided exactly."""

from collections.abc import Iterable
from itertools import product
from typing import Final

from interceptor.policy.condition import any_word
from interceptor.policy.matchers.call import DIRECTIONS, STATES, call_text
from interceptor.values import CallFacts

CALLS: Final[tuple[CallFacts | None, ...]] = (
    None,
    *(CallFacts(*each) for each in product((True, False), (*STATES, ""), (*DIRECTIONS, ""))),
)
"""Every call there may be, and first that there is none."""


def calls_text(calls: Iterable[CallFacts | None]) -> str:
    """Some calls in words: ``about a call of its own that is ringing or held``."""
    chosen = tuple(calls)
    found = tuple(call for call in chosen if call is not None)
    if not found:
        return "about no call"
    owned = tuple(dict.fromkeys(call.owned for call in found))
    states = tuple(dict.fromkeys(call.state for call in found))
    directions = tuple(dict.fromkeys(call.direction for call in found))
    if len(found) < len(owned) * len(states) * len(directions):
        return f"about {any_word([call_text(call) for call in chosen])}"
    words = ["about a call"]
    if len(owned) == 1:
        words.append("of its app" if owned[0] else "that is not of its app")
    if len(states) <= len(STATES):
        words.append(_asked("state", states, STATES))
    if len(directions) <= len(DIRECTIONS):
        words.append(_asked("direction", directions, DIRECTIONS))
    return " ".join(words) + " or none" * (len(found) < len(chosen))


def _asked(what: str, inside: tuple[str, ...], known: tuple[str, ...]) -> str:
    outside = [word for word in (*known, "") if word not in inside]
    if len(inside) <= len(outside):
        return f"with {what} {any_word([word or 'not known' for word in inside])}"
    return f"with {what} not {any_word([word or 'unknown' for word in outside])}"
