"""## Holidays

Any rules file may have sets of days under `holidays`, each with a name that `time` uses in any file. A set maps days to
what they are called, or lists them; a day is written `2026-04-06`, or `12-25` when it comes every year, and several in
a row `12-24..12-26`. A set may also stand in a table: a `*.csv` whose first column is called `date`.

    holidays:
      hungary:
        01-01: New Year
        03-15: 1848 Revolution
        2026-04-06: Easter Monday
        12-24..12-26: Christmas
"""  # noqa: D400, D415 - a page of the manual

import re
from collections.abc import Mapping
from datetime import date
from typing import Final

from msgspec import Struct

from interceptor import document
from interceptor.document import Fields, Node, Problems, Text
from interceptor.policy.condition import any_word
from interceptor.policy.tables import Table
from interceptor.values import Place

_DATE: Final = r"(?:([0-9]{4})-)?([0-9]{2})-([0-9]{2})"
_ONE: Final = re.compile(_DATE)
_LEAP_YEAR: Final = 2000  # every day that may come in a year comes in it
_MOST_DAYS: Final = 366  # of one entry in a set of holidays
_LONGEST_NAME: Final = 120


class Days(Struct, frozen=True):
    """Days in a row, both ends included.

    Where ``yearly``, the ends are a month times 100 and a day, and a span whose end is the lesser goes over New Year;
    else they are ordinals of :class:`datetime.date`, and an end that is ``None`` is open.
    """

    first: int | None
    last: int | None
    yearly: bool

    def hold(self, day: date) -> bool:
        """The day is one of them."""
        here = day.month * 100 + day.day if self.yearly else day.toordinal()
        after, before = self.first is None or self.first <= here, self.last is None or here <= self.last
        if self.yearly and self.first is not None and self.last is not None and self.last < self.first:
            return after or before
        return after and before

    def __str__(self) -> str:
        first, last = (_written(end, yearly=self.yearly) for end in (self.first, self.last))
        return first if first == last else f"{first}..{last}"


def _written(end: int | None, *, yearly: bool) -> str:
    if end is None:
        return ""
    return f"{end // 100:02}-{end % 100:02}" if yearly else date.fromordinal(end).isoformat()


def any_days(several: tuple[Days, ...]) -> str:
    """Several of which one is meant."""
    return any_word([str(days) for days in several])


class Holidays(Struct, frozen=True):
    """A set of days with a name; every day has a name as well, which may be empty."""

    name: str
    once: Mapping[int, str]  # by ordinal
    yearly: Mapping[int, str]  # by month times 100 and day

    def __hash__(self) -> int:
        """Sets of one name are seldom different ones."""
        return hash(self.name)

    def name_of(self, day: date) -> str | None:
        """What a day is called; ``None`` where it is none of them."""
        name = self.once.get(day.toordinal())
        return self.yearly.get(day.month * 100 + day.day) if name is None else name


def parse_days(text: str) -> Days | None:
    """The days that a text names, ``None`` where it names none."""
    first_text, dots, last_text = (part.strip() for part in text.partition(".."))
    first, last = _end(first_text), _end(last_text) if dots else _end(first_text)
    if first is None or last is None or first == last == (None, False):
        return None
    yearly = {yearly for end, yearly in (first, last) if end is not None}
    if len(yearly) > 1 or (yearly == {True} and None in (first[0], last[0])):
        return None
    found = Days(first[0], last[0], yearly.pop())
    backwards = found.first is not None and found.last is not None and found.last < found.first
    return None if backwards and not found.yearly else found


def _end(text: str) -> tuple[int | None, bool] | None:
    """One end of a span, and whether it comes every year; open where there is nothing."""
    if not text:
        return None, False
    found = _ONE.fullmatch(text)
    try:
        day = date(int(found[1] or _LEAP_YEAR), int(found[2]), int(found[3])) if found is not None else None
    except ValueError:
        day = None
    if found is None or day is None:
        return None
    return (day.toordinal(), False) if found[1] else (day.month * 100 + day.day, True)


