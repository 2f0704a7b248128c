"""The one list of metrics: names, types, help, labels. ``docs/metrics.md`` follows it, and a test compares the two."""

from enum import Enum

from msgspec import Struct

OTHER = "_other"  # stands for every label value that is not in its closed set
NONE = "none"  # stands for "there is none": no code in an answer, no rule behind a decision

# Proxying takes tens of microseconds, deciding a few; a PBX answers in milliseconds, a dying one in seconds.
OWN_BUCKETS = (  # close together around ten milliseconds, the goal of a strict journal
    *(0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.0075, 0.01, 0.0125, 0.015, 0.025, 0.05, 0.1, 0.5),
)
UPSTREAM_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SILENCE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0)
JOURNAL_BUCKETS = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.0075, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0),
)


class Type(Enum):
    """What kind of numbers a metric has."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


class Gather(Enum):
    """How the workers' values of a gauge become one."""

    SUM = "sum"
    MIN = "min"
    MAX = "max"


class Family(Struct, frozen=True):
    """One metric. ``name`` is without the ending that belongs to its type (``_total``, ``_bucket``, ``_info``)."""

    name: str
    type: Type
    help: str
    labels: tuple[str, ...] = ()
    gather: Gather = Gather.SUM
    buckets: tuple[float, ...] = ()

    @property
    def shown(self) -> str:
        """The name as a query spells it; of a histogram, the part before ``_bucket``, ``_count`` and ``_sum``."""
        return self.name + {Type.COUNTER: "_total", Type.INFO: "_info"}.get(self.type, "")


def _counter(name: str, text: str, *labels: str) -> Family:
    return Family(f"interceptor_{name}", Type.COUNTER, text, labels)


def _gauge(name: str, text: str, *labels: str, gather: Gather = Gather.SUM) -> Family:
    return Family(f"interceptor_{name}", Type.GAUGE, text, labels, gather)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Family:
    return Family(f"interceptor_{name}", Type.HISTOGRAM, text, labels, Gather.SUM, buckets)


COMMANDS = _counter("commands", "Commands settled, by name and by the code in the answer.", "command", "code")
NOTIFICATIONS = _counter("notifications", "Notifications settled, by name and outcome.", "notification", "outcome")
DECISIONS = _counter(
    "decisions", "Decisions of the policy, by the rule that ended the reading.", "kind", "verdict", "rule"
)
RULE_HITS = _counter("rule_hits", "Messages on which a rule acted, whether it ended the reading or not.", "rule")
RULE_LAST_HIT = _gauge(
    "rule_last_hit_timestamp_seconds",
    "When a rule last acted, or in shadow mode would have.",
    "rule",
    gather=Gather.MAX,
)
RULE_NEAR_MISSES = _counter(
    "rule_near_misses", "Sampled messages on which all of a rule's conditions held but one.", "rule"
)
NEAR_MISS_SAMPLES = _counter("near_miss_samples", "Messages that were looked at for near misses.")
SHADOW = _counter("shadow_matches", "Messages on which a rule in shadow mode would have acted.", "rule")
UPSTREAM = _histogram(
    "upstream_duration_seconds", "Time from sending a message on to the end of its answer.", UPSTREAM_BUCKETS, "kind"
)
OWN = _histogram("own_duration_seconds", "Time an exchange spent in Interceptor itself.", OWN_BUCKETS, "kind")
REFUSALS = _counter("refusals", "Requests refused before or without a rule, or by a rule's limit, by reason.", "reason")
AMBIGUOUS = _counter("ambiguous_messages", "Messages that say one parameter twice.", "treatment")
CALLBACKS = _counter("callbacks_captured", "Callbacks of apps that became addresses of ours.")
CALLBACK_TOKEN = _gauge(
    "callback_token_longest_characters", "The longest token of a callback so far.", gather=Gather.MAX
)
NOT_WELL_FORMED = _counter("xml_not_well_formed", "Answers whose XML is not well-formed.", "kind")
LIMITED = _counter(
    "limited_messages", "Messages over the limit of a rule, by rule and by the rule's mode.", "rule", "mode"
)
METERS_LOST = _counter("meters_lost", "Meters of limits that were given up, by reason.", "reason")
MIRROR_COPIES = _counter("mirror_copies", "Copies of messages for other places, by what became of them.", "outcome")
COMMANDS_REPEATED = _counter(
    "commands_repeated", "Commands that dial, sent again: they got the first answer and dialled nothing.", "app"
)
LIMIT_HITS = _counter("limit_hits", "Times a configured cap was reached, by the cap.", "limit")
CALLS_SAVED = _counter(
    "calls_saved", "Notifications answered with a fallback because the app did not answer.", "app", "notification"
)
SILENCE = _histogram(
    "caller_silence_seconds",
    "Time a caller hears nothing because a notification has no answer yet: all of it, the app's part, ours.",
    SILENCE_BUCKETS,
    "group",
    "part",
)

