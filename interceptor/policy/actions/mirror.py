"""### `mirror`

Sends a copy of the message to a second place, and goes on reading. Whatever comes back from there is ignored. A command
can be copied to another cluster or to an address, a notification to another app or to an address; places are written as
in `reroute`, an address also as a word alone. A message that is denied or answered here is not copied; one that passes
is copied as it leaves, with the changes that rules made.

    - name: the-new-pbx-is-shown-what-the-old-one-does
      on: [ListActiveCalls, ListExtensions]
      mirror: http://10.0.0.9:8001/commands

A copy never delays the message or makes it fail. Copies have connections of their own (four to each address), a queue
of their own (256 copies and 16 MiB of them) and ten seconds; what finds no room or no answer is dropped and counted in
`interceptor_mirror_copies_total`. They carry the header `X-Interceptor-Mirror` with the id of the exchange, and a
message that comes with that header is copied no further. User names, passwords and other secrets are taken out, and
headers are not copied; a cluster that has `credentials` in `config.yaml` gets its own. Addresses for notifications are
in a copy as the app gave them. The record names in `mirrors` where copies were meant to go.

A copy to a PBX does there what it says: a `Call` that is mirrored rings twice. In shadow mode nothing is sent.
"""  # noqa: D400, D415 - a page of the manual

from typing import Final

from msgspec import Struct

from interceptor.document import Fields, Node, Text
from interceptor.policy.actions.outcome import Outcome
from interceptor.policy.actions.reroute import (
    AppColumn,
    ClusterColumn,
    Written,
    read_for,
    read_target,
    target_of,
    target_shape,
)
from interceptor.policy.columns import Column
from interceptor.policy.grammar import Reading
from interceptor.policy.shapes import TEXT, Shape, Shapes, any_of
from interceptor.values import Kind, ToApp, ToCluster

KEY: Final = "mirror"


class Mirror(Struct, frozen=True):
    """Send a copy of the message to this target too."""

    target: Written

    @property
    def kinds(self) -> frozenset[Kind]:
        match self.target:
            case ToCluster() | ClusterColumn():
                return frozenset((Kind.COMMAND,))
            case ToApp() | AppColumn():
                return frozenset((Kind.NOTIFICATION,))
            case _:
                return frozenset((Kind.COMMAND, Kind.NOTIFICATION))

    @property
    def ends(self) -> bool:
        return False

    @property
    def reads(self) -> tuple[Column, ...] | None:
        return read_for(self.target)

    def act(self, outcome: Outcome) -> None:
        target = target_of(self.target, outcome)
        if target is not None and target not in outcome.mirrors:
            outcome.mirrors.append(target)


def read(node: Node, reading: Reading) -> Mirror | None:
    """The action under ``mirror``."""
    if isinstance(node, Text) and "://" in node.value:
        node = Fields(((Text("url", node.place), node),), node.place)
    target = read_target(node, reading, f"`{KEY}`")
    return None if target is None else Mirror(target)


def shape(shapes: Shapes) -> Shape:
    """What can be written under ``mirror``."""
    return any_of(TEXT, target_shape(shapes))
