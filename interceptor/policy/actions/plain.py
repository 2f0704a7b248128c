"""Actions that need no more words: ``allow: true``, ``deny: true``."""

from interceptor import document
from interceptor.document import Node, Text
from interceptor.policy.grammar import Reading


def read_true(node: Node, reading: Reading, key: str) -> bool:
    """Whether ``key: true`` stands there (or ``key:`` alone); anything else is a problem."""
    if isinstance(node, Text) and node.value.lower() in ("", "true", "yes", "on"):
        return True
    reading.problems.add(
        node.place, f"`{key}` is written `{key}: true`, here is {document.describe(node)}", f"bad_{key}"
    )
    return False
