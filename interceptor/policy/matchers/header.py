"""### `header`

An HTTP header of the request, by its name without letter case. The tests are those on text. Verbs have no headers.

    when: {header: {User-Agent: {prefix: "crm/"}}}
"""  # noqa: D400, D415 - a page of the manual

from typing import Final

from interceptor import document
from interceptor.document import Node
from interceptor.policy.condition import Condition, joined
from interceptor.policy.grammar import Reading
from interceptor.policy.texts import TextField, read_text_test

KEY: Final = "header"


def read(node: Node, reading: Reading) -> Condition | None:
    """The conditions under ``header``, each by its header's name."""
    entries = document.fields(node, None, reading.problems, "`header`").entries
    if not entries:
        message = "`header` should name a header, as in `header: {User-Agent: …}`"
        reading.problems.add(node.place, message, "empty_mapping")
        return None
    parts = [
        read_text_test(value, reading, TextField("headers", key.value.lower()), f"`{key.value}` of `header`")
        for key, value in entries
    ]
    found = tuple(part for part in parts if part is not None)
    return joined(found) if len(found) == len(parts) else None
