"""How a command that plays something ends before it is over: by Ctrl-C or SIGTERM, which are one thing to it.

Either cancels what it does, so that whatever was begun is ended and removed; then the process exits as those do whom
the signal ends.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM


def until_ended[T](
    work: Coroutine[Any, Any, T], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
) -> T:
    """Run ``work`` in a loop of its own; exits where a signal ended it, once it has cleaned up."""
    told_to_end = False

    async def endable() -> T:
        loop, main = asyncio.get_running_loop(), asyncio.current_task()
        assert main is not None

        def end() -> None:
            nonlocal told_to_end
            if not told_to_end:  # a second one would end the cleaning up
                told_to_end = True
                main.cancel()

        loop.add_signal_handler(signal.SIGTERM, end)
        return await work

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            done = runner.run(endable())
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except asyncio.CancelledError:
        if not told_to_end:
            raise
        raise SystemExit(TERMINATED) from None
    if told_to_end:  # it was over just then
        raise SystemExit(TERMINATED)
    return done
