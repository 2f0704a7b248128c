"""The dimensions of ``when``: one module each, and one line in this list.

A matcher has a ``KEY``, a ``read`` that turns what a rule writes into a condition, and a docstring that is its page of
the manual. One that is worth an index gives its conditions an offer; the others are asked one by one.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from interceptor.document import Node
from interceptor.policy.condition import Condition
from interceptor.policy.grammar import Reading
from interceptor.policy.matchers import app, call, caller, header, number, parameters, sample, source, tag, time
from interceptor.policy.shapes import Shape, Shapes


class Matcher(Protocol):
    """What a module of this package has."""

    @property
    def KEY(self) -> str:  # noqa: N802 - a constant of the module
        """The word in ``when``."""
        ...

    def read(self, node: Node, reading: Reading) -> Condition | None:
        """The condition that ``node`` writes, or ``None`` after a problem."""
        ...

    def shape(self, shapes: Shapes) -> Shape:
        """What ``read`` takes, for editors."""
        ...


LIST: Final[tuple[Matcher, ...]] = (app, source, number, caller, time, call, header, tag, sample, parameters)
MATCHERS: Final[Mapping[str, Matcher]] = {matcher.KEY: matcher for matcher in LIST}
