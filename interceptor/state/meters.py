"""Tables that all workers share, of meters, holdings, calls, turns and more: files that each maps into its memory.

They stand behind a lock; turns need none. The supervisor makes them anew at each start. The lock is the system's, so it
falls with the process that holds it: a worker that is killed in the middle of counting keeps nobody waiting, and spoils
one row at most (``policy/meters.py`` says how that heals). It is held for a few microseconds.
"""

import os
import sys
from collections.abc import Mapping
from mmap import mmap
from pathlib import Path
from types import TracebackType

from interceptor.policy.meters import table_size
from interceptor.rows import TABLE_BYTES

if sys.platform != "win32":
    import fcntl

METERS = "meters"
HOLDINGS = "holdings"
CALLS = "calls"
TURNS = "turns"
FIRSTS = "firsts"
BREAKERS = "breakers"
HEALTH = "health"


def make_tables(state: Path, workers: int, turns: bytes = b"\0", more: Mapping[str, int] = {}) -> None:
    """Put empty tables for so many workers into the folder ``state``, and that of ``turns`` as given.

    ``more`` are others and their sizes in bytes; one of none is not kept from the start before. Raises ``OSError``.
    """
    state.mkdir(parents=True, exist_ok=True)
    sizes = {METERS: table_size(workers), HOLDINGS: TABLE_BYTES, CALLS: TABLE_BYTES, TURNS: len(turns), **more}
    for name, size in sizes.items():
        if not size:
            (state / name).unlink(missing_ok=True)
            continue
        fresh = state / f"{name}.new"
        with fresh.open("wb") as file:
            file.write(turns if name == TURNS else b"")
            file.truncate(size)
        fresh.chmod(0o600)
        fresh.replace(state / name)


class SharedTable:
    """The table of a server with several workers, as one of them has it; also the guard to hold while using it."""

    def __init__(self, state: Path, name: str = METERS) -> None:
        """Raise ``OSError`` where there is none."""
        self._descriptor = os.open(state / name, os.O_RDWR | os.O_CLOEXEC)
        try:
            self.memory = mmap(self._descriptor, 0)
        except (OSError, ValueError):
            os.close(self._descriptor)
            raise

    def close(self) -> None:
        """Let go of it."""
        self.memory.close()
        os.close(self._descriptor)

    def __enter__(self) -> None:
        if sys.platform != "win32":
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if sys.platform != "win32":
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
