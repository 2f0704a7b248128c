"""OzML verbs written in YAML, for what a caller hears when an app does not answer.

``[{Speak: {Text: "One moment"}}, {BlindTransfer: {Target: "1099"}}, Hangup]``: a verb is its name alone, or its name
with its attributes. Two keys are not attributes: ``text`` is the element's text, ``verbs`` the verbs inside it. A name
with a text in place of attributes (``{GoTo: "http://…"}``) is the verb with that element text.
"""

from interceptor import document
from interceptor.config import reading
from interceptor.config.reading import Reading
from interceptor.document import Fields, Node, Text, nearest
from interceptor.values import Verb
from interceptor.wire import knowledge

_STRUCTURE = ("InitialCommands", "Inputs", "Input", "Received", "item")


def verbs(node: Node, read: Reading, path: str) -> tuple[Verb, ...] | None:
    """A list of verbs, each written as the module says."""
    entries = document.items(node, read.problems, f"`{path}`")
    found = [_verb(entry, read, path) for entry in entries]
    return tuple(one for one in found if one is not None) or None


def _verb(node: Node, read: Reading, path: str) -> Verb | None:
    if isinstance(node, Text):
        alone = reading.text(node, read, path)
        return None if alone is None or not _known(alone, node, read, path) else Verb(alone)
    if not isinstance(node, Fields) or len(node.entries) != 1:
        message = f"a verb in `{path}` is one name with its attributes, such as `{{Speak: {{Text: Hello}}}}`"
        read.problems.add(node.place, message, "not_a_verb")
        return None
    key, content = node.entries[0]
    if not _known(key.value, key, read, path):
        return None
    if isinstance(content, Text):
        return Verb(key.value, text=content.value)
    attributes: list[tuple[str, str]] = []
    element_text = ""
    children: tuple[Verb, ...] = ()
    for name, value in document.fields(content, None, read.problems, f"the verb `{key.value}`").entries:
        if name.value == "verbs":
            children = verbs(value, read, path) or ()
            continue
        written = document.text(value, read.problems, f"`{key.value}.{name.value}`")
        if written is None:
            continue
        if name.value == "text":
            element_text = written
        else:
            attributes.append((name.value, written))
    return Verb(key.value, tuple(attributes), element_text, children)


def _known(name: str, node: Text, read: Reading, path: str) -> bool:
    if knowledge.verb(name) is not None or name.lower() in {known.lower() for known in _STRUCTURE}:
        return True
    message = f"unknown verb `{name}` in `{path}`{nearest(name, (*knowledge.VERBS, *_STRUCTURE))}"
    read.problems.add(node.place, message, "unknown_verb")
    return False
