"""### `time`

When the message arrives, on the clock of `zone` (without it: `time_zone` of `config.yaml`).

| key | value | without it |
| --- | --- | --- |
| `days` | `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`, a span of them (`mon-fri`), or a list | every day |
| `hours` | a span (`"08:00-18:00"`) or a list; the end is outside, `24:00` is the end of the day | all day |
| `dates` | a day (`2026-12-24`), one of every year (`12-24`), a span (`2026-12-24..2027-01-02`, `12-24..01-06`, `2026-12-24..`, `..2026-12-24`), or a list | every day |
| `holidays` | the name of a set of [holidays](#holidays), or a list of names | every day |
| `zone` | such as `Europe/Budapest` | as above |

What stands together must hold together. A span of `hours` that ends before it begins goes over midnight and belongs to
the day on which it begins: `{days: fri, hours: "22:00-06:00"}` lasts until Saturday at six. `not`, `any` and `all` nest
as everywhere.

    when: {time: {days: mon-fri, hours: "08:00-18:00"}}
    when: {time: {not: {days: mon-fri, hours: ["08:00-12:00", "13:00-18:00"]}}}
    when: {time: {days: mon-fri, hours: "08:00-18:00", not: [{holidays: hungary}, {dates: 12-24}]}}
"""  # noqa: D400, D415, E501 - a page of the manual

import re
from bisect import bisect_right
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from interceptor import document
from interceptor.document import Fields, Node, Text
from interceptor.policy.condition import Condition, Offer, Test, any_word
from interceptor.policy.dates import Days, Holidays, any_days, read_days, read_holidays
from interceptor.policy.grammar import Grammar, Reading
from interceptor.policy.readings import WEEK_MINUTES, Readings
from interceptor.policy.shapes import TEXT, Shape, Shapes, described, listed, rows
from interceptor.values import Facts

KEY: Final = "time"
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY: Final = 24 * 60
_REMEMBERED: Final = 64  # days
_SPAN: Final = re.compile(r"([0-9]{1,2}):([0-5][0-9])\s*-\s*([0-9]{1,2}):([0-5][0-9])")


class Weekly(Struct, frozen=True):
    """The local minute of the week lies between two ``edges``: the first opens, the second closes, and so on."""

    zone: str
    edges: tuple[int, ...]

    def test(self, readings: Readings) -> Test:
        clock, edges = readings.clock(self.zone), self.edges
        return lambda facts: bisect_right(edges, clock(facts.at)) % 2 == 1

    def offer(self) -> Offer | None:
        return None

    def expects(self) -> str:
        return f"time {_told(self.edges)} {self.zone}"

    def sees(self, facts: Facts, readings: Readings) -> str:
        moment = readings.moment(self.zone, facts.at)
        return f"time {_DAYS[moment.weekday()]} {moment:%H:%M} {self.zone}"


def _told(edges: tuple[int, ...]) -> str:
    """The hours of a week: days on which they are the same stand together."""
    hours: list[tuple[str, ...]] = []
    for day in range(7):
        spans = (
            (max(begin - day * _DAY, 0), min(end - day * _DAY, _DAY))
            for begin, end in zip(edges[::2], edges[1::2], strict=True)
        )
        hours.append(tuple(f"{_clock(begin)}-{_clock(end)}" for begin, end in spans if begin < end))
    told: list[str] = []
    for day, here in enumerate(hours):
        if here and (day == 0 or hours[day - 1] != here):
            last = next((after for after in range(day, 6) if hours[after + 1] != here), 6)
            days = _DAYS[day] if last == day else f"{_DAYS[day]}-{_DAYS[last]}"
            told.append(f"{days} {' and '.join(here)}" if here != ("00:00-24:00",) else days)
    return ", ".join(told) or "never"


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


class Dated(Struct, frozen=True):
    """The local time lies in one of the ``spans`` of minutes that belong to a day which is one of all that is given.

    ``days`` are days of the week, Monday is 0; no ``dates`` and no ``holidays`` mean every day.
    """

    zone: str
    days: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    dates: tuple[Days, ...]
    holidays: tuple[Holidays, ...]

    def test(self, readings: Readings) -> Test:
        calendar, spans, known = readings.calendar(self.zone), self.spans, dict[int, bool]()

        def counts(ordinal: int) -> bool:
            found = known.get(ordinal)
            if found is None:
                if len(known) >= _REMEMBERED:
                    known.clear()
                found = known[ordinal] = self.counts(date.fromordinal(ordinal))
            return found

        def fits(facts: Facts) -> bool:
            ordinal, minute = calendar(facts.at)
            return any(
                (begin <= minute < end and counts(ordinal)) or (minute < end - _DAY and counts(ordinal - 1))
                for begin, end in spans
            )

        return fits

    def offer(self) -> Offer | None:
        return None

    def counts(self, day: date) -> bool:
        """The day is one of those that are meant."""
        return (
            day.weekday() in self.days
            and (not self.dates or any(dates.hold(day) for dates in self.dates))
            and (not self.holidays or any(each.name_of(day) is not None for each in self.holidays))
        )

    def expects(self) -> str:
        dates = f" on {any_days(self.dates)}" if self.dates else ""
        holidays = f" on holidays {any_word([each.name for each in self.holidays])}" if self.holidays else ""
        week = _edges([(day * _DAY + begin, day * _DAY + end) for day in self.days for begin, end in self.spans])
        hours = "" if week == (0, WEEK_MINUTES) else f" {_told(week)}"
        return f"time{dates}{holidays}{hours} {self.zone}"

    def sees(self, facts: Facts, readings: Readings) -> str:
        moment = readings.moment(self.zone, facts.at)
        names = [name for each in self.holidays if (name := each.name_of(moment.date()))]
        holiday = f" ({', '.join(names)})" if names else ""
        return f"time {_DAYS[moment.weekday()]} {moment:%Y-%m-%d %H:%M}{holiday} {self.zone}"


