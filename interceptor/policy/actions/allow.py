"""### `allow`

Ends the reading: the message goes on its way, with the changes that rules above made. Written `allow: true`.

    - name: everyone-reads-the-state
      on: [ListActiveCalls, ListExtensions]
      allow: true
"""  # noqa: D400, D415 - a page of the manual

from typing import Final

from msgspec import Struct

from interceptor.document import Node
from interceptor.policy.actions.outcome import EVERY_KIND, Outcome
from interceptor.policy.actions.plain import read_true
from interceptor.policy.columns import Column
from interceptor.policy.grammar import Reading
from interceptor.policy.shapes import TRUE, Shape, Shapes
from interceptor.values import Kind, Verdict

KEY: Final = "allow"


class Allow(Struct, frozen=True):
    """Let the message pass."""

    @property
    def kinds(self) -> frozenset[Kind]:
        return EVERY_KIND

    @property
    def ends(self) -> bool:
        return True

    @property
    def reads(self) -> tuple[Column, ...] | None:
        return ()

    def act(self, outcome: Outcome) -> None:
        outcome.verdict = Verdict.ALLOW


def read(node: Node, reading: Reading) -> Allow | None:
    """The action under ``allow``."""
    return Allow() if read_true(node, reading, KEY) else None


def shape(_shapes: Shapes) -> Shape:
    """What can be written under ``allow``."""
    return TRUE
