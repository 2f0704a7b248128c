"""Where one worker counts. The methods called once an exchange cost about a microsecond.

Laws of this module:

* Label values come from closed sets, known when the metrics are made or when a policy is loaded; anything else is
  ``_other``. No number, call id, path or name invented by a sender ever becomes a label.
* Counting is a look-up and an addition. What the label values mean is worked out when a snapshot is asked for.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from prometheus_client import ProcessCollector

from interceptor.metrics import families as f
from interceptor.metrics.families import NONE, OTHER, Family, Type
from interceptor.metrics.snapshot import Series, Snapshot
from interceptor.values import Kind, Verdict

CELLS = 16_384  # combinations counted together before they are folded into their families
RULES = 20_000  # rule names that have a label of their own, over all policies loaded

SERIES = 50_000  # of one metric; more share one series of `_other`

_VERDICTS = frozenset(verdict.value for verdict in Verdict)
_COMMAND, _NOTIFICATION = (Kind.COMMAND.value,), (Kind.NOTIFICATION.value,)
_OWN_BUCKETS, _UPSTREAM_BUCKETS = f.OWN_BUCKETS, f.UPSTREAM_BUCKETS
_PROCESS = {
    "process_resident_memory_bytes": f.WORKER_MEMORY,
    "process_cpu_seconds": f.WORKER_CPU,
    "process_open_fds": f.WORKER_FILES,
    "process_start_time_seconds": f.WORKER_STARTED,
}


class Metrics:
    """One worker's counters, gauges and histograms."""

    def __init__(
        self,
        worker: str = "1",
        *,
        commands: Iterable[str] = (),
        notifications: Iterable[str] = (),
        codes: Iterable[int] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.worker = worker
        self._started = clock()
        self._commands = frozenset(commands)
        self._notifications = frozenset(notifications)
        self._codes = {int(code): str(int(code)) for code in codes}
        self._rules: set[str] = set()
        self._names: Mapping[str, str] = {}  # of the rules in force, by their labels in decisions
        self._names_before: Mapping[str, str] = {}  # of those before them, which exchanges may still be decided by
        self._clients: dict[str, list[int]] = {}  # by listener: how many have connected, how many of them have gone
        self._acted_cells: dict[tuple[tuple[str, ...], tuple[str, ...]], list[float]] = {}
        self._values: dict[str, dict[tuple[str, ...], float]] = {}
        self._command_cells: dict[tuple[str, int | None, str, str], list[int]] = {}
        self._notification_cells: dict[tuple[str, str, str, str], list[int]] = {}
        self._own_command, self._own_notification = _histogram(f.OWN), _histogram(f.OWN)
        self._upstream_command, self._upstream_notification = _histogram(f.UPSTREAM), _histogram(f.UPSTREAM)
        self._silence = {group: tuple(_histogram(f.SILENCE) for _ in f.SILENCE_PARTS) for group in f.SILENT_GROUPS}
        self._journal_write = _histogram(f.JOURNAL_WRITE)
        self._process = ProcessCollector(registry=None)
        self.before_snapshot: list[Callable[[], None]] = []
        """Called before each snapshot: the place to set gauges that are cheaper to read than to keep."""

    # Once an exchange.

    def command_settled(
        self, name: str, code: int | None, rule: str, verdict: str, upstream_seconds: float, own_seconds: float
    ) -> None:
        """A command has its answer.

        ``upstream_seconds`` is 0 when no PBX was asked; ``verdict`` is the verdict's value, ``""`` when the policy was
        not asked; ``rule`` is the name of the rule that ended the reading.
        """
        try:
            self._command_cells[name, code, rule, verdict][0] += 1
        except KeyError:
            # A name that a sender invented must not stay in memory, however long it is.
            known = name if name in self._commands else OTHER
            self._count_cell(self._command_cells, (known, code, rule, verdict))
        own = self._own_command
        own[bisect_left(_OWN_BUCKETS, own_seconds)] += 1
        own[-1] += own_seconds
        if upstream_seconds:
            upstream = self._upstream_command
            upstream[bisect_left(_UPSTREAM_BUCKETS, upstream_seconds)] += 1
            upstream[-1] += upstream_seconds

    def notification_settled(
        self, name: str, outcome: str, rule: str, verdict: str, upstream_seconds: float, own_seconds: float
    ) -> None:
        """A notification has its answer; ``outcome`` is one of ``NOTIFICATION_OUTCOMES``."""
        try:
            self._notification_cells[name, outcome, rule, verdict][0] += 1
        except KeyError:
            known = name if name in self._notifications else OTHER
            self._count_cell(self._notification_cells, (known, outcome, rule, verdict))
        own = self._own_notification
        own[bisect_left(_OWN_BUCKETS, own_seconds)] += 1
        own[-1] += own_seconds
        if upstream_seconds:
            upstream = self._upstream_notification
            upstream[bisect_left(_UPSTREAM_BUCKETS, upstream_seconds)] += 1
            upstream[-1] += upstream_seconds

    def caller_waited(self, group: str, app_seconds: float, own_seconds: float) -> None:
        """A caller heard nothing for so long, because of the app and because of us; ``group``: ``SILENT_GROUPS``."""
        parts = (app_seconds + own_seconds, app_seconds, own_seconds)
        for histogram, seconds in zip(self._silence[group], parts, strict=True):
            histogram[bisect_left(f.SILENCE_BUCKETS, seconds)] += 1
            histogram[-1] += seconds

    def rules_acted(self, rules: tuple[str, ...], shadow: tuple[str, ...], at: float) -> None:
        """These rules acted on a message at this Unix time, those in shadow mode would have; labels of a decision."""
        try:
            cell = self._acted_cells[rules, shadow]
        except KeyError:
            if len(self._acted_cells) >= CELLS:
                self._fold()
            cell = self._acted_cells[rules, shadow] = [0, 0.0]
        cell[0] += 1
        cell[1] = at

    # Now and then.

    def near_misses(self, rules: Iterable[str]) -> None:
        """A message was looked at for near misses: on these rules, by name, all conditions held but one."""
        self._add(f.NEAR_MISS_SAMPLES, ())
        for rule in rules:
            self._add(f.RULE_NEAR_MISSES, (self._rule(rule),))

    def verb_decided(self, verdict: str, rule: str, count: int = 1) -> None:
        """The policy has judged a verb in an app's answer, or so many alike."""
        self._add(f.DECISIONS, (Kind.VERB.value, _verdict(verdict), self._rule(rule)), count)

    def callbacks_captured(self, count: int, longest: int) -> None:
        """So many callbacks became addresses of ours, with tokens of at most ``longest`` characters."""
        self._add(f.CALLBACKS, (), count)
        values = self._values.setdefault(f.CALLBACK_TOKEN.name, {})
        if longest > values.get((), 0):
            values[()] = longest

    def refused(self, reason: str) -> None:
        """A request was refused without a rule; ``reason`` is one of ``REFUSAL_REASONS``.

        Where the reason is a cap or an ambiguity, the metric of those counts too.
        """
        self._add(f.REFUSALS, (reason if reason in f.REFUSAL_REASONS else OTHER,))
        if reason in f.LIMIT_OF_REASON:
            self.limit_hit(f.LIMIT_OF_REASON[reason])
        elif reason == "ambiguous":
            self._add(f.AMBIGUOUS, ("refused",))

    def ambiguous_passed(self) -> None:
        """A message says one parameter twice and is passed on, as configured."""
        self._add(f.AMBIGUOUS, ("passed",))

    def not_well_formed(self, kind: Kind) -> None:
        """The answer to a message of this kind is XML that cannot be read."""
        self._add(f.NOT_WELL_FORMED, (kind.value,))

    def limit_hit(self, limit: str) -> None:
        """A cap was reached; ``limit`` is one of ``LIMITS``."""
        self._add(f.LIMIT_HITS, (limit if limit in f.LIMITS else OTHER,))

    def limited(self, limited: tuple[str, ...], shadow: tuple[str, ...]) -> None:
        """A message was over the limits of these rules, labels of a decision; those in ``shadow`` stop nobody."""
        for label in limited:
            rule = self._rule(self._name(label))
            self._add(f.LIMITED, (rule, "shadow" if label in shadow else "enforce"))

    def meter_lost(self, reason: str) -> None:
        """A meter of a limit was given up; ``reason`` is one of ``METER_LOSSES``."""
        self._add(f.METERS_LOST, (reason if reason in f.METER_LOSSES else OTHER,))

    def copied(self, outcome: str) -> None:
        """A copy for a mirror has ended; ``outcome`` is one of ``MIRROR_OUTCOMES``."""
        self._add(f.MIRROR_COPIES, (outcome if outcome in f.MIRROR_OUTCOMES else OTHER,))

    def call_saved(self, app: str, notification: str) -> None:
        """A caller heard the app's fallback because the app did not answer."""
        self._add(f.CALLS_SAVED, (app, notification if notification in self._notifications else OTHER))

    def calls_followed(
        self, states: Mapping[str, int], counts: Mapping[str, int], *, unknown: int | None, lost: int | None
    ) -> None:
        """How the record of calls stands: open calls by state, what was counted so far, and what the PBX's list said.

        ``counts`` are by the names of ``calls.Counts``, with ``missed`` for records that were not read.
        """
        for state, number in states.items():
            self._set(f.CALLS_OPEN, (state,), number)
        self._set(f.CALLS_BEGUN, (), counts["began"])
        for how in f.JOINS:
            self._set(f.CALL_JOINS, (how,), counts[how])
        for reason in f.GIVEN_UP_REASONS:
            self._set(f.CALLS_GIVEN_UP, (reason,), counts[reason])
        if unknown is not None and lost is not None:
            self._set(f.CALLS_UNKNOWN, (), unknown)
            self._set(f.CALLS_LOST, (), lost)

    def connection_opened(self, listener: str) -> None:
        """A client has connected."""
        try:
            self._clients[listener][0] += 1
        except KeyError:
            self._clients[listener] = [1, 0]

    def connection_closed(self, listener: str) -> None:
        """A client's connection has ended; once for each that was opened."""
        self._clients[listener][1] += 1

    def connection_goes_on(self, listener: str) -> None:
        """A client's connection of which the end was told has not ended."""
        self._clients[listener][1] -= 1

    def connection_refused(self, listener: str) -> None:
        """A client was turned away because of the cap on connections."""
        self._add(f.CONNECTIONS_REFUSED, (listener,))

    def endpoint_up(self, cluster: str, endpoint: str, *, up: bool) -> None:
        """The endpoint is used, or taken out."""
        self._set(f.ENDPOINT_UP, (cluster, endpoint), up)

    def endpoint_failed(self, cluster: str, endpoint: str, reason: str) -> None:
        """The endpoint failed; ``reason`` is one of ``ENDPOINT_FAILURE_REASONS``."""
        known = reason if reason in f.ENDPOINT_FAILURE_REASONS else OTHER
        self._add(f.ENDPOINT_FAILURES, (cluster, endpoint, known))

    def endpoint_draining(self, cluster: str, endpoint: str, *, draining: bool) -> None:
        """The endpoint gets nothing new, or does again."""
        self._set(f.ENDPOINT_DRAINING, (cluster, endpoint), draining)

    def repeated(self, app: str) -> None:
        """A command got the answer of the same one before it."""
        self._add(f.COMMANDS_REPEATED, (app,))

    def app_asked(self, app: str, *, asked: bool) -> None:
        """All addresses of an app are asked, or one is left alone."""
        self._set(f.APP_ASKED, (app,), asked)

    def endpoint_checked(self, cluster: str, endpoint: str, outcome: str) -> None:
        """A check of an endpoint has ended; ``outcome`` is one of ``CHECK_OUTCOMES``."""
        self._add(f.ENDPOINT_CHECKS, (cluster, endpoint, outcome if outcome in f.CHECK_OUTCOMES else OTHER))

    def call_looked_up(self, outcome: str) -> None:
        """A command names a call; ``outcome`` is one of ``LOOKUP_OUTCOMES``."""
        self._add(f.CALL_LOOKUPS, (outcome if outcome in f.LOOKUP_OUTCOMES else OTHER,))

    def calls_located(self, calls: int) -> None:
        """Of so many calls it is known where they are."""
        self._set(f.CALLS_LOCATED, (), calls)

    def older_policies(self, count: int) -> None:
        """So many policies that were in force before still decide for calls in progress."""
        self._set(f.POLICIES_OLDER, (), count)

    def list_merged(self, outcome: str) -> None:
        """A list was asked of several PBXs; ``outcome`` is one of ``LIST_OUTCOMES``."""
        self._add(f.LISTS_MERGED, (outcome if outcome in f.LIST_OUTCOMES else OTHER,))

    def upstream_pool(self, upstream: str, *, idle: int, busy: int, queued: int) -> None:
        """How the pool of an upstream stands."""
        self._set(f.UPSTREAM_CONNECTIONS, (upstream, "idle"), idle)
        self._set(f.UPSTREAM_CONNECTIONS, (upstream, "busy"), busy)
        self._set(f.UPSTREAM_QUEUED, (upstream,), queued)

    def retried(self, reason: str) -> None:
        """A message was sent again; ``reason`` is one of ``RETRY_REASONS``."""
        self._add(f.UPSTREAM_RETRIES, (reason if reason in f.RETRY_REASONS else OTHER,))

    def canary(self, revision: str, percent: float, in_force: str) -> None:
        """The policy of this revision decides a share of the calls beside the one in force; ``""`` for none."""
        self._values.pop(f.CANARY.name, None)
        if revision:
            self._set(f.CANARY, (revision,), 1)
        self._set(f.CANARY_SHARE, (), percent / 100)
        counted = self._values.get(f.CANARY_MESSAGES.name, {})
        for labels in [labels for labels in counted if not revision or labels[0] not in {revision, in_force}]:
            del counted[labels]

    def canary_messages(self, counted: Mapping[tuple[str, str], int]) -> None:
        """So many messages were decided while there is a canary, by revision and verdict."""
        for labels, count in counted.items():
            self._set(f.CANARY_MESSAGES, labels, count)

    def policy_loaded(
        self, revision: str, rules: Mapping[str, str], at: float, beside: Mapping[str, str] | None = None
    ) -> None:
        """A policy is in force. ``rules`` are its rules' names by their labels; the names become labels of metrics.

        ``beside`` are the same of a canary.
        """
        names = {**rules, **beside} if beside else rules
        self._fold()
        self._names_before, self._names = self._names, names
        known = set(names.values())
        if len(self._rules | known) > RULES:
            self._retire(known)
        new = (name for name in names.values() if name not in self._rules)
        self._rules.update(list(islice(new, max(0, RULES - len(self._rules)))))
        self._values.pop(f.POLICY.name, None)
        self._set(f.POLICY, (revision,), 1)
        self._set(f.POLICY_RULES, (), len(rules))
        self._set(f.POLICY_LOADED, (), at)

    def journal_written(self, records: int, size: int, seconds: float) -> None:
        """A batch is in the journal."""
        write = self._journal_write
        write[bisect_left(f.JOURNAL_BUCKETS, seconds)] += 1
        write[-1] += seconds
        self._add(f.JOURNAL_RECORDS, (), records)
        self._add(f.JOURNAL_BYTES, (), size)

    def journal_failed(self, reason: str) -> None:
        """A batch could not be written; ``reason`` is the name of the system's error in lower case."""
        self._add(f.JOURNAL_FAILURES, (reason if reason in f.JOURNAL_REASONS else OTHER,))

    def journal_lost(self, records: int) -> None:
        """Records had no room to wait in."""
        self._add(f.JOURNAL_LOST, (), records)

    def journal_state(self, *, pending: int, healthy: bool) -> None:
        """How the journal stands now."""
        self._set(f.JOURNAL_PENDING, (), pending)
        self._set(f.JOURNAL_HEALTHY, (), healthy)

    def outbox_depth(self, app: str, entries: int) -> None:
        """So many notifications wait for an app."""
        self._set(f.OUTBOX_ENTRIES, (app,), entries)

    def outbox_kept(self, app: str) -> None:
        """A notification is safe in the outbox."""
        self._add(f.OUTBOX_KEPT, (app,))

    def outbox_delivered(self, app: str) -> None:
        """A kept notification has reached its app."""
        self._add(f.OUTBOX_DELIVERED, (app,))

    def outbox_failed(self, app: str) -> None:
        """A delivery failed and will be tried again."""
        self._add(f.OUTBOX_FAILURES, (app,))

    def outbox_dropped(self, app: str, reason: str) -> None:
        """A notification is lost; ``reason`` is one of ``DROP_REASONS``."""
        self._add(f.OUTBOX_DROPPED, (app, reason if reason in f.DROP_REASONS else OTHER))

    # Out.

    def snapshot(self) -> Snapshot:
        """Everything counted so far, and the gauges as they stand."""
        for prepare in self.before_snapshot:
            prepare()
        self._fold()
        self._measure_process()
        series = {
            name: [Series(labels, [float(value)]) for labels, value in values.items()]
            for name, values in self._values.items()
        }
        for family, histograms in (
            (f.OWN, ((_COMMAND, self._own_command), (_NOTIFICATION, self._own_notification))),
            (f.UPSTREAM, ((_COMMAND, self._upstream_command), (_NOTIFICATION, self._upstream_notification))),
            (f.JOURNAL_WRITE, (((), self._journal_write),)),
            (
                f.SILENCE,
                tuple(
                    ((group, part), histogram)
                    for group, parts in self._silence.items()
                    for part, histogram in zip(f.SILENCE_PARTS, parts, strict=True)
                ),
            ),
        ):
            series[family.name] = [Series(labels, [float(value) for value in values]) for labels, values in histograms]
        return Snapshot(self.worker, self._started, series)

    def _add(self, family: Family, labels: tuple[str, ...], count: float = 1) -> None:
        try:
            self._values[family.name][labels] += count
        except KeyError:
            self._set(family, labels, count)

    def _set(self, family: Family, labels: tuple[str, ...], value: float) -> None:
        values = self._values.setdefault(family.name, {})
        if labels not in values and len(values) >= SERIES:
            labels = (OTHER,) * len(labels)
            if family.type is Type.COUNTER:
                value += values.get(labels, 0)
        values[labels] = value

    def _count_cell[K: tuple[object, ...]](self, cells: dict[K, list[int]], key: K) -> None:
        if key not in cells and len(cells) >= CELLS:
            self._fold()
        cells.setdefault(key, [0])[0] += 1

    def _fold(self) -> None:
        """Move what was counted in combination to the families it belongs to."""
        for (name, code, rule, verdict), (count,) in self._command_cells.items():
            shown_code = NONE if code is None else self._codes.get(code, OTHER)
            self._add(f.COMMANDS, (name if name in self._commands else OTHER, shown_code), count)
            if verdict:
                self._add(f.DECISIONS, (Kind.COMMAND.value, _verdict(verdict), self._rule(rule)), count)
        for (name, outcome, rule, verdict), (count,) in self._notification_cells.items():
            shown_outcome = outcome if outcome in f.NOTIFICATION_OUTCOMES else OTHER
            self._add(f.NOTIFICATIONS, (name if name in self._notifications else OTHER, shown_outcome), count)
            if verdict:
                self._add(f.DECISIONS, (Kind.NOTIFICATION.value, _verdict(verdict), self._rule(rule)), count)
        self._command_cells.clear()
        self._notification_cells.clear()
        for listener, (connected, gone) in self._clients.items():
            self._set(f.CONNECTIONS_ACCEPTED, (listener,), connected)
            self._set(f.CONNECTIONS, (listener,), connected - gone)
        for (rules, shadow), (times, at) in self._acted_cells.items():
            for family, labels in ((f.RULE_HITS, rules), (f.SHADOW, shadow)):
                for label in labels:
                    shown = (self._rule(self._name(label)),)
                    self._add(family, shown, times)
                    last = self._values.get(f.RULE_LAST_HIT.name, {}).get(shown, 0.0)
                    self._set(f.RULE_LAST_HIT, shown, max(last, at))
        self._acted_cells.clear()

    def _retire(self, stay: set[str]) -> None:
        """Forget the names that are in no rule now, so that those of new rules find room; what they counted stays."""
        gone = self._rules - stay
        self._rules &= stay
        for family in (each for each in f.FAMILIES if "rule" in each.labels):
            place = family.labels.index("rule")
            values = self._values.get(family.name, {})
            for labels in [labels for labels in values if labels[place] in gone]:
                value = values.pop(labels)
                if family.type is Type.COUNTER:
                    self._add(family, (*labels[:place], OTHER, *labels[place + 1 :]), value)

    def _name(self, label: str) -> str:
        """The name of the rule that decisions label so."""
        return self._names.get(label) or self._names_before.get(label) or label

    def _rule(self, rule: str) -> str:
        if not rule:
            return NONE
        return rule if rule in self._rules else OTHER

    def _measure_process(self) -> None:
        for metric in self._process.collect():
            family = _PROCESS.get(metric.name)
            if family is not None:
                for sample in metric.samples:
                    self._set(family, (self.worker,), sample.value)


def _histogram(family: Family) -> list[float]:
    """One number for each bucket, one for what is above them all, and the sum."""
    return [0] * (len(family.buckets) + 2)


def _verdict(verdict: str) -> str:
    return verdict if verdict in _VERDICTS else OTHER
