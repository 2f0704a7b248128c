"""What the processes under a supervisor are copied from imports: all that they need. It runs nothing.

``processes.py`` names this module to the process that is copied; nobody else imports it.
"""

import contextlib
import gc

import interceptor.worker_process  # noqa: F401 - what this is for

with contextlib.suppress(ImportError):
    import uvloop  # noqa: F401 - optional

gc.collect()
gc.freeze()  # the first look of a collector would make every page that all share each one's own
