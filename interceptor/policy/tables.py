"""## Tables

Long lists stand apart from the rules: every `*.csv` and `*.txt` file in a folder `tables` below the rules folder is a
table, named for its file without the ending. Rules ask whether a number or a text stands in it, and actions take values
out of its columns.

**`*.txt`**: one entry a line; what follows a `#` is a comment. When the first entry begins with `+` or a digit, all of
them are numbers, else all of them are texts.

    +36201234567        # tables/blocked.txt
    06 30 765 4321
    +3690*              # everything that begins with +3690

**`*.csv`**: the first line names the columns, with commas or semicolons between them. The first column is what is
looked up: `number` holds numbers, `prefix` holds beginnings of numbers, anything else holds texts.

    prefix,cluster,caller_id
    +36,pbx-main,+3612222222
    +49,pbx-berlin,+493055555

Numbers are compared in their canonical form, so they may be written as people write them. A `*` at the end makes a
number stand for all that begin with it, `*` alone for every number. Of several entries that fit a number, the exact one
counts, else the longest. Texts are compared as they are, letter case included. An entry stands in its table once.
"""  # noqa: D400, D415 - a page of the manual

import csv
import operator
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from io import BytesIO, TextIOWrapper
from itertools import islice
from types import MappingProxyType
from typing import Final

from interceptor import document
from interceptor.pacing import paced
from interceptor.policy.context import Context, Source
from interceptor.values import Place, Problem

ENDINGS: Final = (".csv", ".txt")
MOST_TOLD: Final = 20
_LONGEST: Final = 15  # digits that an entry of the index has room for; E.164 has no more
_INTERNATIONAL: Final = 10**_LONGEST  # numbers with a plus are below it, those without one above
_PAST_ALL: Final = 100 * _INTERNATIONAL
_BEHIND_ALL: Final = (1 << 64) - 1
_SPANS: Final[tuple[int, ...]] = tuple(10 ** (_LONGEST - length) for length in range(_LONGEST + 1))
_SEPARATORS: Final = re.compile(r"[\s()/.-]+")
_NUMBER: Final = re.compile(r"\+?[0-9*#]*[0-9][0-9*#]*")
_COMMENT: Final = re.compile(r"(?:^|\s)#")
_PREFIX: Final = re.compile(r"\+?[0-9*#]*")
_is_plain_prefix: Final = re.compile(rf"\+[0-9]{{1,{_LONGEST}}}\Z").match
_WORDS_REMEMBERED: Final = 1 << 16


