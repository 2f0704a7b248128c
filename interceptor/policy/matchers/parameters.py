"""### Any parameter

A key of `when` that begins with a capital letter is the name of a parameter (of a command or a notification) or of an
attribute (of a verb), compared without letter case. Names that begin otherwise stand under `parameters`, where any name
is good; so do names that the reference does not list but look much like one that it does.

    when:
      ExtensionType: SIP
      ConfigXML: {contains: "<Enabled>true"}
      parameters: {x-tenant: "7"}
"""  # noqa: D400, D415 - a page of the manual

from typing import Final

from interceptor import document
from interceptor.document import Node, Text
from interceptor.policy.condition import Condition
from interceptor.policy.grammar import Reading
from interceptor.policy.shapes import Shape, Shapes
from interceptor.policy.texts import fields_shape, read_fields, read_text_test, text_field

KEY: Final = "parameters"


def read(node: Node, reading: Reading) -> Condition | None:
    """The conditions under ``parameters``, each by its parameter's name."""
    return read_fields(node, reading, "values", f"`{KEY}`")


def read_parameter(key: Text, node: Node, reading: Reading) -> Condition | None:
    """The condition on the parameter that ``key`` names, which the reference should know."""
    known = {name.lower(): name for name in reading.context.parameters}
    if known and key.value.lower() not in known:
        hint = document.nearest(key.value, known.values())
        if hint:
            message = f"unknown parameter `{key.value}`{hint} If it is really called that, write it under `parameters`"
            reading.problems.add(key.place, message, "unknown_parameter")
    return read_text_test(node, reading, text_field("values", key.value, reading), f"`{key.value}`")


def shape(shapes: Shapes) -> Shape:
    """What can be written under ``parameters``."""
    return fields_shape(shapes)
