"""What the processes under a supervisor are copied from imports: all that they need. It runs nothing.

``processes.py`` names this module to the process that is copied; nobody else imports it.
"""

import atexit
import contextlib
import gc
import os
import shutil

import interceptor.worker_process  # noqa: F401 - what this is for
from interceptor.processes import TEMPLATE_FOLDER

with contextlib.suppress(ImportError):
    import uvloop  # noqa: F401 - optional

# It ends last, when whom it served and all its copies are gone. Where they were killed, nobody else is there to do it.
atexit.register(shutil.rmtree, os.environ[TEMPLATE_FOLDER], ignore_errors=True)

gc.collect()
gc.freeze()  # the first look of a collector would make every page that all share each one's own
