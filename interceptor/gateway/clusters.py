"""Where commands go: clusters of PBX endpoints, which of them are well, and which share their calls.

Health is read off real traffic, and where config says so also off a harmless command that is asked now and then. An
endpoint that failed ``failures_to_open`` times in a row gets no more traffic; after ``retry_after`` it is asked by that
command, and comes back when it answers it. Endpoints are used in the order of config, the first that is well: a call
lives on one PBX, so spreading commands over several would lose it.

An endpoint that is draining gets what is about the calls that it has, and nothing new.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from interceptor.exchanges import Fault
from interceptor.gateway.http1 import Reply
from interceptor.gateway.upstream import Pool
from interceptor.settings import Address, Cluster, Deadlines, Each, Settings, Url
from interceptor.wire.answers import read_answer

REFUSES_US = frozenset({304, 305, 306, 307})
"""The PBX's codes that say: not you.

Nothing was carried out, and with our own credentials the fault is not the app's.
"""


class Endpoint:
    """One PBX address, its connections and its health. ``count`` is told failures, ``checked`` how checks ended."""

    __slots__ = (
        "_check_timer",
        "_checked",
        "_checks_failed",
        "_closed",
        "_cluster",
        "_count",
        "_loop",
        "_patience",
        "_probe",
        "_timer",
        "draining",
        "failures",
        "host",
        "path",
        "pool",
        "up",
        "why",
    )

    def __init__(
        self,
        url: Url,
        cluster: Cluster,
        pool: Pool,
        patience: Deadlines,
        loop: asyncio.AbstractEventLoop,
        count: Callable[[str, str, str], None],
        checked: Callable[[str, str, str], None],
    ) -> None:
        self.pool = pool
        self._count = count
        self._checked = checked
        self.host = str(Address(url.host, url.port))
        self.path = b"" if url.path == "/" else url.path.encode("latin-1")
        self.up = True
        self.draining = False
        self.why = ""
        self.failures = 0
        self._checks_failed = 0
        self._cluster = cluster
        self._patience = patience
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._check_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._probe = self.question(cluster.probe)

    def question(self, command: str) -> bytes:
        """A request for a command without parameters, with our own credentials."""
        return _question(self._cluster, command, self.host, self.path)

    def is_at(self, source: str) -> bool:
        """Whether this is the address of its host."""
        return source in {self.pool.address.host, self.pool.peer}

    def succeeded(self) -> None:
        """It answered as a PBX does."""
        self.failures = 0

    def failed(self, reason: str, why: str) -> None:
        """It did not; ``reason`` is the metric's label, ``why`` is for people."""
        self._count(self._cluster.name, self.host, reason)
        self.failures += 1
        if self.failures >= self._cluster.failures_to_open:
            self._take_out(why)

    def start_checks(self) -> None:
        """Ask it from now on, if config wants that."""
        if self._cluster.check_every is not None and not self._closed:
            self._check()

    def close(self) -> None:
        """Probe no more and close the connections."""
        self._closed = True
        for timer in (self._timer, self._check_timer):
            if timer is not None:
                timer.cancel()
        self.pool.close()

    def _take_out(self, why: str) -> None:
        if self.up:
            self.up = False
            self.why = why
            self._schedule()

    # one that was taken out

    def _schedule(self) -> None:
        if not self._closed:  # a probe that is cut off by closing must not ask for another
            self._timer = self._loop.call_later(self._cluster.retry_after, self._ask)

    def _ask(self) -> None:
        self.pool.send(_Probing(self._asked), self._probe, self._patience)

    def _asked(self, why: str) -> None:
        if why:
            self.why = why
            self._schedule()
        else:
            self.up = True
            self.failures = self._checks_failed = 0
            self.why = ""

    # one that is well, or looks so

    def _check(self) -> None:
        if self.up:
            self.pool.send(_Probing(self._told), self._probe, self._patience)
        else:
            self._check_later()

    def _told(self, why: str) -> None:
        """A check has ended. A good one is no excuse for commands that fail, so failures of both kinds count apart."""
        self._check_later()
        if why == Fault.OVERLOADED.value:  # our own queue
            return
        self._checked(self._cluster.name, self.host, "failed" if why else "answered")
        if not why:
            self._checks_failed = 0
            return
        self._count(self._cluster.name, self.host, "check")
        self._checks_failed += 1
        if self._checks_failed >= self._cluster.failures_to_open:
            self._take_out(why)

    def _check_later(self) -> None:
        seconds = self._cluster.check_every
        if not self._closed and seconds is not None:
            self._check_timer = self._loop.call_later(seconds, self._check)


class _Probing:
    """The errand of a probe. ``done`` is told why it failed, or ``""``."""

    def __init__(self, done: Callable[[str], None]) -> None:
        self._done = done

    def replied(self, reply: Reply) -> None:
        """It answers; whether it answers *us* is read from the code."""
        code = read_answer(reply.body).code
        if code is None or reply.status >= 500:
            self._done("does not answer as a PBX")
        elif code in REFUSES_US:
            self._done(f"refuses us with code {code}")
        else:
            self._done("")

    def failed(self, fault: Fault, *, sent: bool, stale: bool = False) -> None:
        """Still away."""
        del sent, stale
        self._done(fault.value)


