"""One worker: the parts of the data plane put together, started and stopped in order.

Start: journal (nothing is decided before it can be recorded), pools and clusters, outbox, listeners.
Stop: listeners, what is in flight, outbox, upstream connections, journal.
"""

import asyncio
import contextlib
import ctypes
import gc
import itertools
import logging
import random
import secrets
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from mmap import mmap
from typing import Any

from interceptor.audit.record import Record, Recorder
from interceptor.callbacks import Targets
from interceptor.calls import Call
from interceptor.exchanges import Patience
from interceptor.explanation import Explanation, Kept
from interceptor.gateway.affinity import Whereabouts
from interceptor.gateway.breakers import TABLE_BYTES as BREAKERS_BYTES
from interceptor.gateway.breakers import Breakers
from interceptor.gateway.carrier import Carrier
from interceptor.gateway.clusters import ClusterRoute, Endpoint
from interceptor.gateway.connection import Door
from interceptor.gateway.deadlines import Sweeper
from interceptor.gateway.deciding import LateDecisions
from interceptor.gateway.delivery import NOBODY, Deliveries, heirless_folders
from interceptor.gateway.firsts import TABLE_BYTES as FIRSTS_BYTES
from interceptor.gateway.firsts import Firsts
from interceptor.gateway.health import Health, health_bytes
from interceptor.gateway.master import GatewayMaster
from interceptor.gateway.mirroring import Mirrors
from interceptor.gateway.repeats import Repeats
from interceptor.gateway.upstream import Pool, Site
from interceptor.identity import Identifier
from interceptor.journal import Journal, JournalInUseError
from interceptor.known_calls import KnownCalls
from interceptor.live_calls import LiveCalls
from interceptor.metrics import Metrics, Snapshot
from interceptor.outbox import AddressTurns, Turn
from interceptor.ownership import Holdings
from interceptor.pipeline import Pipeline, patience_of
from interceptor.policies import Policies
from interceptor.policy import Meters, RuleSet, Source
from interceptor.policy.meters import table_size
from interceptor.rehearsal import Rehearsed
from interceptor.rollout import Canary
from interceptor.rows import TABLE_BYTES, Rows
from interceptor.settings import Address, Cluster, Ownership, Settings
from interceptor.state import BREAKERS, CALLS, FIRSTS, HEALTH, HOLDINGS, TURNS, SharedTable, callback_keys, draining
from interceptor.wire import knowledge
from interceptor.wire.codes import Code

log = logging.getLogger(__name__)

_M_MMAP_THRESHOLD = -3  # of malloc.h
_BIG_BLOCK = 128 << 10  # what glibc begins with
_GC_THRESHOLD = 50_000  # exchanges make no cycles; the collector need not look at them often
_STOP_POLL_SECONDS = 0.02
_ENDING_SECONDS = 2.0  # what an end takes beside what is in flight
_LOOK_SECONDS = 1.0
_POOLS = 512
_CALLS_A_TURN = 50  # half a millisecond
_TURN_SECONDS = 0.005
_SECRET_BYTES = 32


def settle_memory() -> None:
    """Let the collector pass over all that is there now, and come rarely from now on; big blocks go back at once.

    For a process that begins to serve and does nothing else: it holds for all of its memory. A worker beside other
    things, as in tests and in the demo, would keep what they leave behind for ever.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 100)
    _return_big_blocks()


def _return_big_blocks() -> None:
    """Have the C library ask the system for each big block, and give it back when it is freed.

    glibc begins so, and stops with the first big block that is freed: from then on tables that grow and batches for
    the journal come to lie in its heap, between small things that stay, and the heap grows for hours although no more
    of it is used. A size that was set once stays. Other C libraries have no such habit, and no such function.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # TypeError: Windows has no name for "this program"
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _BIG_BLOCK)


