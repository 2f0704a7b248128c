"""What a serving process does with its memory."""

import platform
import subprocess
import sys

import pytest

BLOCKS = """
import ctypes
from interceptor.worker import settle_memory

class Told(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks",
                                                     "fsmblks", "uordblks", "fordblks", "keepcost")]

told = ctypes.CDLL(None).mallinfo2
told.restype = Told
settle_memory()
before = told().hblks
for _ in range(3):  # the first that is freed is where glibc changes its mind
    block = bytearray(4 << 20)
    print(told().hblks - before)
    del block
    print(told().hblks - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a habit of glibc's")
def test_big_blocks_come_from_the_system_and_go_back_to_it() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKS], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["1", "0"] * 3
