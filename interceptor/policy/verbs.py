"""### Verbs in YAML

A list; each verb is its name alone (`Hangup`), its name with a text (`{Speak: "Please wait"}`), or its name with
attributes (`{Route: {Destination: "1099", RingTime: "30"}}`). An attribute whose value is a list is an element with
verbs in it; verbs directly inside stand under `do`, a text beside attributes under `text`. Texts and attributes may
hold placeholders.

    answer:
      - Speak: {text: "Press one for sales", Language: en-UK}
      - UserInput:
          Digits: "1"
          InitialCommands: [{Speak: "Please choose"}]
          Inputs:
            - Input: {Key: "1", do: [{BlindTransfer: {Target: "1001"}}]}
"""  # noqa: D400, D415 - a page of the manual

import re
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from interceptor import document
from interceptor.document import Fields, Items, Node, Problems, Text
from interceptor.policy.grammar import Reading
from interceptor.policy.placeholders import Wording, read_verb_text
from interceptor.policy.shapes import TEXT_OR_NOTHING, Shape, Shapes, any_of, closed, one_of, refer
from interceptor.values import Place, Verb

STRUCTURE: Final = ("InitialCommands", "Inputs", "Input", "Received", "item")
_ADDRESSES: Final = re.compile("url|file|directory|source", re.IGNORECASE)
_WHOLLY: Final = frozenset(("goto", "sql", "play", "movefile", "deletefile"))
"""Verbs that name places, files or queries in whatever they carry."""

_Words = Callable[[Node, str, bool], Wording | None]
"""Reads a text; told what to call it in a problem, and whether it names a place, a file or a query."""


class Draft(Struct, frozen=True):
    """A verb as it is written, its texts perhaps with placeholders."""

    name: str
    attributes: tuple[tuple[str, Wording], ...] = ()
    text: Wording = ""
    children: tuple["Draft", ...] = ()

    @property
    def varies(self) -> bool:
        """Some text in it has a placeholder."""
        words = (self.text, *(word for _, word in self.attributes))
        return any(not isinstance(word, str) for word in words) or any(child.varies for child in self.children)

    def verb(self, fill: Callable[[Wording], str]) -> Verb:
        """The verb, each text as ``fill`` makes it."""
        attributes = tuple((name, fill(word)) for name, word in self.attributes)
        return Verb(self.name, attributes, fill(self.text), tuple(child.verb(fill) for child in self.children))


def read_verbs(
    node: Node, known: tuple[str, ...], problems: Problems, reading: Reading | None = None
) -> tuple[Verb, ...]:
    """The verbs that ``node`` writes; ``known`` are the names that a verb can have.

    With ``reading`` their texts may have placeholders, which are checked and stay as they are written.
    """

    def plain(node: Node, what: str, address: bool) -> str | None:
        if reading is not None:
            found = read_verb_text(node, reading, what, address=address)
            return node.value if isinstance(node, Text) and found is not None else None
        document.warn_unquoted(node, problems)
        return document.text(node, problems, what, empty=True)

    return tuple(draft.verb(str) for draft in _Reader(known, problems, plain).drafts(node))


def read_drafts(node: Node, reading: Reading) -> tuple[Draft, ...]:
    """The verbs that ``node`` writes, for messages to fill."""

    def worded(node: Node, what: str, address: bool) -> Wording | None:
        return read_verb_text(node, reading, what, address=address)

    return _Reader(reading.context.verbs, reading.problems, worded).drafts(node)


def worded(verbs: tuple[Verb, ...], place: Place, reading: Reading) -> tuple[Draft, ...]:
    """Verbs whose texts may hold placeholders, for messages to fill; problems are told at ``place``."""

    def read(text: str, what: str, *, address: bool) -> Wording:
        if "{{" not in text:
            return text
        found = read_verb_text(Text(text, place, quoted=True), reading, what, address=address)
        return "" if found is None else found

    return tuple(
        Draft(
            each.name,
            tuple(
                (name, read(value, f"`{name}` of `{each.name}`", address=_is_address(each.name, name)))
                for name, value in each.attributes
            ),
            read(each.text, f"`{each.name}`", address=_is_address(each.name, "")),
            worded(each.children, place, reading),
        )
        for each in verbs
    )


class _Reader:
    """Reads verbs, with the names that are known and a way to read texts."""

    def __init__(self, known: tuple[str, ...], problems: Problems, words: _Words) -> None:
        self._names = (*known, *STRUCTURE)
        self._problems = problems
        self._words = words

    def drafts(self, node: Node) -> tuple[Draft, ...]:
        entries = node.nodes if isinstance(node, Items) else (node,)
        found = (self._draft(entry) for entry in entries)
        return tuple(draft for draft in found if draft is not None)

    def _draft(self, node: Node) -> Draft | None:
        if isinstance(node, Text) and node.value:
            return Draft(self._name(node))
        if not isinstance(node, Fields) or len(node.entries) != 1:
            message = f"a verb is written `Hangup` or `Route: {{Destination: …}}`, here is {document.describe(node)}"
            self._problems.add(node.place, message, "not_a_verb")
            return None
        key, value = node.entries[0]
        name = self._name(key)
        match value:
            case Text():
                return Draft(name, text=self._words(value, f"`{name}`", _is_address(name, "")) or "")
            case Items():
                return Draft(name, children=self.drafts(value))
            case Fields():
                return self._with_attributes(name, value)

    def _with_attributes(self, name: str, node: Fields) -> Draft:
        attributes: list[tuple[str, Wording]] = []
        children: list[Draft] = []
        inner: Wording = ""
        for key, value in node.entries:
            if key.value == "do":
                children += self.drafts(value)
            elif isinstance(value, Items):
                children.append(Draft(self._name(key), children=self.drafts(value)))
            else:
                word = self._words(value, f"`{key.value}` of `{name}`", _is_address(name, key.value)) or ""
                if key.value == "text":
                    inner = word
                elif key.value.isidentifier():
                    attributes.append((key.value, word))
                else:
                    self._problems.add(key.place, f"`{key.value}` cannot be the name of an attribute", "bad_attribute")
        return Draft(name, tuple(attributes), inner, tuple(children))

    def _name(self, node: Text) -> str:
        if node.value not in self._names:
            message = f"unknown verb `{node.value}`{document.expected(node.value, self._names, 'Speak')}"
            self._problems.add(node.place, message, "unknown_verb")
        return node.value


def _is_address(verb: str, attribute: str) -> bool:
    return verb.lower() in _WHOLLY or _ADDRESSES.search(attribute) is not None


def verbs_shape(shapes: Shapes) -> Shape:
    """What can be written as a list of verbs, or as one."""
    names = (*shapes.words.verbs, *STRUCTURE)
    again = refer("verb")
    several = {"type": "array", "items": again}
    attributes = {
        "type": "object",
        "properties": {"do": any_of(again, several), "text": TEXT_OR_NOTHING},
        "additionalProperties": any_of(TEXT_OR_NOTHING, several),
    }
    body = shapes.define("verb.body", any_of(TEXT_OR_NOTHING, several, attributes))
    one = {**closed(dict.fromkeys(names, body), least=1), "maxProperties": 1}
    shapes.define("verb", any_of(one_of(names), one))
    return several
