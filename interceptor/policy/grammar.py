"""How the value of a dimension is written: one value, a list of them, or a mapping of tests that may nest.

Every dimension of ``when`` brings a :class:`Grammar` that knows its single values and its tests; lists and the words
``any``, ``all`` and ``not`` mean the same in each and are read here.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct, field

from interceptor import document
from interceptor.document import Fields, Items, Node, Problems, Text
from interceptor.policy.condition import AllOf, AnyOf, Condition, Not, either, joined
from interceptor.policy.context import Context
from interceptor.policy.dates import Holidays
from interceptor.policy.tables import Table
from interceptor.policy.tags import Tags
from interceptor.values import Mode

NESTING = ("any", "all", "not")


class Reading(Struct, frozen=True):
    """What the readers of conditions and actions share. ``broken`` are names of tables that have problems."""

    context: Context
    problems: Problems
    tables: Mapping[str, Table]
    holidays: Mapping[str, Holidays] = {}
    tags: Tags = field(default_factory=Tags)
    mode: Mode = Mode.ENFORCE  # of the rule that is read
    broken: frozenset[str] = frozenset()

    def nearest_table(self, name: str) -> str:
        """What to say of a table that is not there: the nearest that is, well or not."""
        hint = document.nearest(name, (*self.tables, *self.broken))
        return hint or "; tables are files in a folder `tables` below the rules folder"


class Grammar(Struct, frozen=True):
    """The values of one dimension.

    ``values`` reads one or more plain values into one condition that holds for any of them; ``tests`` reads the value
    of each named test; ``whole`` reads those test keys of one mapping that belong ``together``, or where that is empty,
    all of them.
    ``plain`` says that the values are texts and not true or false, so that quotes can matter.
    """

    what: str
    values: Callable[[tuple[Text, ...], Reading], Condition | None] | None
    tests: Mapping[str, Callable[[Node, Reading], Condition | None]]
    whole: Callable[[Fields, Reading], Condition | None] | None = None
    plain: bool = True
    together: tuple[str, ...] = ()

    def read(self, node: Node, reading: Reading) -> Condition | None:
        """The condition that ``node`` writes, or ``None`` after a problem."""
        match node:
            case Text():
                return self._plain((node,), reading)
            case Items():
                return self._any(node, reading)
            case Fields():
                return self._mapping(node, reading)

    def _plain(self, nodes: tuple[Text, ...], reading: Reading) -> Condition | None:
        empty = [node for node in nodes if not node.value and not node.quoted]
        if self.values is None or empty:
            node = (empty or nodes)[0]
            expected = "a mapping of tests" if self.values is None else "a value, a list or a mapping of tests"
            message = f"{self.what} should be {expected}, here is {document.describe(node)}"
            reading.problems.add(node.place, message, "not_a_condition")
            return None
        if self.plain:
            for node in nodes:
                document.warn_unquoted(node, reading.problems)
        return self.values(nodes, reading)

    def _any(self, node: Node, reading: Reading) -> Condition | None:
        entries = document.items(node, reading.problems, self.what)
        plain = tuple(entry for entry in entries if isinstance(entry, Text))
        parts = [self._plain(plain, reading)] if plain else []
        parts += [self.read(entry, reading) for entry in entries if not isinstance(entry, Text)]
        found = tuple(part for part in parts if part is not None)
        return either(found) if found and len(found) == len(parts) else None

    def _mapping(self, node: Fields, reading: Reading) -> Condition | None:
        known = (*self.tests, *NESTING)
        if not node.entries:
            message = f"{self.what} should not be an empty mapping"
            reading.problems.add(node.place, message, "empty_mapping")
            return None
        parts: list[Condition | None] = []
        keys = () if self.whole is None else self.together or self.tests
        together = tuple(entry for entry in node.entries if entry[0].value in keys)
        if self.whole is not None and together:
            parts.append(self.whole(Fields(together, node.place), reading))
        for key, value in node.entries:
            name = key.value
            if name in NESTING:
                parts.append(nested(name, value, reading, self.read, self.what))
            elif name not in self.tests:
                message = f"unknown test `{name}` in {self.what}{document.nearest(name, known) or _known(known)}"
                reading.problems.add(key.place, message, "unknown_test")
                parts.append(None)
            elif name not in keys:
                parts.append(self.tests[name](value, reading))
        found = tuple(part for part in parts if part is not None)
        return joined(found) if len(found) == len(parts) else None


def nested(
    word: str, node: Node, reading: Reading, read: Callable[[Node, Reading], Condition | None], what: str
) -> Condition | None:
    """What stands under ``any``, ``all`` or ``not``, each part read by ``read``."""
    if word == "not":
        part = read(node, reading)
        return None if part is None else Not(part)
    entries = document.items(node, reading.problems, f"`{word}` in {what}")
    parts = [read(entry, reading) for entry in entries]
    found = tuple(part for part in parts if part is not None)
    if not found or len(found) < len(parts):
        return None
    if len(found) == 1:
        return found[0]
    return AnyOf(found) if word == "any" else AllOf(found)


def _known(names: tuple[str, ...]) -> str:
    return ", known are " + ", ".join(f"`{name}`" for name in names)
