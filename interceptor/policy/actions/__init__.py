"""What a rule does when it matches: one module each, and one line in this list.

An action has a ``KEY``, a ``read`` that turns what a rule writes into a value with an ``act``, and a docstring that is
its page of the manual.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from interceptor.document import Node
from interceptor.policy.actions import allow, answer, deny, limit, mirror, owns, reroute, rewrite, tag
from interceptor.policy.actions.outcome import Action
from interceptor.policy.grammar import Reading
from interceptor.policy.shapes import Shape, Shapes


class ActionModule(Protocol):
    """What a module of this package has."""

    @property
    def KEY(self) -> str:  # noqa: N802 - a constant of the module
        """The word in a rule."""
        ...

    def read(self, node: Node, reading: Reading) -> Action | None:
        """The action that ``node`` writes, or ``None`` after a problem."""
        ...

    def shape(self, shapes: Shapes) -> Shape:
        """What ``read`` takes, for editors."""
        ...


LIST: Final[tuple[ActionModule, ...]] = (allow, deny, answer, rewrite, reroute, limit, mirror, owns, tag)
ACTIONS: Final[Mapping[str, ActionModule]] = {action.KEY: action for action in LIST}
