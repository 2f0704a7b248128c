"""Long work that says between its parts that it can rest here: who runs it beside traffic lets it.

The core knows no clock and no thread. It calls a function, which for most callers does nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

EVERY: Final = 16  # things between two calls: some hundred microseconds of work

Pace = Callable[[], None]


def unhurried() -> None:
    """The pace of whoever has the processor for himself: go on."""


def paced[T](things: Iterable[T], pace: Pace) -> Iterator[T]:
    """The same things; ``pace`` is called now and then between them."""
    left = EVERY
    for thing in things:
        left -= 1
        if not left:
            left = EVERY
            pace()
        yield thing
