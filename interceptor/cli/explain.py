"""``interceptor explain``: why a message is decided as it is, rule by rule, and what becomes of it."""

import os
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from interceptor.cli.check import config_beside
from interceptor.cli.problems import told

if TYPE_CHECKING:
    from interceptor.explanation import Explanation
    from interceptor.policy import RuleSet
    from interceptor.rehearsal import Message
    from interceptor.settings import Settings
    from interceptor.values import CallFacts

_ADMIN_SECONDS = 5.0
_MOST_BYTES = 64 << 20
_WITHIN_LIMITS = "limits are not counted here: this is told as the first message in a long time"
_WITHOUT_PASSWORDS = "passwords are not looked up here; name the app with --app"


class Format(StrEnum):
    """How the explanation is told."""

    TEXT = "text"
    JSON = "json"


def explain(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="Parameters beside --command, --notification or --verb; or the id of an exchange; or an address.",
            metavar="[NAME=VALUE]... | EXCHANGE | URL",
        ),
    ] = None,
    command: Annotated[str | None, typer.Option(help="The name of a command.")] = None,
    notification: Annotated[str | None, typer.Option(help="The name of a notification.")] = None,
    verb: Annotated[str | None, typer.Option(help="The name of a verb in an app's answer.")] = None,
    app: Annotated[
        str | None, typer.Option(help="The app; without it, it is found out as for a live message. '' is none.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="When: 2026-11-23T19:00 on the configured clock, or with an offset. Else now.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="The address it comes from; else one of the app's.")] = None,
    header: Annotated[list[str] | None, typer.Option("--header", "-H", help="A header: 'Name: value'.")] = None,
    data: Annotated[str | None, typer.Option("--data", "-d", help="A form to POST, with a URL.")] = None,
    path: Annotated[str, typer.Option(help="The path that is asked for.")] = "/",
    exchange: Annotated[str, typer.Option(help="The exchange's id, which chooses a sample.")] = "",
    call: Annotated[
        str | None, typer.Option(help="How the call stands that it is about: owned,connected,outgoing.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The configuration; else one that stands here.")
    ] = None,
    rules: Annotated[Path | None, typer.Option("--rules", help="Rules in place of the configured.")] = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="How to tell it.")] = Format.TEXT,
    every: Annotated[bool, typer.Option("--all", "-a", help="Tell of rules for other messages, too.")] = False,
) -> None:
    """Tell, rule by rule, why a message is decided as it is, and what becomes of it.

    A message that is described goes the way of a live one. An exchange is asked of the running server, and else looked
    up in the journal. Exits with 0 when it can be told, 1 when the configuration or the rules have problems, 2 when the
    message cannot be read or found.
    """
    from interceptor.loading import load_settings, policy_context, rule_sources
    from interceptor.policy import compile_policy

    with told():
        config = config or config_beside(rules or Path("rules"))
        settings = load_settings(config, os.environ, secrets=False)
    rules_path = rules or settings.rules
    names = {"command": command, "notification": notification, "verb": verb}
    written = {kind: name for kind, name in names.items() if name is not None}
    stored = not written and not _is_address(words or [])
    if stored and rules is None:
        live = _live(_exchange(words or []), settings)
        if live is not None:
            _tell(live, settings, form, every=every)
            return
    with told({rules_path.resolve().name: rules_path}):
        ruleset = compile_policy(rule_sources(rules_path), policy_context(settings))
    if stored:
        explanation = _from_journal(_exchange(words or []), settings, ruleset)
    else:
        instant = _instant(at, settings)
        given: dict[str, object] = {
            "app": app,
            "source": source,
            "headers": _headers(header or []),
            "at": instant,
            "exchange": exchange,
            "call": None if call is None else _call(call),
        }
        message = (
            _described(written, words or [], path, settings, given)
            if written
            else _addressed((words or [""])[0], data, given)
        )
        explanation = _rehearsed(message, settings, ruleset)
    _tell(explanation, settings, form, every=every)


def _is_address(words: list[str]) -> bool:
    return len(words) == 1 and ("://" in words[0] or words[0].startswith("/"))


def _exchange(words: list[str]) -> str:
    if len(words) != 1 or "=" in words[0]:
        _unreadable("name a message (--command, --notification, --verb), an exchange or an address; see --help")
    return words[0]


def _tell(explanation: "Explanation", settings: "Settings", form: Format, *, every: bool) -> None:
    import msgspec

    from interceptor.cli import telling

    if form is Format.JSON:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(explanation), indent=2).decode() + "\n")
        return
    out = telling.console()
    for line in telling.told(explanation, settings.time_zone, every=every):
        out.print(line)


# --- a message that is described -------------------------------------------------------------------------------------


