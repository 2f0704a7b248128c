"""Membership in tables, as numbers and texts ask for it: what is looked up, in which table, and which rows count.

A message is looked up once in a table, however many rules ask about that table and column.
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from interceptor import document
from interceptor.document import Fields, Node
from interceptor.policy.condition import Positions, Probe, any_word, quoted
from interceptor.policy.grammar import Reading
from interceptor.policy.readings import Readings
from interceptor.policy.shapes import TEXT, Shape, Shapes, described, listed, rows
from interceptor.policy.tables import Table
from interceptor.values import Facts

KEYS = ("table", "column", "is")
KeyOf = Callable[[Facts], str | None]


class Rows(Struct, frozen=True):
    """The rows of a table that count: all of them, or those with one of ``values`` in a ``column``."""

    table: Table
    column: str = ""
    values: tuple[str, ...] = ()

    def hold(self, key: str) -> bool:
        """One of them is found for ``key``."""
        row = self.table.find(key)
        return row >= 0 and (not self.column or self.table.value(row, self.column) in self.values)

    def found_by(self) -> tuple[object, ...]:
        """What a :class:`TableLookup` finds them by."""
        return self.values if self.column else (True,)

    def expects(self) -> str:
        """Which they are."""
        name = f"in table {self.table.name}"
        return (
            f"{name} with {self.column} {any_word([quoted(value) for value in self.values])}" if self.column else name
        )

    def seen(self, key: str) -> str:
        """What the table has for ``key``."""
        row = self.table.find(key)
        if row < 0:
            return f"not in table {self.table.name}"
        value = f" with {self.column} {quoted(self.table.value(row, self.column))}" if self.column else ""
        return f"in table {self.table.name}{value}"


class TableLookup(Struct, frozen=True, eq=False):
    """Rules by the row of a table that something in the message, which ``where`` names, leads to."""

    where: object
    table: str
    column: str
    rows: Rows
    key_of: KeyOf

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TableLookup) and (self.where, self.table, self.column) == (
            other.where,
            other.table,
            other.column,
        )

    def __hash__(self) -> int:
        return hash((self.where, self.table, self.column))

    @property
    def rank(self) -> int:
        return 2

    def probe(self, table: Mapping[Any, Positions], _readings: Readings) -> Probe:
        key_of, column, find_row, value = self.key_of, self.column, self.rows.table.find, self.rows.table.value

        def find(facts: Facts, hits: list[int]) -> None:
            key = key_of(facts)
            if key is not None:
                row = find_row(key)
                if row >= 0:
                    hits.extend(table.get(value(row, column) if column else True, ()))

        return find


def table_lookup(where: object, rows: Rows, key_of: KeyOf) -> TableLookup:
    """The lookup by the table and the column of ``rows``."""
    return TableLookup(where, rows.table.name, rows.column, rows, key_of)


def read_rows(node: Fields, reading: Reading, what: str, *, numbers: bool) -> tuple[Rows, ...]:
    """The rows that ``table``, ``column`` and ``is`` name together; with ``numbers`` only in tables of numbers."""
    problems = reading.problems
    named, column_node, values_node = node.get("table"), node.get("column"), node.get("is")
    if named is None:
        problems.add(
            node.entries[0][0].place, f"`{node.entries[0][0].value}` of {what} stands beside no `table`", "no_table"
        )
        return ()
    if (column_node is None) != (values_node is None):
        there, missing = ("column", "is") if values_node is None else ("is", "column")
        place = next(key.place for key, _ in node.entries if key.value == there)
        problems.add(place, f"`{there}` of {what} stands beside no `{missing}`", "no_column")
        return ()
    found = [_table(entry, reading, what, numbers=numbers) for entry in document.items(named, problems, "`table`")]
    tables = tuple(dict.fromkeys(table for table in found if table is not None))
    if column_node is None or values_node is None:
        return tuple(Rows(table) for table in tables)
    column = document.text(column_node, problems, f"`column` of {what}")
    values = tuple(
        value
        for entry in document.items(values_node, problems, f"`is` of {what}")
        if (value := document.text(entry, problems, f"`is` of {what}")) is not None
    )
    if column is None or not values:
        return ()
    for table in tables:
        if column not in table.columns:
            hint = document.nearest(column, table.columns) or _columns(table)
            problems.add(
                column_node.place, f"the table `{table.name}` has no column `{column}`{hint}", "unknown_column"
            )
            return ()
    return tuple(Rows(table, column, tuple(dict.fromkeys(values))) for table in tables)


def _columns(table: Table) -> str:
    if not table.columns:
        return ", it has none beside what is looked up"
    return ", it has " + ", ".join(f"`{column}`" for column in table.columns)


def _table(node: Node, reading: Reading, what: str, *, numbers: bool) -> Table | None:
    name = document.text(node, reading.problems, f"`table` of {what}")
    if name is None:
        return None
    table = reading.tables.get(name)
    if table is None:
        hint = reading.nearest_table(name)
        reading.problems.add(node.place, f"unknown table `{name}`{hint}", "unknown_table")
    elif numbers and not table.numbers:
        message = f"the table `{name}` holds texts, but {what} is a number"
        reading.problems.add(node.place, message, "wrong_table")
        return None
    return table


def rows_shape(shapes: Shapes, page: str) -> dict[str, Shape]:
    """What can be written under the keys that ask a table together."""
    return {
        "table": described(listed(shapes.table), rows(page).get("table", "")),
        "column": TEXT,
        "is": listed(TEXT),
    }
