"""Puts two policies on common ground: where their tables or their number classes differ, row by row and test by test.

A table is one thing to the analysis, and a large one says nothing but yes or no. So a list of a million numbers that
got one more would be another list. Here every condition on a table that stands in both policies becomes one on the old
table, but for the entries that are not the same in both; for those it is written out. A value that an action takes out
of such a table is written out for the same entries. And where the policies declare different classes for numbers, a
condition on a class becomes one on the class of the number plan and on what is declared.

Law: what comes out matches, and does, what went in. Only texts that are no clean number are not followed into the
classes of the numbers inside them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from interceptor.policy.actions.limit import Limit
from interceptor.policy.actions.mirror import Mirror
from interceptor.policy.actions.outcome import Action
from interceptor.policy.actions.reroute import AppColumn, ClusterColumn, Reroute
from interceptor.policy.actions.rewrite import Rewrite, SetColumn
from interceptor.policy.classes import Declared
from interceptor.policy.columns import Column
from interceptor.policy.condition import AllOf, AnyOf, Condition, Not, either
from interceptor.policy.matchers.app import AppIn
from interceptor.policy.members import Rows
from interceptor.policy.numbers import NumberClassIn, NumberExists, NumberIn, NumberInTable, NumberStarts, Party
from interceptor.policy.placeholders import Value
from interceptor.policy.rules import Rule
from interceptor.policy.ruleset import RuleSet
from interceptor.policy.tables import Table
from interceptor.policy.tags import Tagged, Taggers
from interceptor.policy.texts import TextField, TextIn, TextInTable
from interceptor.values import Number, NumberClass, Place, SetParameter, ToApp, ToCluster

_MOST_APART: Final = 1_000  # entries that differ; tables in which more do are compared as a whole
_MOST_INSIDE: Final = 4_000  # entries that lie inside of beginnings which differ
_FEW: Final = 200  # entries of a table whose columns are written out for all of them
_MOST_WAYS: Final = 2_000  # that one rule is written out in
_PARTIES: Final[Mapping[str, Party]] = {"number": "number", "caller": "caller"}
_NEVER: Final = AnyOf(())


class Asking(Struct, frozen=True):
    """How to ask one thing of a message: for values, where it is a number for beginnings, for rows of a table."""

    exactly: Callable[[tuple[str, ...]], Condition]
    begins: Callable[[tuple[str, ...]], Condition]
    listed: Callable[[Rows], Condition]


class Piece(Struct, frozen=True):
    """What leads to one entry, in whichever of two tables it stands; ``inside`` are those that lead elsewhere."""

    entry: str
    begins: bool
    inside: tuple[tuple[str, bool], ...] = ()

    @property
    def example(self) -> str:
        """Something that leads there: no entry is longer and fits."""
        return f"{self.entry}~" if self.begins else self.entry


class Apart(Struct, frozen=True):
    """A table, or two of one name, and the ``pieces`` in which they do not say the same.

    ``every`` are the pieces of all entries, where these are few.
    """

    old: Table
    pieces: tuple[Piece, ...] = ()
    every: tuple[Piece, ...] = ()

    def condition(self, rows: Rows, asking: Asking) -> Condition:
        """The condition that asks for rows of one of the tables."""
        base = asking.listed(replace(rows, table=self.old))
        if not self.pieces:
            return base
        held = [piece for piece in self.pieces if rows.hold(piece.example)]
        return AnyOf((AllOf((base, Not(_in_pieces(self.pieces, asking)))), _in_pieces(held, asking)))

    def ways(
        self, table: Table, columns: Sequence[str], asking: Asking
    ) -> Iterator[tuple[Condition, tuple[str, ...] | None]]:
        """What stands in some columns of ``table``, and for which messages; ``None``: the same as in ``old``."""
        nothing = tuple("" for _ in columns)
        rest = Not(_in_pieces(self.every or self.pieces, asking))
        if self.every:
            yield rest, nothing
        else:
            listed = asking.listed(Rows(self.old))
            yield AllOf((rest, listed)), None
            yield AllOf((rest, Not(listed))), nothing
        cells: dict[tuple[str, ...], list[Piece]] = {}
        for piece in self.every or self.pieces:
            row = table.find(piece.example)
            cell = nothing if row < 0 else tuple(table.value(row, column) for column in columns)
            cells.setdefault(cell, []).append(piece)
        for cell, pieces in cells.items():
            yield _in_pieces(pieces, asking), cell


def _in_pieces(pieces: Sequence[Piece], asking: Asking) -> Condition:
    parts: list[Condition] = []
    exact = tuple(piece.entry for piece in pieces if not piece.begins)
    begins = tuple(piece.entry for piece in pieces if piece.begins and not piece.inside)
    if exact:
        parts.append(asking.exactly(exact))
    if begins:
        parts.append(asking.begins(begins))
    for piece in pieces:
        if piece.inside:
            inner = [Piece(entry, beginning) for entry, beginning in piece.inside]
            parts.append(AllOf((asking.begins((piece.entry,)), Not(_in_pieces(inner, asking)))))
    return either(tuple(parts)) if parts else _NEVER


def _pieces(entries: Iterable[tuple[str, bool]], tables: Sequence[Table], most: int) -> tuple[Piece, ...] | None:
    """The pieces of these entries of some tables; ``None`` where they are more than ``most``, or much is in them."""
    found: list[Piece] = []
    left = _MOST_INSIDE
    for text, begins in entries:
        inside: dict[tuple[str, bool], None] = {}
        for entry in (each for table in tables if begins for each in table.inside(text)):
            inside[entry] = None
            if len(inside) > left:
                return None
        left -= len(inside)
        found.append(Piece(text, begins, tuple(inside)))
        if len(found) > most:
            return None
    return tuple(found)


def _apart(*tables: Table) -> dict[Table, Apart]:
    """One table, or the two of one name, on common ground as far as there is any."""
    old, new = tables[0], tables[-1]
    pieces: tuple[Piece, ...] | None = None
    if old.columns == new.columns and old.numbers == new.numbers:
        pieces = _pieces(old.apart(new), tables, _MOST_APART)
    if pieces is None:  # too much to be told by the entry
        return {**_apart(old), **_apart(new)}
    every = None
    if max(map(len, tables)) <= _FEW:
        every = _pieces(dict.fromkeys(entry for table in tables for entry in table.entries()), tables, 2 * _FEW)
    return dict.fromkeys(tables, Apart(old, pieces, every or ()))


def aligned(old: RuleSet, new: RuleSet) -> tuple[list[Rule], list[Rule], bool]:
    """The rules of both policies on common ground, and whether they stand on it whatever class a number has.

    Where that is ``False``, both declare the same classes, and the context has to know them.
    """
    tables: dict[Table, Apart] = {}
    for name in dict.fromkeys((*old.tables, *new.tables)):
        tables |= _apart(*(each.tables[name] for each in (old, new) if name in each.tables))
    plain = _Ground(tables)
    classes = [tuple((number_class, plain.of(when)) for number_class, when in each.classes) for each in (old, new)]
    declared = classes[0] != classes[1]
    ways = (_Ground(tables, each if declared else None) for each in classes)
    olds, news = ([*ground.rules(each.rules)] for ground, each in zip(ways, (old, new), strict=True))
    return olds, news, declared


def written_out(rules: Sequence[Rule]) -> list[Rule]:
    """The rules with what their actions take out of tables written out, as far as that can be done."""
    tables: dict[Table, Apart] = {}
    for table in dict.fromkeys(column.table for rule in rules for column in _columns(rule.actions)):
        tables |= _apart(table)
    return [*_Ground(tables).rules(rules)]


class _Ground:
    """Rewrites conditions and rules. ``declared`` are the classes that conditions are to be freed of."""

    def __init__(self, tables: Mapping[Table, Apart], declared: Declared | None = None) -> None:
        self._tables = tables
        self._declared = declared
        self._taggers: dict[int, Taggers] = {}

    def rules(self, rules: Iterable[Rule]) -> Iterator[Rule]:
        if not self._tables and self._declared is None:
            yield from rules
            return
        for rule in rules:
            when = None if rule.when is None else self.of(rule.when)
            for condition, actions in self._ways(rule.actions):
                both = tuple(part for part in (when, condition) if part is not None)
                yield replace(rule, when=AllOf(both) if len(both) > 1 else next(iter(both), None), actions=actions)

    def of[T](self, value: T) -> T:
        """A condition, an action, or several, with everything in it that has to be rewritten."""
        found: Any = value
        match value:
            case NumberInTable() if value.rows.table in self._tables:
                found = self._tables[value.rows.table].condition(value.rows, _asking_number(value.party))
            case TextInTable() if value.rows.table in self._tables and not value.rows.table.numbers:
                found = self._tables[value.rows.table].condition(value.rows, _asking_text(value.field))
            case NumberClassIn() if self._declared is not None:
                found = _by_plan(value, self._declared)
            case Tagged():
                found = replace(value, taggers=self._of_taggers(value.taggers))
            case tuple():
                parts = tuple(self.of(part) for part in value)
                found = value if all(one is two for one, two in zip(parts, value, strict=True)) else parts
            case Struct() if not isinstance(value, Place):
                found = _with_fields(value, self.of)
            case _:
                pass
        return found  # type: ignore[no-any-return]

    def _of_taggers(self, taggers: Taggers) -> Taggers:
        known = self._taggers.get(id(taggers))
        if known is None:
            known = self._taggers[id(taggers)] = Taggers(taggers.tag)
            known.rules = [replace(tagger, when=self.of(tagger.when)) for tagger in taggers.rules]
        return known

    def _ways(self, actions: tuple[Action, ...]) -> Iterator[tuple[Condition | None, tuple[Action, ...]]]:
        """What the actions come to, and for which messages."""
        columns = tuple(dict.fromkeys(_columns(actions)))
        together: dict[tuple[Table, Value], list[Column]] = {}
        for column in columns:
            if column.table in self._tables and _asking_value(column) is not None:
                together.setdefault((column.table, column.by), []).append(column)
        groups = [[*self._group(table, several)] for (table, _), several in together.items()]
        if prod(map(len, groups)) > _MOST_WAYS:
            groups, together = [], {}
        told = {column for several in together.values() for column in several}
        base = {column: self._on_old(column, told=column in told) for column in columns}
        for way in product(*groups):
            where = tuple(condition for condition, _ in way)
            known = {column: word for _, words in way for column, word in words.items()}
            settled = (_settled(action, known, base) for action in actions)
            found = tuple(action for action in settled if action is not None)
            yield (AllOf(where) if where else None), found

    def _on_old(self, column: Column, *, told: bool) -> Column:
        """The column of the old table, where that is the same or what differs is ``told``.

        How a text is read as a number is the same in both.
        """
        apart = self._tables.get(column.table)
        same = apart is not None and (told or not apart.pieces)
        return replace(column, number=None, table=apart.old if apart is not None and same else column.table)

    def _group(self, table: Table, columns: Sequence[Column]) -> Iterator[tuple[Condition, Mapping[Column, str]]]:
        asking = _asking_value(columns[0])
        assert asking is not None
        for where, cell in self._tables[table].ways(table, [column.column for column in columns], asking):
            yield where, {} if cell is None else dict(zip(columns, cell, strict=True))


def _with_fields(value: Struct, change: Callable[[Any], Any]) -> Struct:
    fields = {name: getattr(value, name) for name in value.__struct_fields__}
    changed = {name: made for name, field in fields.items() if (made := change(field)) is not field}
    return replace(value, **changed) if changed else value


# --- what is asked of messages ---


def _asking_number(party: Party) -> Asking:
    return Asking(
        lambda values: NumberIn(party, values),
        lambda prefixes: NumberStarts(party, prefixes),
        lambda rows: NumberInTable(party, rows),
    )


def _asking_text(field: TextField) -> Asking:
    return Asking(
        lambda values: TextIn(field, values), lambda _: _NEVER, lambda rows: TextInTable(field, rows, _not_read)
    )


def _not_read(text: str) -> Number:
    raise NotImplementedError(text)  # a table of texts is never asked for numbers


_ASKING_APP: Final = Asking(
    AppIn, lambda _: _NEVER, lambda rows: AppIn(tuple(entry for entry, _ in rows.table.entries()))
)


def _asking_value(column: Column) -> Asking | None:
    """How to ask a message for what a column is looked up by; ``None`` where conditions cannot."""
    by, numbers = column.by, column.table.numbers
    if numbers and not by.parameter and by.name in _PARTIES:
        return _asking_number(_PARTIES[by.name])
    if numbers:
        return None
    if by.parameter:
        return _asking_text(TextField("values", by.name))
    return _ASKING_APP if by.name == "app" else None


def _by_plan(condition: NumberClassIn, declared: Declared) -> Condition:
    """A condition on the class that a policy sees, as one on the class of the number plan."""
    party, wanted = condition.party, condition.classes
    first = NumberClassIn(party, (NumberClass.EMERGENCY,))  # these stay what they are
    parts: list[Condition] = [first] if NumberClass.EMERGENCY in wanted else []
    before: list[Condition] = [NumberExists(party), Not(first)]
    for number_class, test in declared:
        mine = _of_party(test, party)
        if number_class in wanted:
            parts.append(AllOf((*before, mine)))
        before.append(Not(mine))
    planned = tuple(each for each in wanted if each is not NumberClass.EMERGENCY)
    if planned:
        parts.append(AllOf((*before, NumberClassIn(party, planned))))
    return AnyOf(tuple(parts))


def _of_party(value: Any, party: Party) -> Any:
    """A condition on the number dialled, asked of another."""
    if isinstance(value, tuple):
        return tuple(_of_party(part, party) for part in value)
    if not isinstance(value, Struct):
        return value
    if "party" in value.__struct_fields__:
        return replace(value, party=party)
    return _with_fields(value, lambda part: _of_party(part, party))


# --- what actions take out of tables ---


def _columns(actions: Iterable[Action]) -> Iterator[Column]:
    for action in actions:
        match action:
            case Reroute(target=ClusterColumn() | AppColumn() as target):
                yield target.column
            case Mirror(target=ClusterColumn() | AppColumn() as target):
                yield target.column
            case Rewrite():
                yield from (change.column for change in action.changes if isinstance(change, SetColumn))
            case Limit():
                yield from _columns(action.otherwise)
            case _:
                pass


def _settled(action: Action, known: Mapping[Column, str], base: Mapping[Column, Column]) -> Action | None:
    """The action where the tables have the words that are ``known``, its other columns as in ``base``, if it is one."""
    match action:
        case Reroute() | Mirror() if isinstance(action.target, ClusterColumn | AppColumn):
            target = action.target
            word = known.get(target.column)
            if word is None:
                return replace(action, target=replace(target, column=base[target.column]))
            if not word:
                return None
            return replace(action, target=ToCluster(word) if isinstance(target, ClusterColumn) else ToApp(word))
        case Rewrite():
            changes = tuple(change for each in action.changes if (change := _changed(each, known, base)) is not None)
            return replace(action, changes=changes) if changes else None
        case Limit():
            beyond = (_settled(each, known, base) for each in action.otherwise)
            return replace(action, otherwise=tuple(each for each in beyond if each is not None))
        case _:
            return action


def _changed(change: Any, known: Mapping[Column, str], base: Mapping[Column, Column]) -> Any:
    if not isinstance(change, SetColumn):
        return change
    word = known.get(change.column)
    if word is None:
        return replace(change, column=base[change.column])
    return SetParameter(change.name, word) if word else None