def read_days(node: Node, problems: Problems, what: str) -> Days | None:
    """The days that a node names."""
    found = parse_days(node.value) if isinstance(node, Text) else None
    if found is None:
        message = (
            f"{what} should be a day or several such as `2026-12-24`, `12-24`, `2026-12-24..2027-01-02` or "
            f"`2026-12-24..`, here is {document.describe(node)}"
        )
        problems.add(node.place, message, "not_a_date")
    return found


class HolidayReader:
    """Reads the sets of holidays of one file after another, before any rule is read."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self.sets: dict[str, Holidays] = {}
        self._tables = tables
        self._places: dict[str, Place] = {}

    def read_file(self, root: Node, problems: Problems) -> None:
        """Take in the sets of one file."""
        node = root.get("holidays") if isinstance(root, Fields) else None
        if node is None:
            return
        for key, value in document.fields(node, None, problems, "`holidays`").entries:
            name = key.value
            if name in self._places:
                message = f"holidays named `{name}` stand already at {self._places[name]}"
                problems.add(key.place, message, "duplicate_name")
            elif name in self._tables:
                problems.add(key.place, f"a table is named `{name}` as well", "duplicate_name")
            elif not name or len(name) > _LONGEST_NAME:
                message = f"a set of holidays should have a name of at most {_LONGEST_NAME} characters"
                problems.add(key.place, message, "bad_name")
            else:
                self._places[name] = key.place
                self.sets[name] = _set(name, value, problems)


def _set(name: str, node: Node, problems: Problems) -> Holidays:
    what = f"`{name}` of `holidays`"
    entries = (
        node.entries
        if isinstance(node, Fields)
        else tuple((each, None) for each in document.items(node, problems, what))
    )
    if isinstance(node, Fields) and not entries:
        problems.add(node.place, f"{what} should not be empty", "empty_mapping")
    once: dict[int, str] = {}
    yearly: dict[int, str] = {}
    for key, value in entries:
        days = read_days(key, problems, f"a day of {what}")
        label = "" if value is None else document.text(value, problems, f"the name of a day of {what}", empty=True)
        if days is not None and not _spread(days, label or "", once, yearly):
            message = f"{days} is no span of at most {_MOST_DAYS} days"
            problems.add(key.place, message, "too_many_days")
    return Holidays(name, once, yearly)


def _spread(days: Days, name: str, once: dict[int, str], yearly: dict[int, str]) -> bool:
    """Enter each of the days; false where they are too many."""
    if days.yearly:
        year = (date.fromordinal(date(_LEAP_YEAR, 1, 1).toordinal() + day) for day in range(_MOST_DAYS))
        yearly |= {day.month * 100 + day.day: name for day in year if days.hold(day)}
        return True
    if days.first is None or days.last is None or days.last - days.first >= _MOST_DAYS:
        return False
    once |= dict.fromkeys(range(days.first, days.last + 1), name)
    return True


def read_holidays(
    node: Node, sets: Mapping[str, Holidays], tables: Mapping[str, Table], problems: Problems, what: str
) -> Holidays | None:
    """The set of holidays that a node names."""
    name = document.text(node, problems, what)
    if name is None:
        return None
    if name in sets:
        return sets[name]
    table = tables.get(name)
    if table is None:
        hint = (
            document.nearest(name, (*sets, *tables)) or "; they stand under `holidays` of a rules file, or in a table"
        )
        problems.add(node.place, f"unknown holidays `{name}`{hint}", "unknown_holidays")
        return None
    if table.numbers:
        message = f"the table `{name}` holds numbers; one of holidays is a `*.csv` whose first column is called `date`"
        problems.add(node.place, message, "wrong_table")
        return None
    return _from_table(table, node, problems)


def _from_table(table: Table, node: Node, problems: Problems) -> Holidays | None:
    once: dict[int, str] = {}
    yearly: dict[int, str] = {}
    for entry, _ in table.entries():
        days = parse_days(entry)
        name = table.value(table.find(entry), table.columns[0]) if table.columns else ""
        if days is None or not _spread(days, name, once, yearly):
            problems.add(node.place, f"the table `{table.name}` has an entry `{entry}`, which is no day", "wrong_table")
            return None
    return Holidays(table.name, once, yearly)
