"""## Number classes of one's own

Any rules file may say under `classes` which numbers belong to a class, whatever the number plan says: for each class,
tests as under `number`, `class` aside. The first that fits counts, in the order of files and of what stands in them;
numbers that fit none keep the class they have. The rules of every file, limits and records then see that class.

    classes:
      premium: [{prefix: +3655}, {table: costly-prefixes}]
      internal: {length: 3}
      mobile: {table: ported, column: network, is: [yellow, blue]}

Emergency numbers of the country stay what they are; more may be added. A text that is not one clean number
(`sip:+36551234567@trunk`) belongs to the costliest class of the numbers inside it, as with the classes of the plan.
"""  # noqa: D400, D415 - a page of the manual

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from interceptor import document
from interceptor.document import Fields, Node
from interceptor.policy.condition import Condition, Test
from interceptor.policy.grammar import Reading
from interceptor.policy.numbers import read_number_test
from interceptor.policy.readings import Readings
from interceptor.values import Facts, Kind, Number, NumberClass, NumberType

_REMEMBERED: Final = 32768
_CLASSES: Final = tuple(number_class.value for number_class in NumberClass)
_COSTLY: Final = (NumberClass.PREMIUM, NumberClass.SATELLITE, NumberClass.SHARED_COST)  # the costliest first

Declared = tuple[tuple[NumberClass, Condition], ...]
Classify = Callable[[Number], Number]


class ClassReader:
    """Reads the classes of one file after another, before any rule is read."""

    def __init__(self) -> None:
        self.declared: list[tuple[NumberClass, Condition]] = []

    def read_file(self, root: Node, reading: Reading) -> None:
        """Take in the classes of one file."""
        node = root.get("classes") if isinstance(root, Fields) else None
        if node is None:
            return
        for key, value in document.fields(node, _CLASSES, reading.problems, "`classes`").entries:
            condition = read_number_test(value, reading, "number", classes=False)
            if key.value in _CLASSES and condition is not None:
                self.declared.append((NumberClass(key.value), condition))


def classifier(declared: Declared, inside: Callable[[str], tuple[Number, ...]]) -> Classify:
    """What gives a number the class that is ``declared`` for it. ``inside`` tells the numbers inside a text."""
    readings = Readings()
    tests = tuple((number_class, condition.test(readings)) for number_class, condition in declared)
    known: dict[Number, Number] = {}

    def classify(number: Number) -> Number:
        found = known.get(number)
        if found is None:
            if len(known) >= _REMEMBERED:
                known.clear()
            found = known[number] = _classified(number, tests, inside)
        return found

    return classify


def _classified(
    number: Number, tests: tuple[tuple[NumberClass, Test], ...], inside: Callable[[str], tuple[Number, ...]]
) -> Number:
    number_class = _class_of(number, tests)
    if number.number_type is NumberType.UNKNOWN and number_class not in _COSTLY:
        # No clean number of the plan: like the reader of numbers, think of the worst that it may dial.
        within = {_class_of(each, tests) for each in inside(number.written)}
        number_class = next((costly for costly in _COSTLY if costly in within), number_class)
    return number if number_class is number.number_class else replace(number, number_class=number_class)


def _class_of(number: Number, tests: tuple[tuple[NumberClass, Test], ...]) -> NumberClass:
    if number.number_class is NumberClass.EMERGENCY:
        return number.number_class
    facts = Facts(Kind.COMMAND, "", "", "", number, None, {}, {}, 0.0)
    return next((number_class for number_class, test in tests if test(facts)), number.number_class)