class Table:
    """A table as it runs; the rows are numbered in an order of its own.

    ``columns`` are the names of the columns after the first. ``numbers`` tells whether the keys are canonical numbers,
    else they are texts. ``size`` is what it takes of memory, in bytes, as far as that grows with its length.

    Inside, a number of up to fifteen digits is one integer: its digits filled up with zeros, then how many they are,
    and whether it stands for itself or for all that begin with it. Sorted, everything that begins with an entry follows
    it; so one search finds the exact entry, or the nearest before it, from which ``_around`` leads to the longest that
    fits. Whatever is longer, or has other characters, stands in ``_others``.
    """

    __slots__ = ("_around", "_everything", "_keys", "_others", "_values", "columns", "file", "name", "numbers")

    def __init__(
        self,
        source: Source,
        keys: "array[int]",
        others: dict[tuple[str, bool], int],
        values: "dict[str, _Column]",
        numbers: bool,
    ) -> None:
        self.file = source.file
        self.name = table_name(source.file)
        self.columns = tuple(values)
        self.numbers = numbers
        self._keys = keys
        self._others = others
        self._values = values
        self._around = _enclosing(keys)
        self._everything = others.get(("", True), -1)

    def __len__(self) -> int:
        return len(self._keys) + len(self._others)

    @property
    def size(self) -> int:
        arrays = sum(each.itemsize * len(each) for each in (self._keys, self._around))
        others = sum(200 + len(key) for key, _ in self._others)  # about what Python takes for each
        return arrays + others + sum(column.size for column in self._values.values())

    def find(self, key: str) -> int:
        """The row of the entry that is ``key``, else of the longest that it begins with, else -1."""
        if not self.numbers:
            return self._others.get((key, False), -1)
        wanted = _packed(key, True)
        if wanted < 0:
            return self._find_other(key)
        keys = self._keys
        row = bisect_right(keys, wanted) - 1
        if row >= 0 and keys[row] == wanted:
            return row
        return self._cover(row, wanted >> 5) if self._around else self._everything

    def _cover(self, row: int, digits: int) -> int:
        """The innermost entry around ``row``, or itself, that stands for all that begin with it and fits."""
        keys, around = self._keys, self._around
        while row >= 0:
            entry = keys[row]
            if not entry & 1 and digits - (entry >> 5) < _SPANS[entry >> 1 & 15]:
                return row
            row = around[row]
        return self._everything

    def _find_other(self, key: str) -> int:
        row = self._others.get((key, False), -1)
        if row >= 0:
            return row
        for length in range(len(key), 0, -1):
            row = self._others.get((key[:length], True), -1)
            if row >= 0:
                return row
            wanted = _packed(key[:length], False)
            if wanted >= 0:
                row = bisect_right(self._keys, wanted) - 1
                return self._cover(row, wanted >> 5) if self._around else self._everything
        return self._everything

    def value(self, row: int, column: str) -> str:
        """What stands in a column of a row; ``""`` where nothing does."""
        return self._values[column].at(row)

    def words(self, column: str) -> Iterator[tuple[str, int]]:
        """Every value of a column, once as a rule, with the first row that it stands in, in the order of the rows."""
        return self._values[column].words()

    def entry(self, row: int) -> tuple[str, bool]:
        """The entry of a row: what it is, and whether it stands for all that begin with it."""
        keys = self._keys
        return _unpacked(keys[row]) if row < len(keys) else next(islice(self._others, row - len(keys), None))

    def entries(self) -> Iterator[tuple[str, bool]]:
        """Every entry: what it is, and whether it stands for all that begin with it; those with the row 0 first."""
        yield from map(_unpacked, self._keys)
        yield from self._others

    def apart(self, other: "Table") -> Iterator[tuple[str, bool]]:
        """The entries that stand in one of the two only, or with other values; both have the same columns."""
        keys, others, values = other._keys, other._others, other._values  # noqa: SLF001 - one of this class
        if self._keys == keys and self._others == others and self._values == values:
            return

        def says_else(row: int, beside: int) -> bool:
            return any(mine.at(row) != values[column].at(beside) for column, mine in self._values.items())

        row = beside = 0
        while row < len(self._keys) or beside < len(keys):
            one = self._keys[row] if row < len(self._keys) else _BEHIND_ALL
            two = keys[beside] if beside < len(keys) else _BEHIND_ALL
            if one != two or says_else(row, beside):
                yield _unpacked(min(one, two))
            row += one <= two
            beside += two <= one
        for entry in dict.fromkeys((*self._others, *others)):
            if entry not in self._others or entry not in others or says_else(self._others[entry], others[entry]):
                yield entry

    def inside(self, beginning: str) -> Iterator[tuple[str, bool]]:
        """The entries that begin so, but for the one that stands for all that does."""
        packed = _packed(beginning, False)
        if packed >= 0:
            end = (packed >> 5) + _SPANS[packed >> 1 & 15]
            for row in range(bisect_right(self._keys, packed), len(self._keys)):
                if self._keys[row] >> 5 >= end:
                    break
                yield _unpacked(self._keys[row])
        elif not beginning:
            yield from map(_unpacked, self._keys)
        for entry in self._others:
            if entry[0].startswith(beginning) and entry != (beginning, True):
                yield entry


def table_name(file: str) -> str:
    """The name of the table in a file: the file's, without folders and ending."""
    return file.rpartition("/")[2].rpartition(".")[0]


def is_table(file: str) -> bool:
    """Whether a source is a table, and not rules."""
    return file.endswith(ENDINGS)


def _packed(number: str, exact: bool) -> int:
    """A number as one integer, see :class:`Table`; -1 for what does not fit into it."""
    if number[:1] == "+":
        digits, begin = number[1:], 0
    else:
        digits, begin = number, _INTERNATIONAL
    length = len(digits)
    if length > _LONGEST or not (digits.isdigit() and digits.isascii()):
        return 0 if number == "+" and not exact else -1
    return (int(digits) * _SPANS[length] + begin) << 5 | length << 1 | exact


