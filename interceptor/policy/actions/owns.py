"""### `owns`

`owns: any` lets the message act on calls that are not the app's own, and shows it all calls in lists. Where `ownership`
of `config.yaml` is `enforce`, an app without such a rule may only name calls that it was told about; the PBX's own 601
is the answer for all others.

    - name: the-switchboard-handles-every-call
      on: [Hangup, BlindTransfer, Forward, ListActiveCalls]
      when: {app: switchboard}
      owns: any
"""  # noqa: D400, D415 - a page of the manual

from typing import Final

from msgspec import Struct

from interceptor import document
from interceptor.document import Node
from interceptor.policy.actions.outcome import Outcome
from interceptor.policy.columns import Column
from interceptor.policy.grammar import Reading
from interceptor.policy.shapes import Shape, Shapes, one_of
from interceptor.values import Kind

KEY: Final = "owns"
_KINDS: Final = frozenset((Kind.COMMAND, Kind.VERB))
_WORDS: Final = ("any",)


class Owns(Struct, frozen=True):
    """Let the message act on any call."""

    @property
    def kinds(self) -> frozenset[Kind]:
        return _KINDS

    @property
    def ends(self) -> bool:
        return False

    @property
    def reads(self) -> tuple[Column, ...] | None:
        return ()

    def act(self, outcome: Outcome) -> None:
        outcome.owns_any = True


def read(node: Node, reading: Reading) -> Owns | None:
    """The action under ``owns``."""
    return None if document.one_of(node, _WORDS, reading.problems, "`owns`") is None else Owns()


def shape(_shapes: Shapes) -> Shape:
    """What can be written under ``owns``."""
    return one_of(_WORDS)
