"""What several conditions read out of the same message: the sender's address as a number, the local minute of the week.

Both are remembered, with a bound; one ``Readings`` belongs to one compiled set and to one thread.
"""

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from ipaddress import IPv4Address, ip_address
from typing import Final
from zoneinfo import ZoneInfo

WEEK_MINUTES: Final = 7 * 24 * 60
_ADDRESSES: Final = 4096
_FOUND: Final = 16_384
_LONGEST_FOUND: Final = 64  # characters; numbers are shorter, and what is no number may be as long as a body
IPV4_FROM: Final = 0xFFFF << 32  # ::ffff:0:0/96, where IPv4 lives inside IPv6


def address_bits(text: str) -> int:
    """An address as a number of 128 bits, IPv4 in its place inside IPv6; -1 for what is no address."""
    try:
        address = ip_address(text)
    except ValueError:
        return -1
    return IPV4_FROM | int(address) if isinstance(address, IPv4Address) else int(address)


class Readings:
    """Remembers the addresses that were seen and, per time zone, the minute that is."""

    __slots__ = ("_addresses", "_calendars", "_clocks", "_found", "kept")

    def __init__(self) -> None:
        self.kept: dict[object, object] = {}  # what conditions share beside this, under a key of their own
        self._found: dict[tuple[int, str], tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._clocks: dict[str, Callable[[float], int]] = {}
        self._calendars: dict[str, Callable[[float], tuple[int, int]]] = {}

    def address(self, text: str) -> int:
        """See :func:`address_bits`."""
        bits = self._addresses.get(text)
        if bits is None:
            if len(self._addresses) >= _ADDRESSES:
                self._addresses.clear()
            bits = self._addresses[text] = address_bits(text)
        return bits

    def remembering(self, find: Callable[[str], tuple[int, ...]]) -> Callable[[str], tuple[int, ...]]:
        """``find`` that remembers what it found for the last texts: messages carry the same numbers again and again."""
        found, find_id = self._found, id(find)  # which lives as long as what is returned

        def look(text: str) -> tuple[int, ...]:
            known = found.get((find_id, text))
            if known is None:
                known = find(text)
                if len(text) <= _LONGEST_FOUND:
                    if len(found) >= _FOUND:
                        found.clear()
                    found[find_id, text] = known
            return known

        return look

    def clock(self, zone: str) -> Callable[[float], int]:
        """A function from Unix time to the local minute of the week, counted from Monday 00:00."""
        if zone not in self._clocks:
            self._clocks[zone] = _clock(ZoneInfo(zone))
        return self._clocks[zone]

    def calendar(self, zone: str) -> Callable[[float], tuple[int, int]]:
        """A function from Unix time to the local day, as an ordinal of :class:`datetime.date`, and the minute of it."""
        if zone not in self._calendars:
            self._calendars[zone] = _calendar(ZoneInfo(zone))
        return self._calendars[zone]

    def moment(self, zone: str, at: float) -> datetime:
        """The local time in a zone."""
        return local_time(ZoneInfo(zone), at)


def local_time(zone: tzinfo, at: float) -> datetime:
    """The time on the clocks of a zone, cut to the minute."""
    return datetime.fromtimestamp(at // 60 * 60, UTC).astimezone(zone)


def _clock(zone: ZoneInfo) -> Callable[[float], int]:
    # Every offset that zones have had since 1972 is whole minutes, so a minute of Unix time is one of local time.
    seen_at, seen = -1, 0

    def minute_of_week(at: float) -> int:
        nonlocal seen_at, seen
        minute = int(at // 60)
        if minute != seen_at:
            local = local_time(zone, at)
            seen_at, seen = minute, (local.weekday() * 24 + local.hour) * 60 + local.minute
        return seen

    return minute_of_week


def _calendar(zone: ZoneInfo) -> Callable[[float], tuple[int, int]]:
    seen_at, seen = -1, (0, 0)

    def day_and_minute(at: float) -> tuple[int, int]:
        nonlocal seen_at, seen
        minute = int(at // 60)
        if minute != seen_at:
            local = local_time(zone, at)
            seen_at, seen = minute, (local.toordinal(), local.hour * 60 + local.minute)
        return seen

    return day_and_minute
