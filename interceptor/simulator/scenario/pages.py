"""The pages of an app as a scenario file writes them: ``menu``, ``pin``, ``routes``, ``verbs`` or raw ``ozml``."""

from interceptor.document import (
    Fields,
    Items,
    Node,
    Text,
    boolean,
    duration_seconds,
    fields,
    items,
    text,
    texts,
    whole_number,
)
from interceptor.simulator.pages import Door, Fixed, Menu, Page, PinCheck, RoutingTable, Row, document
from interceptor.simulator.scenario import names
from interceptor.simulator.scenario.names import ScenarioProblems
from interceptor.values import Verb

_KINDS = ("menu", "pin", "routes", "verbs", "ozml")


def read_page(node: Node, problems: ScenarioProblems) -> Door | None:
    """One page and the notifications that it answers."""
    given = fields(node, ("name", "path", *_KINDS), problems, "a page")
    kinds = [(key, value) for key, value in given.entries if key.value in _KINDS]
    if len(kinds) != 1:
        problems.add(given.place, f"a page has exactly one of {', '.join(f'`{kind}`' for kind in _KINDS)}", "one_page")
        return None
    name, path = given.get("name"), given.get("path")
    return Door(
        _read_kind(kinds[0][0].value, kinds[0][1], problems),
        names.read_name(name, problems, "notification", names.NOTIFICATIONS) if name else None,
        text(path, problems, "`path`") if path else None,
    )


def _read_kind(kind: str, node: Node, problems: ScenarioProblems) -> Page:
    match kind:
        case "menu":
            return _read_menu(fields(node, None, problems, "`menu`"), problems)
        case "pin":
            return _read_pin(fields(node, ("address", "asks", "wrong", "tries", "right"), problems, "`pin`"), problems)
        case "routes":
            return RoutingTable(tuple(_read_row(row, problems) for row in items(node, problems, "`routes`")))
        case "verbs":
            return Fixed(document(*read_verbs(node, problems)))
        case _:
            return Fixed((text(node, problems, "`ozml`", empty=True) or "").encode("utf-8", "surrogateescape"))


def _read_menu(node: Fields, problems: ScenarioProblems) -> Menu:
    known = ("says", "keys", "digits", "timeout", "repeat", "back", "forward_to")
    fields(node, known, problems, "a menu")
    says, keys, digits, timeout = node.get("says"), node.get("keys"), node.get("digits"), node.get("timeout")
    repeat, back, forward_to = node.get("repeat"), node.get("back"), node.get("forward_to")
    below: dict[str, Menu | tuple[Verb, ...]] = {}
    for key, value in fields(keys, None, problems, "`keys`").entries if keys else ():
        if isinstance(value, Fields) and value.get("says") is not None:
            below[key.value] = _read_menu(value, problems)
        else:
            below[key.value] = read_verbs(value, problems)
    if says is None:
        problems.add(node.place, "a menu needs `says`", "missing_key")
    return Menu(
        says=(text(says, problems, "`says`") or "") if says else "",
        keys=below,
        digits=(whole_number(digits, problems, "`digits`", least=1, most=30) or 1) if digits else 1,
        timeout_seconds=int(duration_seconds(timeout, problems, "`timeout`") or 0) if timeout else 8,
        repeat=boolean(repeat, problems, "`repeat`") is True if repeat else True,
        back_key=(text(back, problems, "`back`") or "") if back else "",
        forward_to=(text(forward_to, problems, "`forward_to`") or "") if forward_to else "",
    )


def _read_pin(node: Fields, problems: ScenarioProblems) -> PinCheck:
    given = {
        name: text(value, problems, f"`{name}`") or ""
        for name in ("address", "asks", "wrong")
        if (value := node.get(name)) is not None
    }
    right, tries = node.get("right"), node.get("tries")
    if right is None or "address" not in given:
        problems.add(node.place, "a PIN check needs `address` and `right`", "missing_key")
    entries = fields(right, None, problems, "`right`").entries if right else ()
    return PinCheck(
        given.get("address", ""),
        {key.value: read_verbs(value, problems) for key, value in entries},
        asks=given.get("asks", "Please enter your PIN."),
        wrong=given.get("wrong", "Wrong PIN."),
        tries=(whole_number(tries, problems, "`tries`", least=1, most=9) or 3) if tries else 3,
    )


def _read_row(node: Node, problems: ScenarioProblems) -> Row:
    known = {
        "to": "destination",
        "dialled": "dialled",
        "caller": "caller",
        "state": "state",
        "caller_id": "caller_id",
        "number_on_line": "dialled_on_line",
    }
    given = fields(node, (*known, "ring"), problems, "a route")
    if given.get("to") is None:
        problems.add(given.place, 'a route needs `to`; `to: ""` turns the caller away', "missing_key")
    values = {
        known[key.value]: text(value, problems, f"`{key.value}`", empty=True) or ""
        for key, value in given.entries
        if key.value in known
    }
    ring = given.get("ring")
    seconds = int(duration_seconds(ring, problems, "`ring`") or 0) if ring else 0
    return Row(**{"destination": "", **values}, ring_seconds=seconds)


def read_verbs(node: Node, problems: ScenarioProblems) -> tuple[Verb, ...]:
    """Verbs as rules write them: a list of ``{Speak: {Text: Hello}}``, of ``{Speak: Hello}``, or of names alone."""
    if isinstance(node, Items) and not node.nodes:
        return ()
    return tuple(_read_verb(entry, problems) for entry in items(node, problems, "verbs"))


def _read_verb(node: Node, problems: ScenarioProblems) -> Verb:
    if isinstance(node, Text):
        return Verb(names.read_name(node, problems, "verb", names.VERBS))
    given = fields(node, None, problems, "a verb")
    if len(given.entries) != 1:
        problems.add(given.place, "a verb is one name and its attributes", "one_verb")
        return Verb("")
    key, value = given.entries[0]
    verb = names.read_name(key, problems, "verb", names.VERBS)
    if isinstance(value, Text):
        return Verb(verb, (), value.value)
    attributes: list[tuple[str, str]] = []
    children: tuple[Verb, ...] = ()
    for name, inner in fields(value, None, problems, f"`{key.value}`").entries:
        if name.value == "verbs":
            children = read_verbs(inner, problems)
        else:
            attribute = names.read_parameter(name, problems)
            attributes += [(attribute, each) for each in texts(inner, problems, f"`{name.value}`")[:1]]
    return Verb(verb, tuple(attributes), "", children)
