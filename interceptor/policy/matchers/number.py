"""### `number`

The number that a message dials, whatever its parameter is called: `Dialed` of a Call, `Target` of a BlindTransfer,
`Destination` of a Route, `Recipient` of an SMS. For a RoutingInterception it is the number that the caller dialled.

A command or verb may dial two: `Callee` and `Caller` of a CallSetup. It is judged by the first, or by one that costs
more, or by one that is refused: who may not call one of them may not have them connected. An extension among them
counts where a rule refuses it, not where none allows it. With an emergency number first it is a call for help.

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
