"""Where commands go: clusters of PBX endpoints, and which of them are well.

Health is passive: it is read off real traffic. An endpoint that failed ``failures_to_open`` times in a row gets no more
traffic; after ``retry_after`` it is asked by a command that changes nothing, and comes back when it answers that.
Endpoints are used in the order of config, the first that is well: a call lives on one PBX, so spreading commands over
several would lose it.
"""

import asyncio
from collections.abc import Callable
from urllib.parse import quote

from interceptor.gateway.http1 import Reply
from interceptor.gateway.upstream import Pool
from interceptor.pipeline import Fault
from interceptor.settings import Address, Cluster, Deadlines, Url
from interceptor.wire.answers import read_answer

REFUSES_US = frozenset({304, 305, 306, 307})
"""The PBX's codes that say: not you.

Nothing was carried out, and with our own credentials the fault is not the app's.
"""


class Endpoint:
    """One PBX address, its connections and its health."""

    __slots__ = (
        "_closed",
        "_cluster",
        "_count",
        "_loop",
        "_patience",
        "_probe",
        "_timer",
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
    ) -> None:
        self.pool = pool
        self._count = count
        self.host = str(Address(url.host, url.port))
        self.path = b"" if url.path == "/" else url.path.encode("latin-1")
        self.up = True
        self.why = ""
        self.failures = 0
        self._cluster = cluster
        self._patience = patience
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._probe = _probe_request(cluster, self.host, self.path)

    def succeeded(self) -> None:
        """It answered as a PBX does."""
        self.failures = 0

    def failed(self, reason: str, why: str) -> None:
        """It did not; ``reason`` is the metric's label, ``why`` is for people."""
        self._count(self._cluster.name, self.host, reason)
        self.failures += 1
        if self.up and self.failures >= self._cluster.failures_to_open:
            self.up = False
            self.why = why
            self._schedule()

    def close(self) -> None:
        """Probe no more and close the connections."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self.pool.close()

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
            self.failures = 0
            self.why = ""


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


class ClusterRoute:
    """The endpoints of one cluster, in order."""

    __slots__ = ("credentials", "endpoints", "name")

    def __init__(self, cluster: Cluster, endpoints: tuple[Endpoint, ...]) -> None:
        self.name = cluster.name
        self.endpoints = endpoints
        self.credentials = cluster.credentials is not None

    def choose(self, tried: tuple[Endpoint, ...]) -> Endpoint | None:
        """The first endpoint that is well and was not tried."""
        for endpoint in self.endpoints:
            if endpoint.up and endpoint not in tried:
                return endpoint
        return None


def _probe_request(cluster: Cluster, host: str, path: bytes) -> bytes:
    query = f"command={quote(cluster.probe, safe='')}"
    if cluster.credentials is not None:
        username = quote(cluster.credentials.username, safe="")
        query += f"&Username={username}&Password={quote(cluster.credentials.password.reveal(), safe='')}"
    return b"GET %b?%b HTTP/1.1\r\nHost: %b\r\n\r\n" % (path or b"/", query.encode(), host.encode())