CALLS_OPEN = _gauge("calls_open", "Calls that go on, by state; one that two workers saw counts twice.", "state")
CALLS_BEGUN = _counter("calls_begun", "Calls seen to begin; two that turned out to be one are both counted.")
CALL_JOINS = _counter("call_joins", "Messages joined to a call, or not, by how.", "how")
CALLS_GIVEN_UP = _counter("calls_given_up", "Calls, or parts of them, not followed further, by reason.", "reason")
CALLS_UNKNOWN = _gauge("calls_unknown", "Calls that the PBX lists and we do not know.", gather=Gather.MIN)
CALLS_LOST = _counter("calls_lost", "Calls that we held and the PBX did not list any more.")

CONNECTIONS = _gauge("connections", "Client connections open now.", "listener")
CONNECTIONS_ACCEPTED = _counter("connections_accepted", "Client connections accepted.", "listener")
CONNECTIONS_REFUSED = _counter(
    "connections_refused", "Client connections closed at once because of the cap.", "listener"
)

ENDPOINT_UP = _gauge(
    "endpoint_up", "1 while the endpoint is used, 0 while it is taken out.", "cluster", "endpoint", gather=Gather.MIN
)
ENDPOINT_FAILURES = _counter(
    "endpoint_failures", "Failures of an endpoint that count against its health.", "cluster", "endpoint", "reason"
)
ENDPOINT_DRAINING = _gauge(
    "endpoint_draining", "1 while the endpoint gets nothing new.", "cluster", "endpoint", gather=Gather.MIN
)
APP_ASKED = _gauge(
    "app_asked",
    "1 while all addresses of the app are asked, 0 while one is left alone because it failed.",
    "app",
    gather=Gather.MIN,
)
ENDPOINT_CHECKS = _counter(
    "endpoint_checks", "Harmless commands that asked how an endpoint is.", "cluster", "endpoint", "outcome"
)
CALL_LOOKUPS = _counter(
    "call_lookups", "Commands that name a call, where it may be on several PBXs, by how it was found.", "outcome"
)
CALLS_LOCATED = _gauge("calls_located", "Calls whose PBX is known, of each worker the most.", gather=Gather.MAX)
LISTS_MERGED = _counter("lists_merged", "Lists asked of several PBXs, by whether all answered.", "outcome")
UPSTREAM_CONNECTIONS = _gauge("upstream_connections", "Connections in the upstream pools.", "upstream", "state")
UPSTREAM_QUEUED = _gauge("upstream_queued_requests", "Requests waiting for an upstream connection.", "upstream")
UPSTREAM_RETRIES = _counter("upstream_retries", "Messages sent a second time because nothing was processed.", "reason")

