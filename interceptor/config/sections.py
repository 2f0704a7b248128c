"""The keys of ``config.yaml``, one table for each mapping, and what is made of them."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from interceptor import document
from interceptor.config import checks, fallbacks, known, reading
from interceptor.config.reading import (
    Reading,
    Table,
    choice,
    credentials,
    deadlines,
    duration,
    missing,
    named,
    networks,
    password_check,
    path_below_base,
    section,
    size,
    text,
    truth,
    url,
    urls,
    whole,
)
from interceptor.document import Fields, Node, Problems
from interceptor.settings import (
    App,
    CallbackSettings,
    CallSettings,
    CallsRule,
    CasesRule,
    Cluster,
    ColdStart,
    Durability,
    Each,
    EmergencyRule,
    ExplainSettings,
    ForwardHeaders,
    Ground,
    JournalSettings,
    Limits,
    Listener,
    Masking,
    Mode,
    Ownership,
    Partial,
    PolicySettings,
    Retry,
    Settings,
    Subscription,
    Timeouts,
)
from interceptor.values import Kind, Place, Problem, ProblemsError, Verdict
from interceptor.values import Mode as RuleMode


def read_config(
    data: bytes, file: str, *, base: Path, environment: Mapping[str, str], secrets: bool = True
) -> Settings:
    """The settings in ``data``, as :func:`read_settings` reads them.

    Raises :class:`ProblemsError` with every problem where one of them is an error.
    """
    settings, _, problems = read_settings(data, file, base=base, environment=environment, secrets=secrets)
    if settings is None:
        raise ProblemsError(problems)
    return settings


def read_settings(
    data: bytes, file: str, *, base: Path, environment: Mapping[str, str], secrets: bool = True
) -> tuple[Settings | None, Ground, tuple[Problem, ...]]:
    """The settings in ``data``, the content of ``file``, with every problem in the order of their places.

    Relative paths begin at ``base``. With an error there are no settings, but still the ground for rules as far as it
    can be read, so that the rules can be checked as well. Reads the files that fallbacks, secrets and certificates
    name, nothing else; with ``secrets`` false only those of fallbacks, and passwords are placeholders.
    """
    root, formal = document.read(data, file)
    problems = Problems(formal)
    found = Reading(problems, base, environment, secrets)
    if root is None:
        if not problems:
            problems.add(Place(file, 1, 1), "the configuration is empty", "empty")
        return None, _ground({}, Fields((), Place(file, 1, 1)), base), problems.found
    values = section(root, found, "", SETTINGS)
    missing(root, found, "", "country", "time_zone", "listeners", "clusters", "apps")
    if isinstance(root, Fields):
        checks.check(root, values, problems, base)
    told = tuple(sorted(problems.found, key=lambda each: (each.place.line, each.place.column)))
    return None if problems else _settings(values, base), _ground(values, root, base), told


def _ground(values: dict[str, Any], root: Node, base: Path) -> Ground:
    def names(key: str) -> frozenset[str]:  # as written: one with a fault of its own is still there to be named
        written = root.get(key) if isinstance(root, Fields) else None
        return frozenset(name.value for name, _ in written.entries) if isinstance(written, Fields) else frozenset()

    return Ground(
        country=values.get("country", ""),
        extensions=values.get("extensions", ()),
        time_zone=values.get("time_zone", "UTC"),
        apps=names("apps"),
        clusters=names("clusters"),
        defaults=_defaults_of(values),
        rules=values.get("rules", base / "rules"),
        mode=values.get("policy", PolicySettings()).mode,
        emergency=values.get("policy", PolicySettings()).emergency,
    )


def _defaults_of(values: dict[str, Any]) -> dict[Kind, Verdict]:
    written = values.get("defaults", {})
    return {kind: written.get(kind.value, SHIPPED_DEFAULTS[kind]) for kind in Kind}


def _settings(values: dict[str, Any], base: Path) -> Settings:
    state: Path = values.get("state", base / "state")
    clusters: dict[str, Cluster] = values["clusters"]
    return Settings(
        country=values["country"],
        extensions=values.get("extensions", ()),
        time_zone=values["time_zone"],
        workers=values.get("workers", 1),
        listeners=tuple(values["listeners"].values()),
        admin=values.get("admin", checks.DEFAULT_ADMIN),
        clusters=clusters,
        default_cluster=values.get("default_cluster") or next(iter(clusters)),
        apps=values["apps"],
        subscriptions=tuple(subscription for subscription, _ in values.get("notifications", ())),
        defaults=_defaults_of(values),
        rules=values.get("rules", base / "rules"),
        state=state,
        journal=JournalSettings(**{"directory": state / "journal", **values.get("journal", {})}),
        timeouts=values.get("timeouts", Timeouts()),
        limits=values.get("limits", Limits()),
        headers=values.get("headers", ForwardHeaders()),
        pass_ambiguous=values.get("pass_ambiguous", False),
        policy=values.get("policy", PolicySettings()),
        explain=values.get("explain", ExplainSettings()),
        callbacks=values.get("callbacks", CallbackSettings()),
        calls=values.get("calls", CallSettings()),
        ownership=Ownership(values.get("ownership", "off")),
    )


SHIPPED_DEFAULTS: Final = {
    Kind.COMMAND: Verdict.DENY,
    Kind.NOTIFICATION: Verdict.ALLOW,
    Kind.VERB: Verdict.DENY,
}


# --- the parts ------------------------------------------------------------------------------------------------------


def _listener(node: Node, read: Reading, path: str, name: str) -> Listener | None:
    values = section(node, read, path, LISTENER)
    if missing(node, read, path, "kind", "address"):
        return None
    tls = values.get("mode") == "tls"
    if tls and isinstance(node, Fields) and node.get("certificate") is None:
        read.problems.add(node.place, f"`{path}` has mode `tls` and needs a `certificate`", "missing_key")
    elif not tls and isinstance(node, Fields) and (given := node.get("certificate")) is not None:
        read.problems.add(given.place, f"`{path}.certificate` is used only with mode `tls`", "unused_key")
    if not {"kind", "address"} <= values.keys():
        return None
    certificate = node.get("certificate") if tls and isinstance(node, Fields) else None
    return Listener(
        name,
        Kind(values["kind"]),
        values["address"],
        Mode(values.get("mode", "gateway")),
        None if certificate is None else known.certificate(certificate, read, f"{path}.certificate"),
    )


def _cluster(node: Node, read: Reading, path: str, name: str) -> Cluster | None:
    values = section(node, read, path, CLUSTER)
    if missing(node, read, path, "endpoints") or "endpoints" not in values:
        return None
    for key, kind in (("each", Each), ("partial", Partial)):
        if key in values:
            values[key] = kind(values[key])
    return Cluster(name, **values)


_AS_THEY_ARE = ("backup", "retry", "failures_to_open", "retry_after", "repeats_within")


def _app(node: Node, read: Reading, path: str, name: str) -> App | None:
    values = section(node, read, path, APP)
    if isinstance(node, Fields):
        for one, other in (("username", "password"), ("password", "username")):
            given = node.get(one)
            if given is not None and node.get(other) is None:
                read.problems.add(given.place, f"`{path}` has a `{one}` but no `{other}`", "missing_key")
        if not any(node.get(key) for key in ("username", "sources", "url", "notifications")):
            message = f"`{path}` can never ask (no `sources`, no `username`) nor be told (no `url`, no `notifications`)"
            read.problems.add(node.place, message, "missing_key")
    if isinstance(node, Fields) and node.get("backup") and not node.get("url") and not node.get("notifications"):
        message = f"`{path}` has a `backup` but neither `url` nor `notifications`"
        read.problems.add(node.place, message, "missing_key")
    fallback, named_fallbacks = fallbacks.parts(values.get("fallback"))
    return App(
        name,
        sources=values.get("sources", ()),
        username=values.get("username"),
        password=values.get("password"),
        url=values.get("url"),
        urls=values.get("notifications", {}),
        cluster=values.get("cluster"),
        fallback=fallback,
        fallbacks=named_fallbacks,
        **{key: values[key] for key in _AS_THEY_ARE if key in values},
        callbacks=values.get("callbacks"),
        legacy=values.get("legacy", False),
        extensions=values.get("extensions"),
    )


def _notification_urls(node: Node, read: Reading, path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, child in document.fields(node, None, read.problems, f"`{path}`").entries:
        name = known.notification_name(key.value, key, read)
        address = url(child, read, f"{path}.{key.value}")
        if name is not None and name in found:
            read.problems.add(key.place, f"`{name}` stands twice in `{path}`", "duplicate")
        elif name is not None and address is not None:
            found[name] = address
    return found


def _subscriptions(node: Node, read: Reading, path: str) -> tuple[tuple[Subscription, Node], ...]:
    # Each with its node, which the checks point at.
    found: list[tuple[Subscription, Node]] = []
    for entry in document.items(node, read.problems, f"`{path}`"):
        values = section(entry, read, path, SUBSCRIPTION)
        if not missing(entry, read, path, "app") and "app" in values:
            found.append((Subscription(**values), entry))
    return tuple(found)


def _defaults(node: Node, read: Reading, path: str) -> dict[str, Verdict]:
    return {kind: Verdict(word) for kind, word in section(node, read, path, DEFAULTS).items()}


def _struct[T: Struct](kind: Callable[..., T], table: Table) -> reading.Read:
    return lambda node, read, path: kind(**section(node, read, path, table))


def _journal(node: Node, read: Reading, path: str) -> dict[str, Any]:
    values = section(node, read, path, JOURNAL)
    if "durability" in values:
        values["durability"] = Durability(values["durability"])
    for key, field in (("flush", "flush_seconds"), ("file_size", "file_bytes")):
        if key in values:
            values[field] = values.pop(key)
    return values


def _policy(node: Node, read: Reading, path: str) -> PolicySettings:
    values = section(node, read, path, POLICY)
    kinds = {
        "calls": CallsRule,
        "cases": CasesRule,
        "cold_start": ColdStart,
        "emergency": EmergencyRule,
        "mode": RuleMode,
    }
    for key, kind in kinds.items():
        if key in values:
            values[key] = kind(values[key])
    if values.get("emergency") is EmergencyRule.UNCHECKED:
        message = "with `unchecked`, rules that keep calls from emergency numbers come into force; only for tests"
        read.problems.warn(node.place, message, "emergency_unchecked")
    return PolicySettings(**values)


# --- the tables -----------------------------------------------------------------------------------------------------

LISTENER: Table = {
    "kind": choice("command", "notification"),
    "mode": choice(*(mode.value for mode in Mode)),
    "address": reading.address,
    "certificate": path_below_base,
}
CLUSTER: Table = {
    "endpoints": urls,
    "credentials": credentials,
    "probe": known.probe,
    "failures_to_open": whole(1, 1000),
    "retry_after": duration,
    "check_every": duration,
    "each": choice(*(each.value for each in Each)),
    "beside": text,
    "partial": choice(*(way.value for way in Partial)),
}
RETRY: Table = {"ct": duration, "rt": duration, "tt": duration, "rc": whole(0, 5), "rp": known.retry_policy}
APP: Table = {
    "sources": networks,
    "username": text,
    "password": password_check,
    "url": url,
    "notifications": _notification_urls,
    "cluster": text,
    "fallback": fallbacks.fallback,
    "backup": url,
    "retry": _struct(Retry, RETRY),
    "repeats_within": duration,
    "failures_to_open": whole(0, 1000),
    "retry_after": duration,
    "callbacks": known.callback_targets,
    "legacy": truth,
    "extensions": known.extensions,
}
SUBSCRIPTION: Table = {"path": known.callback_path, "name": known.notification, "app": text}
DEFAULTS: Table = {kind.value: choice("allow", "deny") for kind in Kind}
TIMEOUTS: Table = {
    "connect": duration,
    "command": deadlines,
    "call": deadlines,
    "routing": deadlines,
    "interactive": deadlines,
    "report": deadlines,
    "request": duration,
    "idle": duration,
    "upstream_idle": duration,
    "shutdown": duration,
}
LIMITS: Table = {
    "body": size(1024, 1 << 28),
    "reply_body": size(1024, 1 << 28),
    "head": size(1024, 1 << 20),
    "connections": whole(1, 1_000_000),
    "queued": whole(0, 1_000_000),
    "upstream_connections": whole(1, 65_535),
    "xml_depth": whole(4, 1024),
    "outbox": whole(0, 10_000_000),
    "outbox_addresses": whole(0, 10_000),
    "hops": whole(0, 100_000),
    "verbs": whole(1, 100_000),
    "verb_depth": whole(1, 1000),
    "messages": whole(0, 100_000),
}
CALLS: Table = {
    "open": whole(0, 1_000_000),
    "recent": whole(0, 1_000_000),
    "messages": whole(10, 100_000),
    "idle": duration,
    "setup": duration,
    "window": duration,
    "replay": duration,
    "poll": duration,
}
CALLBACKS: Table = {"public_url": url, "keys": known.callback_keys, "lifetime": duration}
EXPLAIN: Table = {"denied": truth, "sample": known.share, "keep": whole(0, 1_000_000)}
HEADERS: Table = {"via": truth, "forwarded_for": truth, "exchange": truth}
MASKING: Table = {"numbers": whole(0, 15), "dtmf": truth}
JOURNAL: Table = {
    "directory": path_below_base,
    "durability": choice(*(durability.value for durability in Durability)),
    "flush": duration,
    "file_size": size(1 << 16),
    "files": whole(0, 1_000_000),
    "pending": whole(1, 10_000_000),
    "masking": _struct(Masking, MASKING),
}
POLICY: Table = {
    "watch": truth,
    "canary": path_below_base,
    "calls": choice(*(rule.value for rule in CallsRule)),
    "cases": choice(*(rule.value for rule in CasesRule)),
    "cold_start": choice(*(way.value for way in ColdStart)),
    "mode": choice(*(mode.value for mode in RuleMode)),
    "emergency": choice(*(rule.value for rule in EmergencyRule)),
}
SETTINGS: Table = {
    "country": known.country,
    "extensions": known.extensions,
    "time_zone": known.time_zone,
    "workers": whole(1, 256),
    "state": path_below_base,
    "rules": path_below_base,
    "policy": _policy,
    "listeners": named(_listener),
    "admin": reading.address,
    "clusters": named(_cluster),
    "default_cluster": text,
    "apps": named(_app),
    "notifications": _subscriptions,
    "defaults": _defaults,
    "timeouts": _struct(Timeouts, TIMEOUTS),
    "limits": _struct(Limits, LIMITS),
    "headers": _struct(ForwardHeaders, HEADERS),
    "explain": _struct(ExplainSettings, EXPLAIN),
    "callbacks": _struct(CallbackSettings, CALLBACKS),
    "calls": _struct(CallSettings, CALLS),
    "ownership": choice(*(way.value for way in Ownership)),
    "pass_ambiguous": truth,
    "journal": _journal,
}


def _keys() -> Iterator[str]:
    inside: dict[str, Table] = {
        "listeners.NAME": LISTENER,
        "clusters.NAME": CLUSTER,
        "clusters.NAME.credentials": reading.CREDENTIALS,
        "clusters.NAME.credentials.password": reading.SECRET,
        "apps.NAME": APP,
        "apps.NAME.password": reading.PASSWORD,
        "notifications[]": SUBSCRIPTION,
        "defaults": DEFAULTS,
        "timeouts": TIMEOUTS,
        **{f"timeouts.{kind}": reading.DEADLINES for kind in ("command", "call", "routing", "interactive", "report")},
        "policy": POLICY,
        "limits": LIMITS,
        "headers": HEADERS,
        "explain": EXPLAIN,
        "callbacks": CALLBACKS,
        "calls": CALLS,
        "apps.NAME.callbacks": known.TARGETS,
        "apps.NAME.fallback": fallbacks.FALLBACK,
        "apps.NAME.retry": RETRY,
        "journal": JOURNAL,
        "journal.masking": MASKING,
    }
    yield from SETTINGS
    for path, table in inside.items():
        yield from (f"{path}.{key}" for key in table)


KEYS: Final[tuple[str, ...]] = tuple(_keys())
"""Every key that the file may have, for the manual's test; ``NAME`` stands for a name of the operator's choice."""