class Place:
    """Where a call can be: one PBX. It is an ``endpoint``, or all of a ``route`` whose endpoints lead to the same."""

    __slots__ = ("endpoint", "route")

    def __init__(self, route: "ClusterRoute", endpoint: Endpoint | None) -> None:
        self.route = route
        self.endpoint = endpoint

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Those that lead there."""
        return self.route.endpoints if self.endpoint is None else (self.endpoint,)

    @property
    def name(self) -> str:
        """How people know it."""
        return ",".join(endpoint.host for endpoint in self.endpoints)

    def choose(self, tried: Iterable[Endpoint]) -> Endpoint | None:
        """The first endpoint that leads there, is well and was not tried; one that is draining if need be."""
        well = [endpoint for endpoint in self.endpoints if endpoint.up and endpoint not in tried]
        return next((endpoint for endpoint in well if not endpoint.draining), well[0] if well else None)

    def why_none(self) -> Fault:
        """What to say where :meth:`choose` finds none."""
        return Fault.UNREACHABLE


class ClusterRoute:
    """The endpoints of one cluster, in order, and the PBXs that they are."""

    __slots__ = ("cluster", "credentials", "endpoints", "name", "places")

    def __init__(self, cluster: Cluster, endpoints: tuple[Endpoint, ...]) -> None:
        self.name = cluster.name
        self.cluster = cluster
        self.endpoints = endpoints
        self.credentials = cluster.credentials is not None
        apart = cluster.each is Each.PBX
        self.places = tuple(Place(self, endpoint) for endpoint in endpoints) if apart else (Place(self, None),)

    def choose(self, tried: tuple[Endpoint, ...]) -> Endpoint | None:
        """The first endpoint that is well, not draining, and was not tried."""
        for endpoint in self.endpoints:
            if endpoint.up and not endpoint.draining and endpoint not in tried:
                return endpoint
        return None

    def why_none(self) -> Fault:
        """What to say where :meth:`choose` finds none: whether one could be reached that only gets nothing new."""
        drained = any(endpoint.up and endpoint.draining for endpoint in self.endpoints)
        return Fault.DRAINING if drained else Fault.UNREACHABLE

    def place_of(self, endpoint: Endpoint) -> Place:
        """The PBX that an endpoint of this cluster leads to."""
        return next(place for place in self.places if endpoint in place.endpoints)

    def find(self, which: str) -> Endpoint | None:
        """The endpoint that :func:`host_of` finds."""
        host = _host_of(self.cluster, which)
        return next((endpoint for endpoint in self.endpoints if endpoint.host == host), None)

    def warnings(self) -> list[str]:
        """What an operator should know of it."""
        draining = [endpoint.host for endpoint in self.endpoints if endpoint.draining]
        told = [f"endpoint {host} of cluster {self.name} is draining: it gets nothing new" for host in draining]
        if len(draining) == len(self.endpoints):
            told.append(f"every endpoint of cluster {self.name} is draining: nothing new can begin there")
        return told

    def page(self, calls: Mapping[Place, int]) -> dict[str, Any]:
        """How it stands, for ``/clusters``; ``calls`` says how many are known to be where."""
        return {
            "name": self.name,
            "each": self.cluster.each.value,
            "beside": self.cluster.beside,
            "endpoints": [
                {
                    "number": number,
                    "endpoint": endpoint.host,
                    "up": endpoint.up,
                    "why": endpoint.why,
                    "draining": endpoint.draining,
                    "busy": endpoint.pool.connections - endpoint.pool.idle,
                    "queued": endpoint.pool.queued,
                    "calls": calls.get(self.place_of(endpoint), 0),
                }
                for number, endpoint in enumerate(self.endpoints, 1)
            ],
        }


def host_of(settings: Settings, cluster: str, which: str) -> str:
    """The host and port of the endpoint with this number, from 1 in the order of config, or with this host and port.

    ``""`` where there is none.
    """
    known = settings.clusters.get(cluster)
    return "" if known is None else _host_of(known, which)


def _host_of(cluster: Cluster, which: str) -> str:
    hosts = [str(Address(url.host, url.port)) for url in cluster.endpoints]
    return next((host for number, host in enumerate(hosts, 1) if which in {str(number), host}), "")


def merged_pages(pages: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The pages of all workers as one: what is under way adds up, of health the worst counts."""
    first, *others = pages
    for other in others:
        for cluster, more in zip(first, other, strict=True):
            for endpoint, also in zip(cluster["endpoints"], more["endpoints"], strict=True):
                endpoint["up"] = endpoint["up"] and also["up"]
                endpoint["why"] = endpoint["why"] or also["why"]
                endpoint["draining"] = endpoint["draining"] and also["draining"]
                endpoint["busy"] += also["busy"]
                endpoint["queued"] += also["queued"]
                endpoint["calls"] = max(endpoint["calls"], also["calls"])
    return first


def _question(cluster: Cluster, command: str, host: str, path: bytes) -> bytes:
    query = f"command={quote(command, safe='')}"
    if cluster.credentials is not None:
        username = quote(cluster.credentials.username, safe="")
        query += f"&Username={username}&Password={quote(cluster.credentials.password.reveal(), safe='')}"
    return b"GET %b?%b HTTP/1.1\r\nHost: %b\r\n\r\n" % (path or b"/", query.encode(), host.encode())
