"""What can be written where, as JSON Schema: the pieces out of which matchers and actions put their shapes together.

A shape tells an editor what to offer and what to underline. It takes everything that the readers take; what it lets
pass and they do not (an unknown time zone, a name that stands twice) `interceptor check` tells.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from interceptor.policy.grammar import NESTING

Shape = dict[str, Any]

_ROW: Final = re.compile(r"^\| (`\w+`(?:, `\w+`)*) \| (.*?) \|(?: .* \|)?$", re.MULTILINE)
_WORD: Final = re.compile(r"`(\w+)`")
_TRUE: Final = "[Tt]rue|TRUE|[Yy]es|YES|[Oo]n|ON"
_FALSE: Final = "[Ff]alse|FALSE|[Nn]o|NO|[Oo]ff|OFF"


class Words(Struct, frozen=True):
    """The names that can be offered. Where ``apps``, ``clusters`` or ``tables`` are empty, any name is good."""

    commands: tuple[str, ...]
    notifications: tuple[str, ...]
    verbs: tuple[str, ...]
    parameters: tuple[str, ...]
    apps: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()


class Shapes:
    """Makes shapes, and keeps in ``definitions`` those that others refer to."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self.definitions: dict[str, Shape] = {}

    def define(self, name: str, shape: Shape) -> Shape:
        """Keep a shape under a name; the reference to it."""
        self.definitions.setdefault(name, shape)
        return refer(name)

    def grammar(self, name: str, plain: Shape | None, tests: "Mapping[str, Shape] | None" = None) -> Shape:
        """The values of one dimension, as ``policy.grammar`` reads them: a value, a list, or a mapping of tests.

        ``plain`` is a single value, ``None`` where there is none; ``tests`` are the keys of the mapping beside those
        that nest.
        """
        again = refer(name)
        mapping = closed({**(tests or {}), **dict.fromkeys(NESTING, again)}, least=1)
        values = [] if plain is None else [plain]
        return self.define(name, any_of(*values, {"type": "array", "items": again, "minItems": 1}, mapping))

    def tests(self, of: str, shapes: Mapping[str, Shape], page: str = "") -> dict[str, Shape]:
        """Tests that take a value, a list or a nested mapping each; described as the rows of a ``page`` do."""
        told = rows(page)
        return {
            name: described(self.grammar(f"{of}.{name}", shape), told.get(name, "")) for name, shape in shapes.items()
        }

    @property
    def table(self) -> Shape:
        """The name of a table."""
        return one_of(self.words.tables) if self.words.tables else TEXT

    @property
    def app(self) -> Shape:
        """The name of an app."""
        return one_of(self.words.apps) if self.words.apps else TEXT

    @property
    def cluster(self) -> Shape:
        """The name of a cluster."""
        return one_of(self.words.clusters) if self.words.clusters else TEXT


TEXT: Final[Shape] = {"type": ["string", "number", "boolean"]}
"""Text; editors read what is not quoted as numbers and truth values, we read it as it is written."""
TEXT_OR_NOTHING: Final[Shape] = {"type": ["string", "number", "boolean", "null"]}
TRUTH: Final[Shape] = {"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": f"^({_TRUE}|{_FALSE})$"}]}
TRUE: Final[Shape] = {
    "anyOf": [{"const": True}, {"type": "null"}, {"type": "string", "pattern": f"^({_TRUE})?$"}],
    "default": True,
}


def refer(name: str) -> Shape:
    """A reference to a definition."""
    return {"$ref": f"#/$defs/{name}"}


def one_of(names: Iterable[str]) -> Shape:
    """One of a few words."""
    return {"enum": list(names)}


def any_of(*shapes: Shape) -> Shape:
    """One shape or another."""
    return shapes[0] if len(shapes) == 1 else {"anyOf": list(shapes)}


def listed(shape: Shape) -> Shape:
    """One thing, or a list of them."""
    return any_of(shape, {"type": "array", "items": shape, "minItems": 1})


def closed(properties: Mapping[str, Shape], *, needed: Iterable[str] = (), least: int = 0) -> Shape:
    """A mapping of keys that are known."""
    found: Shape = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    if needed := list(needed):
        found["required"] = needed
    if least:
        found["minProperties"] = least
    return found


def named(shape: Shape) -> Shape:
    """A mapping of names of one's choice."""
    return {"type": "object", "additionalProperties": shape}


def whole(least: int, most: int) -> Shape:
    """A whole number within bounds."""
    return {"type": ["integer", "string"], "minimum": least, "maximum": most, "pattern": "^[+-]?[0-9]{1,18}$"}


def described(shape: Shape, text: str) -> Shape:
    """The shape with what an editor shows beside it."""
    return {**shape, "description": text} if text else shape


def rows(page: str) -> dict[str, str]:
    """What the tables of a manual page say of each key."""
    return {word: found[2] for found in _ROW.finditer(page) for word in _WORD.findall(found[1])}


def page_of(module: object) -> str:
    """The manual page of a matcher or an action, without its heading."""
    _, _, text = (getattr(module, "__doc__", None) or "").partition("\n\n")
    return text.strip()
