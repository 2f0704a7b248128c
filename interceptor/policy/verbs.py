"""### Verbs in YAML

A list; each verb is its name alone (`Hangup`), its name with a text (`{Speak: "Please wait"}`), or its name with
attributes (`{Route: {Destination: "1099", RingTime: "30"}}`). An attribute whose value is a list is an element with
verbs in it; verbs directly inside stand under `do`, a text beside attributes under `text`.

    answer:
      - Speak: {text: "Press one for sales", Language: en-UK}
      - UserInput:
          Digits: "1"
          InitialCommands: [{Speak: "Please choose"}]
          Inputs:
            - Input: {Key: "1", do: [{BlindTransfer: {Target: "1001"}}]}
"""  # noqa: D400, D415 - a page of the manual

from typing import Final

from interceptor import document
from interceptor.document import Fields, Items, Node, Problems, Text
from interceptor.values import Verb

STRUCTURE: Final = ("InitialCommands", "Inputs", "Input", "Received", "item")


def read_verbs(node: Node, known: tuple[str, ...], problems: Problems) -> tuple[Verb, ...]:
    """The verbs that ``node`` writes; ``known`` are the names that a verb can have."""
    entries = node.nodes if isinstance(node, Items) else (node,)
    found = (_verb(entry, known, problems) for entry in entries)
    return tuple(verb for verb in found if verb is not None)


def _verb(node: Node, known: tuple[str, ...], problems: Problems) -> Verb | None:
    if isinstance(node, Text) and node.value:
        return Verb(_name(node, known, problems))
    if not isinstance(node, Fields) or len(node.entries) != 1:
        message = f"a verb is written `Hangup` or `Route: {{Destination: …}}`, here is {document.describe(node)}"
        problems.add(node.place, message, "not_a_verb")
        return None
    key, value = node.entries[0]
    name = _name(key, known, problems)
    match value:
        case Text():
            return Verb(name, text=value.value)
        case Items():
            return Verb(name, children=read_verbs(value, known, problems))
        case Fields():
            return _with_attributes(name, value, known, problems)


def _with_attributes(name: str, node: Fields, known: tuple[str, ...], problems: Problems) -> Verb:
    attributes: list[tuple[str, str]] = []
    children: list[Verb] = []
    inner = ""
    for key, value in node.entries:
        if key.value == "do":
            children += read_verbs(value, known, problems)
        elif isinstance(value, Items):
            children.append(Verb(_name(key, known, problems), children=read_verbs(value, known, problems)))
        else:
            word = document.text(value, problems, f"`{key.value}` of `{name}`", empty=True) or ""
            if key.value == "text":
                inner = word
            elif key.value.isidentifier():
                attributes.append((key.value, word))
            else:
                problems.add(key.place, f"`{key.value}` cannot be the name of an attribute", "bad_attribute")
    return Verb(name, tuple(attributes), inner, tuple(children))


def _name(node: Text, known: tuple[str, ...], problems: Problems) -> str:
    names = (*known, *STRUCTURE)
    if node.value not in names:
        problems.add(node.place, f"unknown verb `{node.value}`{document.nearest(node.value, names)}", "unknown_verb")
    return node.value
