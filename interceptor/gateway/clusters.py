"""Where commands go: clusters of PBX endpoints, which of them are well, and which share their calls.

Health is read off real traffic, and where config says so also off a harmless command that is asked now and then. An
endpoint that failed ``failures_to_open`` times in a row gets no more traffic; after ``retry_after`` it is asked by that
command, and comes back when it answers it. All workers share what they find out (``health.py``).

Endpoints are used in the order of config, the first that is well: a call lives on one PBX, so spreading commands over
several would lose it. One that is draining gets what is about the calls that it has, and nothing new.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from interceptor.exchanges import Fault
from interceptor.gateway.health import Health
from interceptor.gateway.http1 import Reply
from interceptor.gateway.upstream import Pool
from interceptor.settings import Address, Cluster, Deadlines, Each, Settings, Url
from interceptor.wire.answers import read_answer

log = logging.getLogger(__name__)

REFUSES_US = frozenset({304, 305, 306, 307})
"""The PBX's codes that say: not you.

Nothing was carried out, and with our own credentials the fault is not the app's.
"""


class Endpoint:
    """One PBX address and its connections. ``count`` is told failures, ``checked`` how checks ended."""

    __slots__ = (
        "_asking",
        "_check_timer",
        "_checked",
        "_closed",
        "_cluster",
        "_count",
        "_health",
        "_loop",
        "_patience",
        "_probe",
        "_timer",
        "draining",
        "host",
        "path",
        "pool",
    )

    def __init__(
        self,
        url: Url,
        cluster: Cluster,
        pool: Pool,
        health: Health,
        patience: Deadlines,
        loop: asyncio.AbstractEventLoop,
        count: Callable[[str, str, str], None],
        checked: Callable[[str, str, str], None],
    ) -> None:
        self.pool = pool
        self._health = health
        self._count = count
        self._checked = checked
        self.host = str(Address(url.host, url.port))
        self.path = b"" if url.path == "/" else url.path.encode("latin-1")
        self.draining = False
        self._cluster = cluster
        self._patience = patience
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._check_timer: asyncio.TimerHandle | None = None
        self._asking = False  # a question of ours is under way: a second one would tell nothing more
        self._closed = False
        self._probe = self.question(cluster.probe)

    def question(self, command: str) -> bytes:
        """A request for a command without parameters, with our own credentials."""
        return _question(self._cluster, command, self.host, self.path)

    def is_at(self, source: str) -> bool:
        """Whether this is the address of its host."""
        return source in {self.pool.address.host, self.pool.peer}

    @property
    def up(self) -> bool:
        """Whether it gets traffic. Who finds that it does not sees to it that it is asked.

        Another worker may have taken it out, and have ended since.
        """
        if not self._health.out:
            return True
        self._see_to_it()
        return False

    @property
    def why(self) -> str:
        """Why it gets none."""
        return self._health.why

    def succeeded(self) -> None:
        """It answered as a PBX does."""
        self._health.succeeded()

    def failed(self, reason: str, why: str) -> None:
        """It did not; ``reason`` is the metric's label, ``why`` is for people."""
        if self._closed:
            return
        self._count(self._cluster.name, self.host, reason)
        if self._health.failed(why, self._cluster.retry_after):
            self._is_out(why)

    def start_checks(self) -> None:
        """Ask it from now on: where it is out, and where config wants that also while it is well."""
        if self._health.out:
            self._see_to_it()
        if self._cluster.check_every is not None:
            self._check(self._cluster.check_every)

    def retire(self) -> None:
        """Ask it no more, and count nothing: what is cut off by our own end says nothing about it."""
        self._closed = True
        for timer in (self._timer, self._check_timer):
            if timer is not None:
                timer.cancel()

    def close(self) -> None:
        """Close its connections, after all that may be asked in its place have retired."""
        self.retire()
        self.pool.close()

    # one that was taken out

    def _see_to_it(self) -> None:
        """Have it asked, now or as soon as nobody else's turn holds."""
        if self._timer is None and not self._asking:
            self._schedule(0.0)

    def _is_out(self, why: str) -> None:
        log.warning("cluster %s: %s gets no traffic: %s", self._cluster.name, self.host, why)
        self._schedule(self._cluster.retry_after)

    def _schedule(self, seconds: float) -> None:
        if not self._closed:  # a probe that is cut off by closing must not ask for another
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(seconds, self._ask)

    def _ask(self) -> None:
        self._timer = None
        if not self._health.out:
            return  # another worker has asked
        pause = self._cluster.retry_after
        seconds = pause if self._asking else self._health.wait_to_ask(pause)
        if seconds:
            self._schedule(seconds)
        else:
            self._asking = True
            self.pool.send(_Probing(self._asked), self._probe, self._patience)

    def _asked(self, why: str) -> None:
        self._asking = False
        if self._closed:
            return
        if why:
            self._health.stays_out(why)
            self._schedule(self._cluster.retry_after)
        else:
            self._health.comes_back()
            log.info("cluster %s: %s answers again", self._cluster.name, self.host)

    # one that is well, or looks so

    def _check(self, period: float) -> None:
        if self._closed:
            return
        self._check_timer = self._loop.call_later(period, self._check, period)
        if self.up and not self._asking and self._health.may_check(period):
            self._asking = True
            self.pool.send(_Probing(self._told), self._probe, self._patience)

    def _told(self, why: str) -> None:
        """A check has ended."""
        self._asking = False
        if self._closed:
            return
        if why == Fault.OVERLOADED.value:  # our own queue
            self._health.was_not_checked()
            return
        self._checked(self._cluster.name, self.host, "failed" if why else "answered")
        if not why:
            self._health.check_succeeded()
            return
        self._count(self._cluster.name, self.host, "check")
        if self._health.check_failed(why, self._cluster.retry_after):
            self._is_out(why)


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