def _packed_plain(number: str) -> int:
    """A prefix as one integer, if it is known to be a plus and one to fifteen digits."""
    length = len(number) - 1
    return int(number) * _SPANS[length] << 5 | length << 1


def _unpacked(entry: int) -> tuple[str, bool]:
    """The number, and whether it stands for all that begin with it."""
    digits, length = entry >> 5, entry >> 1 & 15
    plus = digits < _INTERNATIONAL
    return "+" * plus + f"{digits % _INTERNATIONAL:0{_LONGEST}}"[:length], not entry & 1


def _enclosing(keys: "array[int]") -> "array[int]":
    """For every row that of the next longer interval around it, else -1; nothing where no entry is an interval."""
    around = array("i")
    if all(entry & 1 for entry in keys):
        return around
    rows, ends = [-1], [_PAST_ALL]  # the intervals around the next row, from the outermost in
    for row, entry in enumerate(keys):
        low = entry >> 5
        while ends[-1] <= low:
            ends.pop()
            rows.pop()
        around.append(rows[-1])
        if not entry & 1:
            rows.append(row)
            ends.append(low + _SPANS[entry >> 1 & 15])
    return around


class _Words(dict[str, int]):
    """Gives every word a code; the words stand one after the other in ``text``.

    Only so many are remembered: where nearly every word is new, a later one may get a second code, and no harm done.
    """

    def __init__(self) -> None:
        super().__init__()
        self.text = bytearray()
        self.begins = array("I", (0,))

    def __missing__(self, word: str) -> int:
        if len(self) >= _WORDS_REMEMBERED:
            self.clear()
        code = self[word] = len(self.begins) - 1
        self.text += word.strip().encode()
        self.begins.append(len(self.text))
        return code


class _Column:
    """The values of one column: a code for each row, and the words that the codes stand for."""

    __slots__ = ("_begins", "_codes", "_text")

    def __init__(self, codes: Iterable[int], words: _Words) -> None:
        count = len(words.begins)
        self._codes = array("B" if count <= 1 << 8 else "H" if count <= 1 << 16 else "I", codes)
        self._text = bytes(words.text)
        self._begins = words.begins

    def __eq__(self, other: object) -> bool:
        """Whether they were made of the same words in the same order; others may say the same and not be equal."""
        return isinstance(other, _Column) and (self._codes, self._text, self._begins) == (
            other._codes,
            other._text,
            other._begins,
        )

    __hash__ = None  # type: ignore[assignment]  # it is never looked up

    def at(self, row: int) -> str:
        code = self._codes[row]
        return self._text[self._begins[code] : self._begins[code + 1]].decode()

    def words(self) -> Iterator[tuple[str, int]]:
        seen: set[int] = set()
        for row, code in enumerate(self._codes):
            if code not in seen:
                seen.add(code)
                yield self.at(row), row

    @property
    def size(self) -> int:
        return len(self._text) + sum(len(each) * each.itemsize for each in (self._begins, self._codes))


TableKey = tuple[str, str]
"""What stands for one text of one table: the file's name and the text's digest."""


def table_key(source: Source) -> TableKey:
    """See :data:`TableKey`."""
    return source.file, sha256(source.data).hexdigest()


def read_tables(
    sources: Iterable[Source], context: Context, made: Mapping[TableKey, Table] = MappingProxyType({})
) -> tuple[dict[str, Table], list[Problem]]:
    """The tables in files, by name; those with problems are left out, and their problems told.

    What was ``made`` already of the same text, with the same configuration, is not made again.
    """
    tables: dict[str, Table] = {}
    files: dict[str, str] = {}
    problems: list[Problem] = []
    for source in sources:
        name = table_name(source.file)
        if name in files:
            message = f"a table named `{name}` stands already in {files[name]}"
            problems.append(Problem(Place(source.file, 1, 1), message, "duplicate_table"))
            continue
        files[name] = source.file
        known = made.get(table_key(source)) if made else None
        table, found = (known, ()) if known is not None else read_table(source, context)
        problems += found
        if table is not None:
            tables[name] = table
    return tables, problems


def read_table(source: Source, context: Context) -> tuple[Table | None, tuple[Problem, ...]]:
    """The table in a file, ``None`` after a problem, and its problems: the first of them, and how many more."""
    return _Reader(source, context).read()


