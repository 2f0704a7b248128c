"""Scenario files read with places: every problem of a file is told at once, as ``file:line:column: message``."""

from collections.abc import Callable

from interceptor.document import (
    Fields,
    Node,
    Problems,
    Text,
    duration_seconds,
    fields,
    items,
    one_of,
    read,
    text,
)
from interceptor.simulator.core import Generation
from interceptor.simulator.directory import EXTENSION_TYPES, Extension, Phone
from interceptor.simulator.scenario.form import AppForm, PbxForm, Scenario, Step
from interceptor.simulator.scenario.names import ScenarioProblems
from interceptor.simulator.scenario.pages import read_page
from interceptor.simulator.scenario.phones import read_phone
from interceptor.simulator.scenario.steps import STEPS
from interceptor.values import Place, ProblemsError

NOTIFICATIONS = ("RoutingInterception", "IncomingCall", "CallChanged", "IncomingSMS")
VOICEMAIL = ("date", "from", "message")
_TOP = ("scenario", "note", "pbx", "apps", "steps", "patience")


def read_scenario(data: bytes, file: str) -> Scenario:
    """Read a scenario; raises :class:`ProblemsError` with every problem of the file."""
    root, found = read(data, file)
    problems = ScenarioProblems(found, data.decode("utf-8", "replace"))
    if root is None:
        if not problems:
            problems.add(Place(file, 1, 1), "the file is empty", "empty_file")
        raise ProblemsError(problems.found)
    top = fields(root, _TOP, problems, "a scenario")
    name = _required(top, "scenario", problems)
    pbxs = tuple(_named(top.get("pbx"), problems, "pbx", _read_pbx))
    apps = tuple(_named(top.get("apps"), problems, "apps", _read_app))
    steps = top.get("steps")
    patience = top.get("patience")
    note = top.get("note")
    scenario = Scenario(
        name=name or "",
        note=(text(note, problems, "`note`") or "") if note else "",
        pbxs=pbxs,
        apps=apps,
        steps=tuple(_read_steps(steps, problems)) if steps else (),
        patience_seconds=(duration_seconds(patience, problems, "`patience`") or 10.0) if patience else 10.0,
    )
    if steps is None:
        problems.add(top.place, "a scenario needs `steps`", "missing_key")
    _check_names(scenario, problems)
    if problems:
        raise ProblemsError(problems.found)
    return scenario


def _required(node: Fields, key: str, problems: Problems) -> str | None:
    value = node.get(key)
    if value is None:
        problems.add(node.place, f"`{key}` is missing", "missing_key")
        return None
    return text(value, problems, f"`{key}`")


def _named[T](
    node: Node | None, problems: ScenarioProblems, what: str, reader: Callable[[Text, Fields, ScenarioProblems], T]
) -> list[T]:
    if node is None:
        return []
    return [
        reader(key, fields(value, None, problems, f"`{key.value}`"), problems)
        for key, value in fields(node, None, problems, f"`{what}`").entries
    ]


def _read_pbx(key: Text, node: Fields, problems: ScenarioProblems) -> PbxForm:
    known = ("generation", "users", "extensions", "phones", "notifications", "voicemails")
    fields(node, known, problems, f"the PBX `{key.value}`")
    generation = node.get("generation")
    word = one_of(generation, [each.value for each in Generation], problems, "generation") if generation else None
    return PbxForm(
        name=key.value,
        place=key.place,
        generation=Generation(word) if word in {each.value for each in Generation} else Generation.PHONE_SYSTEM,
        users=_texts_by_name(node.get("users"), problems, "`users`"),
        extensions=tuple(_read_extensions(node.get("extensions"), problems)),
        phones=tuple(_read_phones(node.get("phones"), problems)),
        notifications=_read_notifications(node.get("notifications"), problems),
        voicemails=tuple(_read_voicemails(node.get("voicemails"), problems)),
    )


def _texts_by_name(node: Node | None, problems: Problems, what: str) -> dict[str, str]:
    if node is None:
        return {}
    entries = fields(node, None, problems, what).entries
    return {key.value: text(value, problems, f"`{key.value}`", empty=True) or "" for key, value in entries}


def _read_voicemails(node: Node | None, problems: Problems) -> list[dict[str, str]]:
    if node is None:
        return []
    found = []
    for entry in items(node, problems, "`voicemails`"):
        fields(entry, VOICEMAIL, problems, "a voicemail")
        found.append(_texts_by_name(entry, problems, "a voicemail"))
    return found


def _read_extensions(node: Node | None, problems: Problems) -> list[Extension]:
    if node is None:
        return []
    found = []
    for key, value in fields(node, None, problems, "`extensions`").entries:
        kind = one_of(value, EXTENSION_TYPES, problems, "type of extension")
        found.append(Extension(id=key.value, type=kind or "SIP"))
    return found


def _read_phones(node: Node | None, problems: Problems) -> list[Phone]:
    if node is None:
        return []
    return [read_phone(key.value, value, problems) for key, value in fields(node, None, problems, "`phones`").entries]


def _read_notifications(node: Node | None, problems: Problems) -> dict[str, tuple[str, str]]:
    found = {}
    if node is not None:
        for key, value in fields(node, NOTIFICATIONS, problems, "`notifications`").entries:
            app, slash, path = (text(value, problems, f"`{key.value}`") or "").partition("/")
            found[key.value] = (app, slash + path)
    return found


def _read_app(key: Text, node: Fields, problems: ScenarioProblems) -> AppForm:
    fields(node, ("commands", "username", "password", "pages"), problems, f"the app `{key.value}`")
    given = {
        name: text(value, problems, f"`{name}`") or ""
        for name in ("commands", "username", "password")
        if (value := node.get(name)) is not None
    }
    pages = node.get("pages")
    doors = [read_page(page, problems) for page in items(pages, problems, "`pages`")] if pages else []
    return AppForm(name=key.value, place=key.place, doors=tuple(door for door in doors if door is not None), **given)


def _read_steps(node: Node, problems: ScenarioProblems) -> list[Step]:
    steps = []
    for entry in items(node, problems, "`steps`"):
        step = fields(entry, STEPS, problems, "a step")
        if len(step.entries) > 1:
            problems.add(step.entries[1][0].place, "a step says one thing; begin a new one with `-`", "two_steps")
        for key, value in step.entries[:1]:
            reader = STEPS.get(key.value)
            made = reader(key, value, problems) if reader else None
            if made is not None:
                steps.append(made)
    return steps


def _check_names(scenario: Scenario, problems: Problems) -> None:
    """Whoever is named must be there."""
    pbxs, apps = {pbx.name for pbx in scenario.pbxs}, {app.name for app in scenario.apps}
    for pbx in scenario.pbxs:
        for name, (app, _) in pbx.notifications.items():
            if app not in apps:
                problems.add(pbx.place, f"`{name}` goes to `{app}`, which is no app of this scenario", "unknown_name")
    for app_form in scenario.apps:
        if app_form.commands and app_form.commands not in pbxs:
            message = f"`{app_form.name}` asks `{app_form.commands}`, which is no PBX of this scenario"
            problems.add(app_form.place, message, "unknown_name")
    for step in scenario.steps:
        for field, known in (("pbx", pbxs), ("app", apps), ("who", pbxs | apps)):
            name = getattr(step, field, "")
            if name and name not in known:
                message = f"`{name}` is not in this scenario; there are {', '.join(sorted(known)) or 'none'}"
                problems.add(step.place, message, "unknown_name")