def _described(
    written: dict[str, str], words: list[str], path: str, settings: "Settings", given: "dict[str, object]"
) -> "Message":
    from interceptor.document import nearest
    from interceptor.rehearsal import Message
    from interceptor.values import Kind
    from interceptor.wire import knowledge

    if len(written) > 1:
        _unreadable(f"{' and '.join(f'--{kind}' for kind in written)}: one message at a time")
    kind, name = Kind(next(iter(written))), next(iter(written.values()))
    known = {
        Kind.COMMAND: knowledge.COMMANDS,
        Kind.NOTIFICATION: knowledge.NOTIFICATIONS,
        Kind.VERB: knowledge.VERBS,
    }[kind]
    if knowledge.lower(name) not in map(knowledge.lower, known):
        typer.echo(f"the reference does not list the {kind.value} `{name}`{nearest(name, known)}", err=True)
    app = given["app"]
    if app and app not in settings.apps:
        _unreadable(f"unknown app `{app}`{nearest(str(app), settings.apps)}")
    parameters = []
    for word in words:
        parameter, equals, value = word.partition("=")
        if not equals or not parameter:
            _unreadable(f"a parameter is written NAME=VALUE, here is `{word}`")
        parameters.append((parameter, value))
    return Message(kind=kind, name=name, parameters=tuple(parameters), path=path, **given)  # type: ignore[arg-type]


def _addressed(address: str, data: str | None, given: "dict[str, object]") -> "Message":
    """A request as ``curl`` would send it; what it asks for stays as it is written, byte for byte."""
    from interceptor.rehearsal import FORM, Message
    from interceptor.values import Kind

    rest = address.partition("://")[2] if "://" in address else address
    target = rest[rest.index("/") :] if "/" in rest else "/" + rest[rest.find("?") :] if "?" in rest else "/"
    target = target.partition("#")[0]
    told_by_pbx = "notificationname=" in f"{target}&{data or ''}".lower()
    headers = given["headers"]
    if data is not None and isinstance(headers, dict):
        given = {**given, "headers": FORM | headers}
    return Message(
        kind=Kind.NOTIFICATION if told_by_pbx else Kind.COMMAND,
        name="",
        method="GET" if data is None else "POST",
        target=target.encode("utf-8", "surrogateescape"),
        body=(data or "").encode("utf-8", "surrogateescape"),
        **given,  # type: ignore[arg-type]
    )


def _call(written: str) -> "CallFacts":
    """How the call stands: ``owned,connected,outgoing``, each word where it is so."""
    from interceptor.policy.matchers.call import DIRECTIONS, STATES
    from interceptor.values import CallFacts

    words = [word.strip() for word in written.split(",")]
    states = [word for word in words if word in STATES]
    directions = [word for word in words if word in DIRECTIONS]
    known = ("owned", *STATES, *DIRECTIONS)
    if not set(words) <= set(known) or len(states) > 1 or len(directions) > 1:
        _unreadable(f"--call should be such as owned,connected,outgoing, here is `{written}`")
    return CallFacts("owned" in words, "".join(states), "".join(directions))


def _headers(written: list[str]) -> dict[str, str]:
    found = {}
    for line in written:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            _unreadable(f"a header is written 'Name: value', here is `{line}`")
        found[name.strip().lower()] = value.strip()
    return found


def _instant(at: str | None, settings: "Settings") -> float:
    from interceptor.cases import read_instant

    found = time.time() if at is None else read_instant(at, settings.time_zone)
    if found is None:
        _unreadable(f"--at should be a time such as 2026-11-23T19:00, here is `{at}`")
    return found


def _rehearsed(message: "Message", settings: "Settings", ruleset: "RuleSet") -> "Explanation":
    from msgspec.structs import replace

    from interceptor.explanation import explain as explanation_of
    from interceptor.policy.tracing import Standing, Tracer
    from interceptor.rehearsal import Rehearsal

    try:
        rehearsed = Rehearsal(settings, ruleset).send(message)
    except ValueError as fault:  # a verb that OzML cannot hold
        _unreadable(str(fault))
    explanation = explanation_of(rehearsed, Tracer(ruleset))
    notes = [_WITHOUT_PASSWORDS] if rehearsed.decision.reason.startswith("authentication") else []
    if any("limit" in step.actions for step in explanation.trace.steps if step.standing is Standing.ACTED):
        notes.append(_WITHIN_LIMITS)
    return replace(explanation, notes=tuple(notes))


# --- an exchange that was ---------------------------------------------------------------------------------------------


def _live(exchange: str, settings: "Settings") -> "Explanation | None":
    """What the running server says of an exchange, if there is one and it has kept it."""
    import http.client
    from urllib.parse import quote

    import msgspec

    from interceptor.explanation import Explanation

    admin = settings.admin
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(admin.host, admin.host)  # noqa: S104 - asked, not listened on
    connection = http.client.HTTPConnection(host, admin.port, timeout=_ADMIN_SECONDS)
    try:
        connection.request("GET", f"/explain/{quote(exchange, safe='')}")
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES)
        return msgspec.json.decode(body, type=Explanation) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, msgspec.MsgspecError):
        return None
    finally:
        connection.close()


def _from_journal(exchange: str, settings: "Settings", ruleset: "RuleSet") -> "Explanation":
    from interceptor.explanation import explain_record
    from interceptor.journal.finding import find_decision

    with told():
        record = find_decision(settings.journal.directory, exchange)
    if record is None:
        where = settings.journal.directory
        _unreadable(f"no exchange `{exchange}`: the running server has not kept it, and it is not in `{where}`")
    return explain_record(record, ruleset)


def _unreadable(why: str) -> NoReturn:
    typer.echo(why, err=True)
    raise typer.Exit(2)
