"""Blocks of a disk for bytes that a file does not have yet.

A sync that also has to find room on the disk takes about twice as long as one into blocks that the file has already
(99th percentile of a journal's writes on ext4: 4.0 and 2.0 ms). The size of the file stays, so nobody reads them.
"""

import contextlib
import ctypes
import os
from typing import Final

_KEEP_SIZE: Final = 1  # FALLOC_FL_KEEP_SIZE, linux/falloc.h
_fallocate = getattr(ctypes.CDLL(None), "fallocate", None)  # Linux only; Python's posix_fallocate changes the size
if _fallocate is not None:
    _fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def take_blocks(file: int, offset: int, size: int) -> None:
    """Ask for the blocks of ``size`` bytes from ``offset``. Where there are none, the write will say so, and why."""
    if _fallocate is not None:
        _fallocate(file, _KEEP_SIZE, offset, size)


def let_go_of_blocks(file: int, size: int) -> None:
    """Give back what lies behind the ``size`` bytes of a file; where that fails, they stay the file's."""
    with contextlib.suppress(OSError):
        os.ftruncate(file, size)
