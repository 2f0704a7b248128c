"""Which PBX has which call, where there are several: a command that names a call goes to the PBX that has it.

What passes tells: a notification from an address of a PBX, one that comes to a callback that went out with a command
(the command went to the PBX that calls back), a list of calls, a command that found its call. Of a call that nobody
told us of, all PBXs are asked once, with ListActiveCalls, which changes nothing; whoever asks meanwhile waits for the
same answers. What is not known then takes the ordinary way, and the PBX itself says that there is no such call.

Each worker learns for itself. What it knows has a bound and an age; what it has lost it asks for again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from interceptor.exchanges import Fault
from interceptor.gateway.clusters import ClusterRoute, Endpoint, Place
from interceptor.gateway.http1 import Reply
from interceptor.settings import Deadlines
from interceptor.wire.answers import read_answer
from interceptor.wire.codes import Code
from interceptor.wire.listings import call_ids

CALLS_MOST: Final = 65_536  # of one family
ORIGINS_MOST: Final = 65_536
KEPT_SECONDS: Final = 12 * 3600.0  # since it was last seen
ABSENT_SECONDS: Final = 2.0  # how long a call that no PBX has is not asked for again
ABSENT_MOST: Final = 4096
ASK_SECONDS: Final = 2.0  # at most; less where commands have less
QUESTION: Final = "ListActiveCalls"

Found = Callable[[Place | None], None]


class Family:
    """PBXs among which a call may be on any: the endpoints of one cluster, and of the clusters beside it."""

    def __init__(self, places: Sequence[Place], patience: Deadlines, now: Callable[[], float]) -> None:
        self.places = tuple(places)
        self._now = now
        self._patience = Deadlines(
            min(ASK_SECONDS, patience.first_byte / 2), min(ASK_SECONDS, patience.total / 2)
        )  # who comes too late for one round of questions waits for the next
        self._calls: dict[str, tuple[Place, float]] = {}  # the one seen last is the last
        self._absent: dict[str, float] = {}
        self._asking = 0  # answers that are still out
        self._sure = True  # all have answered in this round
        self._waiting: list[tuple[str, Found]] = []
        self._late: list[tuple[str, Found]] = []  # came while the question was under way: its answer may be older

    def place_of(self, call: str) -> Place | None:
        """Where a call is, as far as is known."""
        known = self._calls.get(call)
        if known is None:
            return None
        place, seen = known
        if self._now() - seen > KEPT_SECONDS:
            del self._calls[call]
            return None
        self.put(call, place)
        return place

    def put(self, call: str, place: Place) -> None:
        """The call is there."""
        calls = self._calls
        calls.pop(call, None)
        if len(calls) >= CALLS_MOST:
            del calls[next(iter(calls))]
        calls[call] = (place, self._now())
        self._absent.pop(call, None)

    def drop(self, call: str) -> None:
        """The call is not where it was."""
        self._calls.pop(call, None)

    def counts(self) -> dict[Place, int]:
        """How many calls are known to be where."""
        counts: dict[Place, int] = {}
        for place, _ in self._calls.values():
            counts[place] = counts.get(place, 0) + 1
        return counts

    def is_absent(self, call: str) -> bool:
        """Whether all PBXs have said just now that they do not have it."""
        until = self._absent.get(call)
        return until is not None and self._now() < until

    def locate(self, call: str, found: Found) -> None:
        """Ask all PBXs; ``found`` is told once where the call is, ``None`` where nobody has it."""
        if self._asking:
            self._late.append((call, found))
        else:
            self._waiting.append((call, found))
            self._ask()

    def _ask(self) -> None:
        asked = [(place, endpoint) for place in self.places if (endpoint := place.choose(())) is not None]
        self._sure = len(asked) == len(self.places)
        self._asking = len(asked) + 1  # one for ourselves: an answer may come at once
        for place, endpoint in asked:
            endpoint.pool.send(_Asked(self, place, endpoint), endpoint.question(QUESTION), self._patience)
        self.answered(None, None)

    def answered(self, place: Place | None, body: bytes | None) -> None:
        """One of the answers is here; without a body it is none. Who is found by it need not wait for the others."""
        if place is not None:
            if body is None:
                self._sure = False
            else:
                for call in call_ids(body):
                    self.put(call, place)
        self._asking -= 1
        told: list[tuple[Found, Place | None]] = []
        self._waiting = self._left(self._waiting, told)
        self._late = self._left(self._late, told)
        if not self._asking:
            lost, self._waiting, self._late = self._waiting, self._late, []
            for call, found in lost:
                if self._sure:
                    self._note_absent(call)
                told.append((found, None))
            if self._waiting:
                self._ask()
        for found, where in told:
            found(where)

    def _left(self, asking: list[tuple[str, Found]], told: list[tuple[Found, Place | None]]) -> list[tuple[str, Found]]:
        """Those whose calls are not found yet; the others are put to those who are told."""
        left: list[tuple[str, Found]] = []
        for call, found in asking:
            where = self.place_of(call)
            if where is None:
                left.append((call, found))
            else:
                told.append((found, where))
        return left

    def _note_absent(self, call: str) -> None:
        if len(self._absent) >= ABSENT_MOST:
            self._absent.clear()
        self._absent[call] = self._now() + ABSENT_SECONDS


class _Asked:
    """The errand of one question."""

    def __init__(self, family: Family, place: Place, endpoint: Endpoint) -> None:
        self._family = family
        self._place = place
        self._endpoint = endpoint

    def replied(self, reply: Reply) -> None:
        """It has answered, perhaps with a refusal."""
        well = reply.status < 500 and read_answer(reply.body).code == Code.OK
        self._family.answered(self._place, reply.body if well else None)

    def failed(self, fault: Fault, *, sent: bool, stale: bool = False) -> None:
        """It has not. Its health is the business of commands and checks, which apps wait for longer."""
        del fault, sent, stale
        self._family.answered(self._place, None)


class Whereabouts:
    """The families of one worker's clusters, and what notifications tell of them."""

    def __init__(self, clusters: Mapping[str, ClusterRoute], patience: Deadlines, now: Callable[[], float]) -> None:
        self._families: dict[str, Family] = {}
        self._origins: dict[str, Place] = {}
        for name, route in clusters.items():
            if route.cluster.beside is not None:
                continue
            together = [route, *(each for each in clusters.values() if each.cluster.beside == name)]
            places = [place for each in together for place in each.places]
            if len(places) > 1:
                family = Family(places, patience, now)
                self._families |= {each.name: family for each in together}
        self.several = bool(self._families)

    def family(self, cluster: str) -> Family | None:
        """The PBXs that may have the calls of a cluster; ``None`` where it is one."""
        return self._families.get(cluster)

    def sent(self, exchange: str, place: Place) -> None:
        """The callbacks of an exchange went to this PBX."""
        origins = self._origins
        if len(origins) >= ORIGINS_MOST:
            del origins[next(iter(origins))]
        origins[exchange] = place

    def notified(self, exchange: str, calls: Iterable[str], source: str, origin: str) -> None:
        """A notification about calls came from an address; ``origin`` is the exchange of its callback."""
        place = self._origins.get(origin) if origin else None
        if place is None:
            places = {
                place
                for family in self._families.values()
                for place in family.places
                if any(endpoint.is_at(source) for endpoint in place.endpoints)
            }
            if len(places) != 1:  # nobody's, or of an address that several share
                return
            place = places.pop()
        family = self._families[place.route.name]
        for call in calls:
            family.put(call, place)
        self.sent(exchange, place)  # the callbacks in its answer go there too

    def counts(self) -> dict[Place, int]:
        """How many calls are known to be where."""
        return {place: count for family in set(self._families.values()) for place, count in family.counts().items()}
