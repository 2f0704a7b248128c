"""Times as far as the conditions on them tell them apart.

Between the edges of all conditions nothing changes, so one instant out of every stretch stands for it. With one clock
and nothing but days and hours the stretches of one week are all there are. With several clocks, or with dates, the
years from 2024 on that zones are known for are gone through edge by edge: which hours of two clocks fall together, and
on which weekday a date falls, comes out as it is. Instants at which the same conditions hold are one.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import combinations, pairwise
from math import ceil
from typing import Final
from zoneinfo import ZoneInfo

from interceptor.policy.analysis.regions import bits
from interceptor.policy.condition import Condition
from interceptor.policy.matchers.time import Dated, Weekly
from interceptor.policy.readings import WEEK_MINUTES, Readings
from interceptor.values import Facts, Kind

_FIRST: Final = date(2024, 1, 1)  # a Monday of a week in which no zone changes its offset
_YEARS: Final = 8
_WEEK: Final = WEEK_MINUTES * 60
_MOST: Final = 400_000  # instants times conditions that are looked at
_WORKING: Final = (1 * 24 + 10) * 60  # Tuesday at ten: an example reads well when nothing asks for a stranger hour


class Moments:
    """The moments that some conditions make. ``known`` is false where there were too many to look at."""

    def __init__(self, conditions: Sequence[Condition], zone: str) -> None:
        self.conditions: Final = tuple(dict.fromkeys(conditions))
        self.zone: Final = next((each.zone for each in self.conditions if isinstance(each, Weekly | Dated)), zone)
        readings = Readings()
        self._tests: Final = [condition.test(readings) for condition in self.conditions]
        weekly = all(isinstance(each, Weekly) for each in self.conditions)
        zones = {each.zone for each in self.conditions if isinstance(each, Weekly | Dated)}
        self.one_week: Final = weekly and len(zones) <= 1
        instants = self._week() if self.one_week else self._years(zones)
        self.known: Final = bool(instants) and (self.one_week or len(instants) * len(self._tests) <= _MOST)
        self.size = 0
        self._examples: list[float] = []
        self._by_signature: dict[int, int] = {}
        self._stretches: list[tuple[int, int]] = []  # where each begins, as a minute of the week, and its moment
        for at in instants if self.known else ():
            signature = self._signature(at)
            moment = self._by_signature.setdefault(signature, len(self._by_signature))
            if moment == len(self._examples):
                self._examples.append(at)
        self.size = len(self._examples)
        if self.one_week:
            begin = _instant(ZoneInfo(self.zone), 0)
            spans = sorted((round((at - begin) / 60) % WEEK_MINUTES, at) for at in instants)
            self._stretches = [(minute, self._by_signature[self._signature(at)]) for minute, at in spans]

    def holds(self, condition: Condition) -> int:
        """The moments at which a condition holds."""
        index = self.conditions.index(condition)
        return sum(1 << moment for signature, moment in self._by_signature.items() if signature >> index & 1)

    def of(self, at: float) -> int | None:
        """The moment of an instant; ``None`` for one of a kind that was not met."""
        return self._by_signature.get(self._signature(at))

    def example(self, moment: int) -> float:
        """An instant of this moment."""
        return self._examples[moment]

    def _signature(self, at: float) -> int:
        facts = Facts(Kind.COMMAND, "", "", "", None, None, {}, {}, at)
        return sum(1 << index for index, test in enumerate(self._tests) if test(facts))

    def _week(self) -> list[float]:
        zone = ZoneInfo(self.zone)
        edges = {edge % WEEK_MINUTES for each in self.conditions if isinstance(each, Weekly) for edge in each.edges}
        minutes = sorted(edges | {0, _WORKING}, key=lambda minute: (minute - _WORKING) % WEEK_MINUTES)
        return [_instant(zone, minute) for minute in minutes]

    def _years(self, zones: set[str]) -> list[float]:
        """Every edge on every clock, and where clocks are put forward or back."""
        found: set[float] = set()
        for name in zones:
            zone = ZoneInfo(name)
            mine = (each for each in self.conditions if isinstance(each, Weekly) and each.zone == name)
            minutes = {edge % WEEK_MINUTES for each in mine for edge in each.edges} | {0, _WORKING}
            if len(minutes) * len(zones) * _YEARS * 52 * len(self._tests) > _MOST:
                return []
            changes = _changes(zone)
            found |= _weekly(zone, minutes, changes)
            found |= changes
            for each in self.conditions:
                if isinstance(each, Dated) and each.zone == name:
                    found |= _edges_of(each, zone)
        first = _instant(ZoneInfo(self.zone), _WORKING)
        return [first, *sorted(found)]

    def told(self, moments: int) -> str:
        """Some moments in words: ``mon-fri 18:00-24:00``; of what is no week an example."""
        if not self.one_week:
            return self._by_conditions(moments) or f"such as {time_text(self.example(next(bits(moments))), self.zone)}"
        edges: list[int] = []
        for minute, moment in self._stretches:
            if bool(moments >> moment & 1) != bool(len(edges) % 2):
                edges.append(minute)
        if len(edges) % 2:
            edges.append(WEEK_MINUTES)
        return _hours(Weekly(self.zone, tuple(edges)))

    def _by_conditions(self, moments: int) -> str:
        """One or two of the conditions that say just these moments; ``""`` where none do."""
        every = (1 << self.size) - 1
        literals = [
            (f"{word}{_hours(condition)}", holds)
            for condition in self.conditions
            for word, holds in (("", self.holds(condition)), ("not ", every & ~self.holds(condition)))
        ]
        for text, holds in literals:
            if holds == moments:
                return text
        for (one, first), (two, second) in combinations(literals, 2):
            if first & second == moments:
                return f"{one}, {two}"
            if first | second == moments:
                return f"{one} or {two}"
        return ""


@lru_cache(maxsize=16)
def moments_of(conditions: tuple[Condition, ...], zone: str) -> Moments:
    """The moments that these conditions make, each of them named once.

    Kept for the next who asks: the spaces of one policy, one for each invariant, mostly ask for the same times, and to
    go through the years takes longer than all the rest of a proof.
    """
    return Moments(conditions, zone)


def _hours(condition: Condition) -> str:
    return condition.expects().removeprefix("time ").rpartition(" ")[0]  # without the zone


def _edges_of(dated: Dated, zone: ZoneInfo) -> set[float]:
    """Where the hours of the days that are meant begin and end, in the years gone through and on each day named."""
    first = _FIRST.toordinal()
    ordinals = set(range(first - 1, first + _YEARS * 365))
    for days in dated.dates:
        if not days.yearly:
            named = (end for end in (days.first, days.last) if end is not None)
            ordinals |= {end + beside for end in named for beside in range(-8, 9)}
    for holidays in dated.holidays:
        ordinals |= set(holidays.once)
    found: set[float] = set()
    for ordinal in ordinals:
        if 1 < ordinal < date.max.toordinal() - 1 and dated.counts(date.fromordinal(ordinal)):
            minute = (ordinal - first) * 24 * 60
            found |= {_instant(zone, minute + edge, fold) for span in dated.spans for edge in span for fold in (0, 1)}
    return found


def _instant(zone: ZoneInfo, minute: int, fold: int = 0) -> float:
    local = datetime(_FIRST.year, _FIRST.month, _FIRST.day, tzinfo=zone) + timedelta(minutes=minute)
    return local.replace(fold=fold).timestamp()


def _weekly(zone: ZoneInfo, minutes: Iterable[int], changes: set[float]) -> set[float]:
    """When a clock shows these minutes of a week, in the years gone through; an hour that it shows twice counts twice.

    Between two ``changes`` of its offset a clock is no more than a sum.
    """
    found: set[float] = set()
    monday = datetime(_FIRST.year, _FIRST.month, _FIRST.day, tzinfo=UTC).timestamp()
    end = monday + _YEARS * 52 * _WEEK
    bounds = [monday - _WEEK, *sorted(changes), end + _WEEK]
    for begin, over in pairwise(bounds):
        offset = datetime.fromtimestamp(begin, zone).utcoffset()
        assert offset is not None
        for minute in minutes:
            first = monday + minute * 60 - offset.total_seconds()
            weeks = range(max(0, ceil((begin - first) / _WEEK)), min(_YEARS * 52, ceil((over - first) / _WEEK)))
            found |= {first + week * _WEEK for week in weeks}
    return found


def _changes(zone: ZoneInfo) -> set[float]:
    """The instants at which the offset of a zone changes."""
    found: set[float] = set()
    begin = datetime(_FIRST.year, 1, 1, tzinfo=UTC)
    for day in range(_YEARS * 366):
        one, two = begin + timedelta(days=day), begin + timedelta(days=day + 1)
        before = one.astimezone(zone).utcoffset()
        if two.astimezone(zone).utcoffset() == before:
            continue
        low, high = 0, 24 * 60
        while high - low > 1:
            middle = (low + high) // 2
            if (one + timedelta(minutes=middle)).astimezone(zone).utcoffset() == before:
                low = middle
            else:
                high = middle
        found.add((one + timedelta(minutes=high)).timestamp())
    return found


def time_text(at: float, zone: str) -> str:
    """An instant as its clock shows it: ``Mon 2024-01-01 10:00``."""
    return datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(zone)).strftime("%a %Y-%m-%d %H:%M")
