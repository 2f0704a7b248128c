"""### `tag`

Writes one word, or a list of them, into the audit record of the message, and goes on reading.

    - name: calls-abroad-are-marked
      on: Call
      when: {number: {not: {country: HU}}}
      tag: abroad
"""  # noqa: D400, D415 - a page of the manual

from typing import Final

from msgspec import Struct

from interceptor import document
from interceptor.document import Node
from interceptor.policy.actions.outcome import EVERY_KIND, Outcome
from interceptor.policy.columns import Column
from interceptor.policy.grammar import Reading
from interceptor.policy.shapes import TEXT, Shape, Shapes, listed
from interceptor.values import Kind

KEY: Final = "tag"


class Tag(Struct, frozen=True):
    """Mark the message."""

    tags: tuple[str, ...]

    @property
    def kinds(self) -> frozenset[Kind]:
        return EVERY_KIND

    @property
    def ends(self) -> bool:
        return False

    @property
    def reads(self) -> tuple[Column, ...] | None:
        return ()

    def act(self, outcome: Outcome) -> None:
        outcome.tags += (tag for tag in self.tags if tag not in outcome.tags)


def read(node: Node, reading: Reading) -> Tag | None:
    """The action under ``tag``."""
    tags = document.texts(node, reading.problems, "`tag`")
    if "" in tags:
        reading.problems.add(node.place, "`tag` should not be empty", "empty_tag")
    return Tag(tags) if tags else None


def shape(_shapes: Shapes) -> Shape:
    """What can be written under ``tag``."""
    return listed(TEXT)