def read(node: Node, reading: Reading) -> Condition | None:
    """The condition under ``time``."""
    return _GRAMMAR.read(node, reading)


def _whole(node: Fields, reading: Reading) -> Condition | None:
    days, hours, zone = node.get("days"), node.get("hours"), node.get("zone")
    on = range(7) if days is None else _days(days, reading)
    spans = ((0, _DAY),) if hours is None else _hours(hours, reading)
    name = reading.context.zone if zone is None else _zone(zone, reading)
    dates, holidays = node.get("dates"), node.get("holidays")
    if dates is not None or holidays is not None:
        found_dates = () if dates is None else _dates(dates, reading)
        found_holidays = () if holidays is None else _holidays(holidays, reading)
        if (dates is not None and not found_dates) or (holidays is not None and not found_holidays):
            return None  # told already; without them it would hold on every day
        return Dated(name, tuple(sorted(on)), tuple(spans), found_dates, found_holidays)
    return Weekly(name, _edges([(day * _DAY + begin, day * _DAY + end) for day in on for begin, end in spans]))


def _edges(spans: list[tuple[int, int]]) -> tuple[int, ...]:
    """Where the union of the spans opens and closes; what goes over the end of the week comes in at its begin."""
    within = [(begin, min(end, WEEK_MINUTES)) for begin, end in spans]
    within += [(0, end - WEEK_MINUTES) for _, end in spans if end > WEEK_MINUTES]
    edges: list[int] = []
    for begin, end in sorted(within):
        if edges and begin <= edges[-1]:
            edges[-1] = max(edges[-1], end)
        else:
            edges += (begin, end)
    return tuple(edges)


def _days(node: Node, reading: Reading) -> frozenset[int]:
    found: set[int] = set()
    for entry in document.items(node, reading.problems, "`days`"):
        word = document.text(entry, reading.problems, "`days`")
        if word is None:
            continue
        first, dash, last = (part.strip() for part in word.partition("-"))
        unknown = [part for part in ((first, last) if dash else (first,)) if part not in _DAYS]
        if unknown:
            hint = document.nearest(unknown[0], _DAYS) or ", write `mon`, `tue` …, or a span such as `mon-fri`"
            reading.problems.add(entry.place, f"unknown day `{unknown[0]}`{hint}", "unknown_day")
            continue
        begin = _DAYS.index(first)
        length = (_DAYS.index(last) - begin) % 7 if dash else 0
        found.update((begin + day) % 7 for day in range(length + 1))
    return frozenset(found)


def _hours(node: Node, reading: Reading) -> tuple[tuple[int, int], ...]:
    spans = [_span(entry, reading) for entry in document.items(node, reading.problems, "`hours`")]
    return tuple(span for span in spans if span is not None)


def _span(node: Node, reading: Reading) -> tuple[int, int] | None:
    found = _SPAN.fullmatch(node.value.strip()) if isinstance(node, Text) else None
    if found is not None:
        begin, end = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
        if begin < _DAY and end <= _DAY and begin != end:
            return begin, end if end > begin else end + _DAY
    message = f"`hours` should be a span such as `08:00-18:00`, here is {document.describe(node)}"
    reading.problems.add(node.place, message, "not_a_span")
    return None


def _dates(node: Node, reading: Reading) -> tuple[Days, ...]:
    problems = reading.problems
    found = (read_days(entry, problems, "`dates`") for entry in document.items(node, problems, "`dates`"))
    return tuple(dict.fromkeys(days for days in found if days is not None))


def _holidays(node: Node, reading: Reading) -> tuple[Holidays, ...]:
    problems = reading.problems
    found = (
        read_holidays(entry, reading.holidays, reading.tables, problems, "`holidays`")
        for entry in document.items(node, problems, "`holidays`")
    )
    return tuple(holidays for holidays in found if holidays is not None)


def _zone(node: Node, reading: Reading) -> str:
    name = document.text(node, reading.problems, "`zone`")
    if name is not None:
        try:
            ZoneInfo(name)
        except (ValueError, OSError, KeyError):
            reading.problems.add(
                node.place, f"unknown time zone `{name}`, write one such as `Europe/Budapest`", "unknown_zone"
            )
        else:
            return name
    return "UTC"


_GRAMMAR: Final = Grammar("`time`", None, dict.fromkeys(("days", "hours", "dates", "holidays", "zone"), read), _whole)


def shape(shapes: Shapes) -> Shape:
    """What can be written under ``time``."""
    days = "|".join(_DAYS)
    shapes_of = {
        "days": listed({"type": "string", "pattern": f"^({days})( *- *({days}))?$"}),
        "hours": listed({"type": "string", "pattern": "^ *[0-9]{1,2}:[0-5][0-9] *- *[0-9]{1,2}:[0-5][0-9] *$"}),
        "dates": listed({"type": "string", "pattern": r"^[0-9-]*(\s*\.\.\s*[0-9-]*)?$"}),
        "holidays": listed(TEXT),
        "zone": TEXT,
    }
    told = rows(__doc__ or "")
    return shapes.grammar(KEY, None, {key: described(each, told.get(key, "")) for key, each in shapes_of.items()})
