"""### `header`

An HTTP header of the request, by its name without letter case. The tests are those on text. Verbs have no headers.

    when: {header: {User-Agent: {prefix: "crm/"}}}
"""  # noqa: D400, D415 - a page of the manual

from typing import Final

from interceptor.document import Node
from interceptor.policy.condition import Condition
from interceptor.policy.grammar import Reading
from interceptor.policy.shapes import Shape, Shapes
from interceptor.policy.texts import fields_shape, read_fields

KEY: Final = "header"


def read(node: Node, reading: Reading) -> Condition | None:
    """The conditions under ``header``, each by its header's name."""
    return read_fields(node, reading, "headers", f"`{KEY}`")


def shape(shapes: Shapes) -> Shape:
    """What can be written under ``header``."""
    return fields_shape(shapes)