class _Reader:
    """Reads one table, entry by entry.

    Every entry has a key, those that stand in ``_others`` one that sorts behind all; so entries, lines and the codes of
    the columns are numbered alike.
    """

    def __init__(self, source: Source, context: Context) -> None:
        self._source = source
        self._number = context.number
        self._pace = context.pace
        self._is_canonical = context.is_canonical
        self._keys = array("Q")
        self._lines = array("I")
        self._others: dict[tuple[str, bool], int] = {}  # each with its line
        self._words: dict[str, _Words] = {}
        self._codes: dict[str, array[int]] = {}
        self._separator = ""
        self._faults: list[tuple[int, int, str, str]] = []  # line, field, message, code
        self._untold: list[int] = []  # lines of the faults that are only counted

    def read(self) -> tuple[Table | None, tuple[Problem, ...]]:
        """The table, ``None`` after a problem; and the problems."""
        try:
            numbers = self._csv() if self._source.file.endswith(".csv") else self._texts()
        except UnicodeDecodeError:
            return None, document.decoded(self._source.data, self._source.file)[1]
        table = self._arranged(numbers)
        return (None, self._problems()) if self._faults else (table, ())

    def _open(self) -> TextIOWrapper:
        return TextIOWrapper(BytesIO(self._source.data), encoding="utf-8-sig")

    # --- the two forms ---

    def _texts(self) -> bool:
        add: Callable[[str, int], bool] | None = None
        numbers = False
        for line, written in enumerate(paced(self._open(), self._pace), 1):
            entry = written.strip()
            if "#" in entry:
                entry = _without_comment(entry)
            if not entry:
                continue
            if add is None:
                numbers = entry[0] in "+0123456789"
                add = self._add_number if numbers else self._add_text
            add(entry, line)
        return numbers

    def _csv(self) -> bool:
        lines = self._open()
        names = self._head(next(iter(lines), ""))
        if not names:
            return False
        numbers, width = names[0] in ("number", "prefix"), len(names)
        add = self._add_prefix if names[0] == "prefix" else self._add_number if numbers else self._add_text
        columns = tuple(
            (field, self._codes[names[field]].append, self._words[names[field]]) for field in range(1, width)
        )
        rows = csv.reader(lines, delimiter=self._separator, strict=True)
        try:
            for fields in paced(rows, self._pace):
                line = rows.line_num + 1
                if len(fields) != width:
                    if fields:
                        message = f"the first line names {width} columns, here are {len(fields)}"
                        self._tell(line, 0, message, "wrong_number_of_fields")
                elif add(fields[0].strip(), line):
                    for field, append, words in columns:
                        append(words[fields[field]])
        except csv.Error as fault:
            self._tell(rows.line_num + 1, 0, f"not CSV: {fault}", "syntax")
        return numbers

    def _head(self, line: str) -> list[str]:
        """The names in the first line, none after a problem."""
        self._separator = ";" if ";" in line and "," not in line else ","
        names = [name.strip() for name in next(csv.reader([line], delimiter=self._separator), ())]
        if not all(names) or not names:
            self._tell(1, 0, "the first line should name the columns, such as `number,cluster`", "no_columns")
            return []
        for field, name in enumerate(names[1:], 1):
            if name in names[:field]:
                self._tell(1, field, f"a column `{name}` stands here a second time", "duplicate_column")
            self._words[name] = _Words()
            self._codes[name] = array("I")
        return [] if self._faults else names

    # --- entries ---

    def _add_number(self, entry: str, line: int) -> bool:
        if self._is_canonical(entry):
            self._keys.append(_packed_plain(entry) | 1)
            self._lines.append(line)
            return True
        if entry[-1:] == "*":
            return self._add_prefix(entry, line)
        if not _NUMBER.fullmatch(_SEPARATORS.sub("", entry)):
            self._tell(line, 0, f"this should be a number, here is `{entry}`", "not_a_phone_number")
            return False
        return self._add(self._number(entry).canonical, False, line)

    def _add_prefix(self, entry: str, line: int) -> bool:
        if _is_plain_prefix(entry):
            self._keys.append(_packed_plain(entry))
            self._lines.append(line)
            return True
        prefix = _SEPARATORS.sub("", entry.removesuffix("*"))
        if not entry or not _PREFIX.fullmatch(prefix):
            self._tell(line, 0, f"this should be the begin of a number, here is `{entry}`", "not_a_prefix")
            return False
        if prefix.startswith("0"):
            message = f"no canonical number begins with `{prefix}`; write it in international form, as in `+3620`"
            self._tell(line, 0, message, "national_prefix")
            return False
        return self._add(prefix, True, line)

    def _add_text(self, entry: str, line: int) -> bool:
        if not entry or not entry.isprintable():
            self._tell(line, 0, "this should be a text of one line", "not_text")
            return False
        return self._add_other(entry, False, line)

    def _add(self, number: str, prefix: bool, line: int) -> bool:
        packed = _packed(number, not prefix)
        if packed < 0:
            return self._add_other(number, prefix, line)
        self._keys.append(packed)
        self._lines.append(line)
        return True

    def _add_other(self, key: str, prefix: bool, line: int) -> bool:
        first = self._others.setdefault((key, prefix), line)
        if first < line:
            self._tell_duplicate(key, prefix, line, first)
            return False
        self._keys.append(_BEHIND_ALL)
        self._lines.append(line)
        return True

    # --- the end ---

    def _arranged(self, numbers: bool) -> Table:
        """The table with its rows in order; what can be seen only now is told."""
        order = sorted(range(len(self._keys)), key=self._keys.__getitem__)
        keys = array("Q", map(self._keys.__getitem__, order[: len(order) - len(self._others)]))
        for row in _repeated(keys):
            line, first = self._lines[order[row]], self._lines[order[row - 1]]
            self._tell_duplicate(*_unpacked(keys[row]), line, first)
        values: dict[str, _Column] = {}
        for field, (name, codes) in enumerate(self._codes.items(), 1):
            words = self._words[name]
            self._look_at(words, codes, field)
            values[name] = _Column(map(codes.__getitem__, order), words)
        others = {key: len(keys) + row for row, key in enumerate(self._others)}
        return Table(self._source, keys, others, values, numbers)

    def _look_at(self, words: _Words, codes: "array[int]", field: int) -> None:
        if words.text.decode().isprintable():
            return
        for code in range(len(words.begins) - 1):
            if not words.text[words.begins[code] : words.begins[code + 1]].decode().isprintable():
                message = "a value should be printable text on one line"
                self._tell(self._lines[codes.index(code)], field, message, "not_text")

    # --- problems ---

    def _tell(self, line: int, field: int, message: str, code: str) -> None:
        if len(self._faults) < MOST_TOLD:
            self._faults.append((line, field, message, code))
        else:
            self._untold.append(line)

    def _tell_duplicate(self, key: str, prefix: bool, line: int, first: int) -> None:
        entry = key + "*" * prefix
        self._tell(line, 0, f"`{entry}` stands here a second time, the first is in line {first}", "duplicate_entry")

    def _problems(self) -> tuple[Problem, ...]:
        found = sorted(self._faults)
        problems = [Problem(self._place(line, field), message, code) for line, field, message, code in found]
        if self._untold:
            message = f"and {len(self._untold):,} more problems in this table"
            problems.append(Problem(self._place(self._untold[0], 0), message, "more_problems"))
        return tuple(problems)

    def _place(self, line: int, field: int) -> Place:
        """Where a field begins."""
        written = next(islice(self._open(), line - 1, None), "")
        begin, quoted = 0, False
        for at, character in enumerate(written if field else ""):
            quoted ^= character == '"'
            if character == self._separator and not quoted:
                field, begin = field - 1, at + 1
                if not field:
                    break
        rest = written[begin:]
        return Place(self._source.file, line, begin + len(rest) - len(rest.lstrip()) + 1)


def _repeated(keys: "array[int]") -> Iterator[int]:
    """The rows whose key is that of the row before."""
    same = map(operator.eq, keys, islice(keys, 1, None))
    return (row for row, repeated in enumerate(same, 1) if repeated)


def _without_comment(entry: str) -> str:
    """A line without what follows a ``#`` that begins it or stands after a blank."""
    found = _COMMENT.search(entry)
    return entry if found is None else entry[: found.start()].rstrip()