POLICIES_OLDER = _gauge(
    "policies_older",
    "Policies no longer in force that still decide for calls that began with them.",
    gather=Gather.MAX,
)
CANARY = Family(
    "interceptor_canary", Type.INFO, "The policy that decides a share of the calls.", ("revision",), Gather.MAX
)
CANARY_SHARE = _gauge("canary_share_ratio", "The share of the calls that the canary decides.", gather=Gather.MAX)
CANARY_MESSAGES = _counter(
    "canary_messages", "Messages decided while there is a canary, by the revision that decided.", "revision", "verdict"
)
POLICY = Family("interceptor_policy", Type.INFO, "The policy in force.", ("revision",), Gather.MAX)
POLICY_RULES = _gauge("policy_rules", "Rules in force.", gather=Gather.MAX)
POLICY_LOADED = _gauge("policy_loaded_timestamp_seconds", "When the policy in force was loaded.", gather=Gather.MIN)
POLICY_RELOADS = _counter("policy_reloads", "Attempts to load the rules, by what asked and outcome.", "by", "outcome")
POLICY_RELOAD_SUCCESSFUL = _gauge(
    "policy_last_reload_successful", "1 when the last attempt to load the rules worked.", gather=Gather.MIN
)
POLICY_LAST_RELOAD = _gauge(
    "policy_last_reload_timestamp_seconds", "When the rules were last tried to be loaded.", gather=Gather.MAX
)
POLICY_RELOAD_SECONDS = _gauge(
    "policy_last_reload_duration_seconds", "How long the last attempt to load the rules took.", gather=Gather.MAX
)
POLICY_MATCHES_FILES = _gauge(
    "policy_matches_files", "1 while the policy in force is what the files say.", gather=Gather.MIN
)
POLICY_KEPT = _gauge("policy_kept", "1 while the policy in force is kept on disk.", gather=Gather.MIN)

JOURNAL_WRITE = _histogram("journal_write_duration_seconds", "Time to write one batch of records.", JOURNAL_BUCKETS)
JOURNAL_RECORDS = _counter("journal_records", "Records written.")
JOURNAL_BYTES = _counter("journal_bytes", "Bytes of records written.")
JOURNAL_FAILURES = _counter("journal_failures", "Writes that failed, by the system's error.", "reason")
JOURNAL_LOST = _counter("journal_lost_records", "Records that were never written.")
JOURNAL_PENDING = _gauge("journal_pending_records", "Records waiting to be written.")
JOURNAL_HEALTHY = _gauge("journal_healthy", "1 while records can be written.", gather=Gather.MIN)

OUTBOX_ENTRIES = _gauge("outbox_entries", "Notifications kept for an app.", "app")
OUTBOX_KEPT = _counter("outbox_kept", "Notifications put into the outbox.", "app")
OUTBOX_DELIVERED = _counter("outbox_delivered", "Notifications delivered from the outbox.", "app")
OUTBOX_FAILURES = _counter(
    "outbox_delivery_failures", "Deliveries from the outbox that failed; they are tried again.", "app"
)
OUTBOX_DROPPED = _counter(
    "outbox_dropped", "Notifications the outbox did not keep, or no longer keeps.", "app", "reason"
)

WORKER_MEMORY = _gauge("worker_resident_memory_bytes", "Memory of a worker.", "worker")
WORKER_CPU = _counter("worker_cpu_seconds", "Processor time of a worker.", "worker")
WORKER_FILES = _gauge("worker_open_fds", "Open files and sockets of a worker.", "worker")
WORKER_STARTED = _gauge("worker_start_time_seconds", "When a worker started.", "worker")

FAMILIES: tuple[Family, ...] = (
    COMMANDS,
    NOTIFICATIONS,
    DECISIONS,
    RULE_HITS,
    RULE_LAST_HIT,
    RULE_NEAR_MISSES,
    NEAR_MISS_SAMPLES,
    SHADOW,
    UPSTREAM,
    OWN,
    REFUSALS,
    CALLBACKS,
    CALLBACK_TOKEN,
    AMBIGUOUS,
    NOT_WELL_FORMED,
    COMMANDS_REPEATED,
    LIMIT_HITS,
    LIMITED,
    METERS_LOST,
    MIRROR_COPIES,
    CALLS_SAVED,
    SILENCE,
    CALLS_OPEN,
    CALLS_BEGUN,
    CALL_JOINS,
    CALLS_GIVEN_UP,
    CALLS_UNKNOWN,
    CALLS_LOST,
    CONNECTIONS,
    CONNECTIONS_ACCEPTED,
    CONNECTIONS_REFUSED,
    ENDPOINT_UP,
    ENDPOINT_FAILURES,
    ENDPOINT_DRAINING,
    APP_ASKED,
    ENDPOINT_CHECKS,
    CALL_LOOKUPS,
    CALLS_LOCATED,
    LISTS_MERGED,
    UPSTREAM_CONNECTIONS,
    UPSTREAM_QUEUED,
    UPSTREAM_RETRIES,
    POLICY,
    POLICY_RULES,
    POLICY_LOADED,
    POLICY_RELOADS,
    POLICY_RELOAD_SUCCESSFUL,
    POLICY_LAST_RELOAD,
    POLICY_RELOAD_SECONDS,
    POLICY_MATCHES_FILES,
    POLICY_KEPT,
    POLICIES_OLDER,
    CANARY,
    CANARY_SHARE,
    CANARY_MESSAGES,
    JOURNAL_WRITE,
    JOURNAL_RECORDS,
    JOURNAL_BYTES,
    JOURNAL_FAILURES,
    JOURNAL_LOST,
    JOURNAL_PENDING,
    JOURNAL_HEALTHY,
    OUTBOX_ENTRIES,
    OUTBOX_KEPT,
    OUTBOX_DELIVERED,
    OUTBOX_FAILURES,
    OUTBOX_DROPPED,
    WORKER_MEMORY,
    WORKER_CPU,
    WORKER_FILES,
    WORKER_STARTED,
)