class Worker:
    """The data plane of one process. ``name`` is its journal's and goes into its exchange ids.

    ``rules`` are the ``sources`` compiled, where that was done already; ``canary`` decides its share beside them.
    ``shared`` are the meters of limits that all
    workers count in, of which this one is the one with that ``index``; the worker closes them when it stops. ``secret``
    is what all workers make digests with that are to mean nothing to anybody else.
    """

    def __init__(
        self,
        settings: Settings,
        sources: Sequence[Source],
        *,
        name: str = "w0",
        share_port: bool = False,
        observe: Callable[[Record], None] | None = None,
        rules: RuleSet | None = None,
        shared: SharedTable | None = None,
        index: int = 0,
        canary: Canary | None = None,
        secret: bytes | None = None,
    ) -> None:
        self._settings = settings
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._share_port = share_port
        self._stopping = False
        self._calls_to_take: list[Call] = []
        self.metrics = Metrics(
            name, commands=knowledge.COMMANDS, notifications=knowledge.NOTIFICATIONS, codes=tuple(Code)
        )
        self.policies = Policies(settings, sources, self.metrics, rules=rules, canary=canary, busy=self._has_messages)
        self.metrics.before_snapshot.append(self._gauge)
        self._sweeper = Sweeper(self._loop)
        self.journal = Journal(settings.journal, name, self._loop, self.metrics)
        self._recorder = Recorder(name, settings.journal.masking)
        identifier = Identifier(settings.apps.values(), secrets.token_bytes(32))
        self._patiences = patience_of(settings)
        self._longest = max(times.total for times in self._patiences.values()) * 2 + settings.timeouts.connect
        self._shared = shared
        self._shared_tables: list[SharedTable] = []
        meters = self._meters(index)
        holdings = Holdings(*self._table_of(HOLDINGS))
        self._known = KnownCalls(holdings, Rows(*self._table_of(CALLS)))
        self._pipeline = Pipeline(
            settings,
            self.policies.rules,
            self._recorder,
            identifier,
            meters,
            callback_keys(settings),
            None if settings.ownership is Ownership.OFF else holdings,
            self._known,
        )
        self.policies.decide_in(self._pipeline)
        self._pools: dict[Site, Pool] = {}
        self._targets = Targets(settings.apps)
        self.clusters = self._routes()
        for cluster, endpoint in draining(settings.state):
            self.set_draining(cluster, endpoint, draining=True)
        self.whereabouts = Whereabouts(self.clusters, self._patiences[Patience.COMMAND], self._loop.time)
        self.calls = LiveCalls(
            settings.calls,
            settings.journal,
            self._pipeline.numbers,
            self.metrics,
            self._loop,
            index=index,
            workers=settings.workers,
        )
        observed = self._observed_by(observe)
        late = (self.journal.append,) if observed is None else (self.journal.append, observed)
        self.deliveries = Deliveries(
            settings.state / "outbox" / name,
            settings.apps,
            settings.limits,
            self._pool_for,
            self._patiences[Patience.REPORT],
            self.metrics,
            LateDecisions(self._pipeline, *late).decide,
            *self._turns(index),
            heirless_folders(settings.state / "outbox", index, settings.workers),
        )
        secret = secret or secrets.token_bytes(_SECRET_BYTES)
        self.breakers = Breakers(settings.apps, *self._table_of(BREAKERS, BREAKERS_BYTES), secret=secret)
        self._repeats = Repeats(settings.apps, self._firsts(index), self._loop, longest=self._longest, secret=secret)
        self.mirrors = Mirrors(
            self.clusters,
            connect_seconds=settings.timeouts.connect,
            idle_seconds=settings.timeouts.upstream_idle,
            sweeper=self._sweeper,
            loop=self._loop,
            count=self.metrics.copied,
        )
        self.kept = Kept(settings.explain, random.random)
        self._looked_at: Rehearsed | None = None
        self._look: asyncio.TimerHandle | None = None
        boot = secrets.token_hex(4)
        self._carrier = Carrier(
            self._pipeline,
            self._recorder,
            self.journal,
            self.metrics,
            self.deliveries,
            worker=f"{boot}-{name}",
            clusters=self.clusters,
            pool_for=self._pool_for,
            patiences=self._patiences,
            headers=settings.headers,
            most_connections=settings.limits.connections,
            mirrors=self.mirrors,
            whereabouts=self.whereabouts,
            apps=settings.apps,
            breakers=self.breakers,
            repeats=self._repeats,
            observe=observed,
            over=lambda opened: self.kept.saw(opened, opened.rules or self._pipeline.rules),
        )
        self._doors = {
            each.name: Door(each, settings.limits, settings.timeouts, self._sweeper, self._carrier, self._loop)
            for each in settings.listeners
        }
        self._master: GatewayMaster | None = None

    async def start(self) -> dict[str, Address]:
        """Begin to serve; give the listeners' addresses by name."""
        settings = self._settings
        await self._open_journal()
        await self.calls.restore()
        self._take_over_calls()
        self._sweeper.start()
        await self.deliveries.open()
        self.calls.start_polls(self.clusters)
        for route in self.clusters.values():
            for endpoint in route.endpoints:
                endpoint.start_checks()
        self._master = GatewayMaster(
            self._doors,
            self._carrier,
            settings.limits,
            state=settings.state,
            share_port=self._share_port,
            answer_seconds=self._longest,
        )
        try:
            addresses = await self._master.start()
        except BaseException:
            await self.stop()
            raise
        self._look = self._loop.call_later(_LOOK_SECONDS, self._look_for_near_misses)
        return addresses

    async def _open_journal(self) -> None:
        """Take the journal. Workers whose supervisor was killed may still have it, and finish what is in flight."""
        over = self._loop.time() + (self._settings.timeouts.shutdown + _ENDING_SECONDS if self._share_port else 0.0)
        told = False
        while True:
            try:
                await self.journal.open()
            except JournalInUseError as error:
                if self._loop.time() >= over:
                    raise
                if not told:
                    log.warning("%s; waiting for it to end", error)
                    told = True
                await asyncio.sleep(_STOP_POLL_SECONDS)
            else:
                return

    async def stop(self) -> None:
        """Stop accepting, finish what is in flight up to the cap, flush the journal."""
        self._stopping = True
        self.calls.stop()
        master = self._master
        if master is not None:
            await master.stop_listening()
        for door in self._doors.values():
            door.stop()
        over = self._loop.time() + self._settings.timeouts.shutdown
        while self._busy and self._loop.time() < over:  # noqa: ASYNC110 - an event would cost every exchange
            await asyncio.sleep(_STOP_POLL_SECONDS)
        endpoints = [endpoint for route in self.clusters.values() for endpoint in route.endpoints]
        for endpoint in endpoints:
            endpoint.retire()
        for endpoint in endpoints:
            endpoint.close()
        for pool in tuple(self._pools.values()):
            pool.close()
        await asyncio.sleep(0)  # who was still waiting has the failure table's answer now: let it leave
        await asyncio.sleep(0)
        for door in self._doors.values():
            for connection in tuple(door.connections):
                connection.abort()
        self._repeats.close()
        self.mirrors.close()
        await self.deliveries.close()  # after the pools: what was in flight there may have to be kept
        if master is not None:
            await master.stop()
        self._sweeper.stop()
        if self._look is not None:
            self._look.cancel()
        await self.journal.close()
        if self._shared is not None:
            self._shared.close()
        for table in self._shared_tables:
            table.close()

    def _observed_by(self, observe: Callable[[Record], None] | None) -> Callable[[Record], None] | None:
        """Who is shown each record beside the journal."""
        follow = self.calls.observe if self._settings.calls.open else None
        if observe is None or follow is None:
            return observe or follow

        def both(record: Record) -> None:
            observe(record)
            follow(record)

        return both

    def drain(self) -> None:
        """Say that we are about to stop."""
        self._stopping = True

    def _has_messages(self) -> bool:
        return self._carrier.in_flight > 0

    @property
    def _busy(self) -> bool:
        return self._has_messages() or any(door.connections for door in self._doors.values())

    # what the admin listener tells

    def unready(self) -> list[str]:
        """Why no traffic should come here; empty where all is well."""
        reasons = []
        if self._stopping:
            reasons.append("shutting down")
        if not self.journal.healthy:
            reasons.append(f"journal cannot write: {self.journal.outage or 'not open'}")
        for name, route in self.clusters.items():
            if not any(endpoint.up for endpoint in route.endpoints):
                why = "; ".join(f"{endpoint.host} {endpoint.why}" for endpoint in route.endpoints)
                reasons.append(f"no endpoint of cluster {name} is up: {why}")
        return reasons

    def warnings(self) -> list[str]:
        """What an operator should know although messages are served."""
        told = [told for route in self.clusters.values() for told in route.warnings()]
        return told + [
            f"app {app} is not asked at {url}: it failed too often"
            for app, urls in self.breakers.left_alone().items()
            for url in urls
        ]

    def cluster_pages(self) -> list[dict[str, Any]]:
        """How the clusters stand, for ``/clusters``."""
        calls = self.whereabouts.counts()
        return [route.page(calls) for route in self.clusters.values()]

    def outbox_pages(self) -> list[dict[str, Any]]:
        """How the outboxes stand, for ``/outbox``."""
        return [{"worker": self._name, **queue} for queue in self.deliveries.queues()]

    def set_draining(self, cluster: str, endpoint: str, *, draining: bool) -> str:
        """Send nothing new to an endpoint, or do so again; its host and port, ``""`` where there is none."""
        route = self.clusters.get(cluster)
        found = None if route is None else route.find(endpoint)
        if found is None:
            return ""
        found.draining = draining
        return found.host

    def snapshot(self) -> Snapshot:
        """The numbers of this worker at this moment."""
        return self.metrics.snapshot()

    def _gauge(self) -> None:
        """Set the gauges that are cheaper to read than to keep."""
        metrics = self.metrics
        for name, route in self.clusters.items():
            for endpoint in route.endpoints:
                metrics.endpoint_up(name, endpoint.host, up=endpoint.up)
                metrics.endpoint_draining(name, endpoint.host, draining=endpoint.draining)
        for app, urls in self.breakers.left_alone().items():
            metrics.app_asked(app, asked=not urls)
        metrics.calls_located(sum(self.whereabouts.counts().values()))
        for site, pool in self._pools.items():
            if site.guarded_for:
                continue  # apps choose these: no end of names
            address = site.address
            idle = pool.idle
            metrics.upstream_pool(str(address), idle=idle, busy=pool.connections - idle, queued=pool.queued)
        for app, depth in self.deliveries.depths().items():
            metrics.outbox_depth(app, depth)
        self.calls.gauge()
        metrics.older_policies(len(self._pipeline.older))
        if self._pipeline.canary is not None:
            metrics.canary_messages(self._pipeline.canary.counted)
        metrics.journal_state(pending=self.journal.statistics.pending, healthy=self.journal.healthy)

    # looking back

    def change_calls(self) -> None:
        """Decide by the policy in force for calls in progress, too, whatever they began with."""
        self._pipeline.older.clear()

    def _look_for_near_misses(self) -> None:
        """Hold the newest of the messages that were kept against the rules, now and then: it costs next to nothing."""
        self._look = self._loop.call_later(_LOOK_SECONDS, self._look_for_near_misses)
        self._pipeline.let_go(time.time())
        newest = self.kept.newest()
        if newest is None or newest is self._looked_at:
            return
        self._looked_at = newest
        try:
            self.policies.near_misses(newest.facts)
        except Exception:  # nobody's message depends on it
            log.exception("looking for near misses failed")

    def explain(self, exchange: str) -> Callable[[], Explanation] | None:
        """What explains an exchange, if it was kept; for another thread, because it may take long."""
        return self.kept.find(exchange, self._pipeline.rules)

    def _meters(self, index: int) -> Meters:
        if self._shared is None:
            own = mmap(-1, table_size(1))
            return Meters(own, hold_seconds=self._longest, lost=self.metrics.meter_lost)
        meters = Meters(
            self._shared.memory,
            workers=self._settings.workers,
            worker=index,
            hold_seconds=self._longest,
            guard=self._shared,
            lost=self.metrics.meter_lost,
        )
        meters.clear_worker()  # of the process that was this worker before
        return meters

    # upstreams

    def _pool_for(self, site: Site) -> Pool:
        pool = self._pools.get(site)
        if pool is None:
            settings = self._settings
            app = site.guarded_for
            pool = Pool(
                site.address,
                settings.limits,
                connect_seconds=site.connect or settings.timeouts.connect,
                idle_seconds=settings.timeouts.upstream_idle,
                sweeper=self._sweeper,
                loop=self._loop,
                tls=ssl.create_default_context() if site.tls else None,
                reaches=partial(self._targets.reaches, app) if app else None,
                limit_hit=self.metrics.limit_hit,
            )
            if len(self._pools) >= _POOLS:
                self._forget_a_pool()
            self._pools[site] = pool
        return pool

    def _turns(self, index: int) -> tuple[dict[str, Turn], AddressTurns | None]:
        """What keeps the order of reports over all workers; nothing where there is one."""
        if self._shared is None:
            return {}, None
        memory, _ = self._table(TURNS)
        workers, addresses = self._settings.workers, self._settings.limits.outbox_addresses
        apps = (*self._settings.apps, NOBODY)
        turns = {name: Turn(memory, app=app, worker=index, workers=workers) for app, name in enumerate(apps)}
        return turns, AddressTurns(memory, apps=len(apps), addresses=addresses, worker=index, workers=workers)

    def _firsts(self, index: int) -> Firsts | None:
        """What is known of commands that may come again; nothing where no app wants it."""
        if not any(app.repeats_within for app in self._settings.apps.values()):
            return None
        table = self._table_of(FIRSTS, FIRSTS_BYTES)
        return Firsts(*table, worker=index, forgot=lambda: self.metrics.limit_hit("repeats"))

    def _table_of(self, name: str, size: int = TABLE_BYTES) -> tuple[mmap, SharedTable] | tuple[mmap]:
        """Memory and guard of a table that workers share; one worker has its own, of which it takes what it uses."""
        return (mmap(-1, size),) if self._shared is None else self._table(name)

    def _table(self, name: str) -> tuple[mmap, SharedTable]:
        table = SharedTable(self._settings.state, name)
        self._shared_tables.append(table)
        return table.memory, table

    def _take_over_calls(self) -> None:
        """Learn from the records of calls how they stand and whose they are: some in one turn of the loop."""
        self._calls_to_take = [*self.calls.calls.recent, *self.calls.calls.open]
        self._take_some_calls()

    def _take_some_calls(self) -> None:
        waiting = self._calls_to_take
        for _ in range(min(_CALLS_A_TURN, len(waiting))):
            call, canary = waiting.pop(), self._pipeline.canary
            stays = canary is not None and canary.rules.revision == call.revision
            self._known.take_over(call, call.revision if stays else self.policies.rules.revision)
        if waiting and not self._stopping:
            self._loop.call_later(_TURN_SECONDS, self._take_some_calls)

    def _forget_a_pool(self) -> None:
        """Make room: senders may name new addresses for ever. What config names is asked for again and again."""
        for site, pool in self._pools.items():
            if site.guarded_for and pool.connections == pool.idle and not pool.queued:
                pool.close()
                del self._pools[site]
                return

    def _routes(self) -> dict[str, ClusterRoute]:
        clusters = self._settings.clusters
        table = self._table_of(HEALTH, health_bytes(sum(len(cluster.endpoints) for cluster in clusters.values())))
        numbers = itertools.count()  # every worker has its endpoints in the same order
        return {name: self._route(cluster, numbers, table) for name, cluster in clusters.items()}

    def _route(
        self, cluster: Cluster, numbers: Iterator[int], table: tuple[mmap, SharedTable] | tuple[mmap]
    ) -> ClusterRoute:
        endpoints = tuple(
            Endpoint(
                url,
                cluster,
                self._pool_for(Site(Address(url.host, url.port))),
                Health(cluster.failures_to_open, number, *table),
                self._patiences[Patience.COMMAND],
                self._loop,
                self.metrics.endpoint_failed,
                self.metrics.endpoint_checked,
            )
            for url, number in zip(cluster.endpoints, numbers, strict=False)
        )
        return ClusterRoute(cluster, endpoints)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed, asyncio's own elsewhere."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
