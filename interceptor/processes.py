"""How Interceptor starts processes of its own: anew, or as copies of one that has imported what they need."""

import multiprocessing
import os
import sys
from multiprocessing import util
from multiprocessing.context import BaseContext, SpawnContext
from typing import Final

if sys.platform != "win32":
    import resource

_TEMPLATE: Final = "interceptor.worker_template"
_LONGEST_FOLDER: Final = 80  # bytes: the name of a socket in it must not be longer than 107
TEMPLATE_FOLDER: Final = "INTERCEPTOR_TEMPLATE_FOLDER"
"""What tells the process that is copied where the socket is that it is asked on, in a folder of its own."""


def open_as_many_files_as_may_be() -> int | None:
    """Let this process, and those it starts, have as many files and connections open as the system allows.

    How many that is; ``None`` where there is no such limit. Most systems begin with 1,024, for the sake of programs
    that break with more, and let each process ask for the rest.
    """
    if sys.platform == "win32":
        return None
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        except (OSError, ValueError):  # macOS says "unlimited" and does not mean it
            most = soft
    return None if most == resource.RLIM_INFINITY else most


def anew() -> SpawnContext:
    """Each imports what it needs."""
    return multiprocessing.get_context("spawn")


def copies() -> BaseContext:
    """``multiprocessing``'s fork server: a process that runs nothing, and is copied whenever one is wanted.

    What a worker imports takes a third of a second. A copy has it, so one that has died is back in a fraction of that,
    and what all have in common they share. Where the system cannot do so, each begins anew: macOS has libraries that do
    not outlive a copy, and the fork server needs a folder for temporary files.
    """
    if sys.platform == "darwin" or "forkserver" not in multiprocessing.get_all_start_methods():
        return anew()
    try:
        folder: str = util.get_temp_dir()
    except OSError:
        return anew()
    if len(os.fsencode(folder)) > _LONGEST_FOLDER:
        return anew()
    os.environ[TEMPLATE_FOLDER] = folder
    os.environ.setdefault("PYTHONSAFEPATH", "1")  # it imports nothing out of the folder that we were started in
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_TEMPLATE])
    return context
