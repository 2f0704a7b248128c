"""Loops and storms: a call that goes round and round without anybody pressing a key is taken off the app.

An app that sends a caller from menu to menu, a ``GoTo`` that leads to itself, extensions that forward to one another:
each turn asks the app again, and each looks like a fair question. What tells them apart is that nobody does anything in
between. So the questions of one call are counted, and begin anew when the caller presses a key or is quiet for a while.
RoutingInterception names no call; its questions are counted by caller and dialled number, and begin anew each minute:
callers who hide their numbers, or share one, are no ring of forwardings, however many of them call in a day.
"""

from collections.abc import Mapping
from typing import Final

from interceptor.wire import knowledge

WINDOW_SECONDS: Final = 60.0
KEPT: Final = 8192  # calls; the half not asked about for longest is forgotten at once


class Storms:
    """Counts the questions of each call; ``most`` of them may follow one another, 0 means any number.

    Those of RoutingInterception may be so many within a minute.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # Two generations: what is asked about again moves to the young one, and the old one goes when that is full.
        self._young: dict[str, tuple[int, float]] = {}
        self._old: dict[str, tuple[int, float]] = {}

    def is_too_much(self, values: Mapping[str, str], at: float, hint: str = "") -> bool:
        """Whether a question of this call, asked at this Unix time in seconds, is one too many.

        ``hint`` is the call where the question names none.
        """
        key = call = _call_of(values) or hint
        if not call:
            key = _numbers_of(values)
        if not self._most or not key:
            return False
        count, since = self._young.get(key) or self._old.pop(key, (0, at))
        if at - since > WINDOW_SECONDS or values.get("dtmfdigits"):
            count, since = 0, at
        if len(self._young) >= KEPT // 2:
            self._old, self._young = self._young, {}
        self._young[key] = (count + 1, at if call else since)
        return count >= self._most


def _call_of(values: Mapping[str, str]) -> str:
    for name in knowledge.CALL_IDS:
        call = values.get(name)
        if call:
            return call
    return ""


def _numbers_of(values: Mapping[str, str]) -> str:
    caller, dialled = values.get("callerid"), values.get("originaldialednumber")
    return f"{caller}\0{dialled}" if caller and dialled else ""