NOTIFICATION_OUTCOMES = (
    "answered",  # the app answered, its answer went to the PBX
    "rule",  # a rule gave the answer
    "refused",  # a rule or the defaults refused it
    "dial_plan",  # `<Response/>` in place of the app: the dial plan decides
    "fallback",  # the app's fallback in place of its answer
    "kept",  # 200 at once, in the outbox
    "lost",  # neither delivered nor kept
    "failed",  # it could not be carried out
    "fault",
)
REFUSAL_REASONS = (
    "bad_chunk",
    "bad_connection",
    "bad_content_length",
    "bad_expectation",
    "bad_header",
    "bad_host",
    "bad_request_line",
    "bad_status_line",
    "bad_target",
    "bad_trailer",
    "bad_transfer_encoding",
    "bad_version",
    "bare_newline",
    "incomplete",
    "length_and_chunked",
    "repeated_header",
    "head_too_large",
    "body_too_large",
    "too_many_connections",
    "slow_sender",
    "not_tls",
    "method",
    "ambiguous",
    "callback_expired",
    "callback_forbidden",
    "callback_foreign",
    "callback_forged",
    "verbs_over_cap",
    "unreadable_ozml",
    "not_owned",
    "storm",
    "unknown_app",
    "authentication_required",
    "authentication_failed",
    "address_forbidden",
    "no_command",
    "unreadable_body",
    "unroutable",
    "overload",
    "cannot_record",
    "upstream_unreachable",
    "draining",
    "upstream_timeout",
    "upstream_broken",
    "upstream_unreadable",
    "breaker_open",
    "fault",
    "limit",
)
LIMIT_OF_REASON = {
    "body_too_large": "body",
    "head_too_large": "head",
    "storm": "hops",
}
LIMITS = (
    "body",
    "reply_body",
    "head",
    "connections",
    "queued",
    "upstream_connections",
    "xml_depth",
    "verbs",
    "verb_depth",
    "messages",
    "hops",
    "outbox",
    "outbox_addresses",
    "pending",
    "repeats",
)
ENDPOINT_FAILURE_REASONS = ("connect", "timeout", "reset", "unreadable", "status", "code", "check")
CHECK_OUTCOMES = ("answered", "failed")
LOOKUP_OUTCOMES = ("known", "asked", "unknown")
LIST_OUTCOMES = ("whole", "partial", "none")
RETRY_REASONS = ("stale_connection", "next_endpoint", "app_retry", "app_backup")
JOURNAL_REASONS = ("enospc", "edquot", "efbig", "eio", "enoent", "eacces", "erofs", "ebadf", "estale", "fault")
MIRROR_OUTCOMES = ("answered", "full", "unreachable", "timeout", "broken", "unreadable", "loop")
METER_LOSSES = ("forgotten", "full", "expired")
JOINS = ("exact", "inferred", "ambiguous", "refuted")
GIVEN_UP_REASONS = ("unseen", "crowded", "trimmed", "missed")
SILENT_GROUPS = ("routing", "interactive")
SILENCE_PARTS = ("all", "app", "us")
DROP_REASONS = ("full", "expired", "cannot_write", "refused", "unroutable", "moved")
