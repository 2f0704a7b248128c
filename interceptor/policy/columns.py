"""### Values out of tables

`{table: lcr, column: cluster}` is what the row of a [table](#tables) says in a column. `by` names what is looked up
there: `number`, `caller`, `app`, `source`, or a parameter (`ApiExtension`, `other:x-tenant`); in a table of numbers it
is read as a number. Where nothing is found, or the cell is empty, nothing happens: the message is not rerouted, the
parameter stays as it is.

    reroute: {table: lcr, column: cluster}
    rewrite: {set: {CallerId: {table: departments, column: shown, by: ApiExtension}}}
"""  # noqa: D400, D415 - a page of the manual

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from interceptor import document
from interceptor.document import Fields, Node
from interceptor.policy.grammar import Reading
from interceptor.policy.placeholders import Value, read_value
from interceptor.policy.shapes import TEXT, Shape, Shapes, closed
from interceptor.policy.tables import Table
from interceptor.values import Facts, Number

KEYS: Final = ("table", "column", "by")
_NUMBERS: Final = ("number", "caller")


class Column(Struct, frozen=True):
    """What a table says of a message: in ``column``, in the row that ``by`` leads to.

    ``number`` reads a parameter's text as a number; ``None`` where there is nothing to read.
    """

    table: Table
    column: str
    by: Value
    number: Callable[[str], Number] | None = None

    def of(self, facts: Facts) -> str:
        """The value, ``""`` where there is none."""
        return self.reader()(facts)

    def reader(self) -> Callable[[Facts], str]:
        """What tells the value for a message."""
        key_of, number = self.by.reader(), self.number
        find, value, column = self.table.find, self.table.value, self.column

        def read(facts: Facts) -> str:
            key = key_of(facts)
            if not key:
                return ""
            row = find(key if number is None else number(key).canonical)
            return "" if row < 0 else value(row, column)

        return read


def read_column(node: Fields, reading: Reading, what: str, by: str) -> Column | None:
    """The column that ``table`` and ``column`` name, looked up by ``by`` where the rule does not say."""
    problems = reading.problems
    entries = document.fields(node, KEYS, problems, what)
    for key in KEYS[:2]:
        if entries.get(key) is None:
            problems.add(node.place, f"{what} has no `{key}`", "missing_key")
    named, column_node, by_node = (entries.get(key) for key in KEYS)
    table = None if named is None else _table(named, reading, what)
    column = None if column_node is None else document.text(column_node, problems, f"`column` of {what}")
    value = Value(by) if by_node is None else read_value(by_node, reading, f"`by` of {what}")
    if table is None or column is None or column_node is None or value is None:
        return None
    if column not in table.columns:
        known = ", ".join(f"`{name}`" for name in table.columns)
        hint = document.nearest(column, table.columns) or (f", it has {known}" if known else ", it has none")
        problems.add(column_node.place, f"the table `{table.name}` has no column `{column}`{hint}", "unknown_column")
        return None
    if table.numbers and not value.parameter and value.name not in _NUMBERS:
        place = node.place if by_node is None else by_node.place
        problems.add(place, f"the table `{table.name}` holds numbers, `{value.name}` is none", "wrong_table")
        return None
    read_as_number = table.numbers and value.parameter
    return Column(table, column, value, reading.context.number if read_as_number else None)


def check_column(column: Column, names: "frozenset[str]", place: Node, reading: Reading, what: str) -> None:
    """See to it that every cell of ``column`` is one of ``names`` or empty; the first that is not is a problem."""
    table = column.table
    for cell, row in table.words(column.column):
        if cell and cell not in names:
            entry, is_prefix = table.entry(row)
            where = f"`{entry}{'*' if is_prefix else ''}` of table `{table.name}`"
            message = f"unknown {what} `{cell}` at {where}{document.nearest(cell, names)}"
            reading.problems.add(place.place, message, f"unknown_{what}")
            return


def _table(node: Node, reading: Reading, what: str) -> Table | None:
    name = document.text(node, reading.problems, f"`table` of {what}")
    if name is None or name in reading.tables:
        return None if name is None else reading.tables[name]
    hint = reading.nearest_table(name)
    reading.problems.add(node.place, f"unknown table `{name}`{hint}", "unknown_table")
    return None


def column_shape(shapes: Shapes) -> Shape:
    """What can be written where a table gives the value."""
    return closed({"table": shapes.table, "column": TEXT, "by": TEXT}, needed=KEYS[:2])
