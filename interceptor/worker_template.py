"""What the processes under a supervisor are copied from imports: all that they need. It runs nothing.

``processes.py`` names this module to the process that is copied; nobody else imports it.
"""

import atexit
import contextlib
import gc
import os
import shutil
import sys

import interceptor.worker_process  # noqa: F401 - what this is for
from interceptor.processes import TEMPLATE_FOLDER

with contextlib.suppress(ImportError):
    import uvloop  # noqa: F401 - optional


_folder = os.environ.pop(TEMPLATE_FOLDER, "")  # its copies have nothing to do with it


def _leave_nothing() -> None:
    """Remove the folder of its socket: it ends last, and where all whom it served were killed, nobody else does."""
    if not hasattr(sys, "last_exc"):  # it failed: whom it serves may still be there, and start another in that folder
        shutil.rmtree(_folder, ignore_errors=True)


if _folder:
    atexit.register(_leave_nothing)

gc.collect()
gc.freeze()  # the first look of a collector would make every page that all share each one's own
