"""### `number`

The number that a message dials, whatever its parameter is called: `Dialed` of a Call, `Target` of a BlindTransfer,
`Destination` of a Route, `Recipient` of an SMS. For a RoutingInterception it is the number that the caller dialled.

    when: {number: {class: [premium, satellite]}}
    when: {number: ["+3612222222", "1099"]}
"""  # noqa: D400, D415 - a page of the manual

from typing import Final

from interceptor.document import Node
from interceptor.policy.condition import Condition
from interceptor.policy.grammar import Reading
from interceptor.policy.numbers import number_shape, read_number_test
from interceptor.policy.shapes import Shape, Shapes

KEY: Final = "number"


def read(node: Node, reading: Reading) -> Condition | None:
    """The condition under ``number``."""
    return read_number_test(node, reading, "number")


def shape(shapes: Shapes) -> Shape:
    """What can be written under ``number``."""
    return number_shape(shapes)
