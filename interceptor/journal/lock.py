"""One process at a time: a lock file that falls with the process that holds it."""

import errno
import os
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl


class LockTakenError(Exception):
    """Another process holds the lock."""


def take_lock(path: Path) -> int:
    """Hold the lock at ``path`` until the returned descriptor is closed. Raises :class:`LockTakenError`.

    On a system without ``flock`` a second process goes unnoticed.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise LockTakenError(str(path)) from error
            raise
    return descriptor
