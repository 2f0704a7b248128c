"""Work beside traffic in a thread: in slices with rests between them, so that the event loop has its turn.

Python runs one thread at a time. A thread that only computes makes every message wait up to five milliseconds, again
and again; one that works for a millisecond and then rests costs little more than the share of time it takes. Work is
counted in the thread's own processor time: what it waited for others is not held against it.
"""

import time
from collections.abc import Callable
from typing import Final

WORK_SECONDS: Final = 0.001
REST: Final = 3.0  # so many times as long as it worked
LONGEST_REST_SECONDS: Final = 0.02


class Pace:
    """Called often by the work, from one thread; rests when it is time to, for as long as there is traffic."""

    __slots__ = ("_began", "_busy")

    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy = busy
        self._began = 0.0

    def __call__(self) -> None:
        worked = time.thread_time() - self._began
        if worked < WORK_SECONDS:
            return
        time.sleep(min(worked * REST, LONGEST_REST_SECONDS) if self._busy() else 0.0)
        self._began = time.thread_time()
