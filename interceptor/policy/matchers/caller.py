"""### `caller`

The number that a message shows as the caller's: `CallerId` of a Call, `CallerID` of a RoutingInterception, `Sender` of
an SMS. The same tests as for `number`.

    when: {caller: {class: internal}}
    when: {caller: {not: {country: HU}}}
"""  # noqa: D400, D415 - a page of the manual

from typing import Final

from interceptor.document import Node
from interceptor.policy.condition import Condition
from interceptor.policy.grammar import Reading
from interceptor.policy.numbers import number_shape, read_number_test
from interceptor.policy.shapes import Shape, Shapes

KEY: Final = "caller"


def read(node: Node, reading: Reading) -> Condition | None:
    """The condition under ``caller``."""
    return read_number_test(node, reading, "caller")


def shape(shapes: Shapes) -> Shape:
    """What can be written under ``caller``: the same as under ``number``."""
    return number_shape(shapes)
