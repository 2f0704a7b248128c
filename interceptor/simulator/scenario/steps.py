"""Every step that a scenario can take, and how it is written; one reader each, and one line in the table below."""

from collections.abc import Callable, Iterable

from interceptor.document import Fields, Node, Text, duration_seconds, fields, one_of, text, whole_number
from interceptor.simulator.calls import CallState
from interceptor.simulator.events import Pairs
from interceptor.simulator.faults import BY_NAME
from interceptor.simulator.scenario import form, names, phones
from interceptor.simulator.scenario.names import ScenarioProblems

_STATES = [state.value for state in CallState if state is not CallState.SETUP]


def _given(
    key: Text, node: Node, problems: ScenarioProblems, needed: Iterable[str], optional: Iterable[str] = ()
) -> dict[str, str]:
    """The texts of a step's keys; one that is needed and not there is a problem."""
    needed = tuple(needed)
    mapping = fields(node, (*needed, *optional), problems, f"`{key.value}`")
    for name in needed:
        if mapping.get(name) is None and isinstance(node, Fields):
            problems.add(key.place, f"`{key.value}` needs `{name}`", "missing_key")
    return {
        name.value: text(value, problems, f"`{name.value}`", empty=True) or ""
        for name, value in mapping.entries
        if isinstance(value, Text)
    } | {name: "" for name in needed if mapping.get(name) is None}


def _dial(key: Text, node: Node, problems: ScenarioProblems) -> form.Step:
    given = _given(key, node, problems, ("from", "to"), ("pbx",))
    told = f"{given['from']} dials {given['to']}"
    return form.Dial(place=key.place, told=told, caller=given["from"], dialled=given["to"], pbx=given.get("pbx", ""))


def _press(key: Text, node: Node, problems: ScenarioProblems) -> form.Step:
    party = "caller"
    if isinstance(node, Fields):
        given = fields(node, ("keys", "party"), problems, "`press`")
        if (by := given.get("party")) is not None:
            party = one_of(by, ("caller", "callee"), problems, "party") or party
        node = given.get("keys") or node
    keys = text(node, problems, "`press`") or ""
    if not set(keys) <= set("0123456789*#"):
        problems.add(node.place, f"`{keys}` holds more than the keys 0-9, * and #", "not_keys")
    return form.PressKeys(place=key.place, told=f"the {party} presses {keys}", keys=keys, party=party)


def _hang_up(key: Text, node: Node, problems: ScenarioProblems) -> form.Step:
    party = one_of(node, ("caller", "callee"), problems, "party") or "caller"
    return form.HangUp(place=key.place, told=f"the {party} hangs up", party=party)


def _hear(key: Text, node: Node, problems: ScenarioProblems) -> form.Step:
    heard = text(node, problems, "`hear`") or ""
    return form.Hear(place=key.place, told=f"somebody hears “{heard}”", text=heard)


def _rings(key: Text, node: Node, problems: ScenarioProblems) -> form.Step:
    number = text(node, problems, "`rings`") or ""
    return form.Rings(place=key.place, told=f"{number} rings", number=number)


def _ran(key: Text, node: Node, problems: ScenarioProblems) -> form.Step:
    verb = names.read_name(node, problems, "verb", names.VERBS)
    return form.Ran(place=key.place, told=f"the PBX runs {verb}", verb=verb)


def _reaches(key: Text, node: Node, problems: ScenarioProblems) -> form.Step:
    state = one_of(node, _STATES, problems, "state") or ""
    return form.Reaches(place=key.place, told=f"the call is {state}", state=state)


def _wait(key: Text, node: Node, problems: ScenarioProblems) -> form.Step:
    seconds = duration_seconds(node, problems, "`wait`") or 0.0
    return form.Wait(place=key.place, told=f"{seconds:g} s pass", seconds=seconds)


def _send(key: Text, node: Node, problems: ScenarioProblems) -> form.Step:
    optional = ("with", "method", "code", "username", "password")
    given = _given(key, node, problems, ("app", "command"), optional)
    mapping = fields(node, None, problems, "`send`")
    command = _name(mapping.get("command"), problems, "command", names.COMMANDS)
    method, code = mapping.get("method"), mapping.get("code")
    if method is not None:
        one_of(method, ("GET", "POST"), problems, "method")
    number = whole_number(code, problems, "`code`", least=100, most=9999) if code else None
    parameters = _pairs(mapping.get("with"), problems)
    told = f"{given['app']} sends {command}" + (f" and is told {number}" if number else "")
    return form.Send(
        place=key.place,
        told=told,
        app=given["app"],
        command=command,
        parameters=parameters,
        method=given.get("method", "GET"),
        code=number,
        username=given.get("username"),
        password=given.get("password"),
    )


def _name(node: Node | None, problems: ScenarioProblems, what: str, known: Iterable[str]) -> str:
    return names.read_name(node, problems, what, known) if isinstance(node, Text) and node.value else ""


def _pairs(node: Node | None, problems: ScenarioProblems) -> Pairs:
    if node is None:
        return ()
    entries = fields(node, None, problems, "`with`").entries
    return tuple(
        (names.read_parameter(name, problems), text(value, problems, f"`{name.value}`", empty=True) or "")
        for name, value in entries
    )


def _sms(key: Text, node: Node, problems: ScenarioProblems) -> form.Step:
    given = _given(key, node, problems, ("from", "to", "text"), ("pbx",))
    return form.Sms(
        place=key.place,
        told=f"a text message comes from {given['from']}",
        sender=given["from"],
        recipient=given["to"],
        text=given["text"],
        pbx=given.get("pbx", ""),
    )


def _break(key: Text, node: Node, problems: ScenarioProblems) -> form.Step:
    given = _given(key, node, problems, ("who", "how"), ("times", "message"))
    mapping = fields(node, None, problems, "`break`")
    how, times = mapping.get("how"), mapping.get("times")
    word = one_of(how, ("refuse", *BY_NAME), problems, "fault") if how else None
    return form.Break(
        place=key.place,
        told=f"{given['who']} fails: {given['how'].replace('_', ' ')}",
        who=given["who"],
        fault=BY_NAME[word]() if word in BY_NAME else None,
        times=whole_number(times, problems, "`times`", least=1, most=10_000) if times else None,
        message=_name(mapping.get("message"), problems, "message", names.MESSAGES),
    )


def _recover(key: Text, node: Node, problems: ScenarioProblems) -> form.Step:
    who = text(node, problems, "`recover`") or ""
    return form.Recover(place=key.place, told=f"{who} is well again", who=who)


def _phone(key: Text, node: Node, problems: ScenarioProblems) -> form.Step:
    mapping = fields(node, None, problems, "`phone`")
    number, pbx = mapping.get("number"), mapping.get("pbx")
    if number is None:
        problems.add(key.place, "`phone` needs `number`", "missing_key")
    written = (text(number, problems, "`number`") or "") if number else ""
    phone = phones.read_phone(written, node, problems, "number", "pbx")
    return form.SetPhone(
        place=key.place,
        told=f"{written} behaves differently",
        phone=phone,
        pbx=(text(pbx, problems, "`pbx`") or "") if pbx else "",
    )


def _saw(key: Text, node: Node, problems: ScenarioProblems) -> form.Step:
    never = key.value == "never_saw"
    given = _given(key, node, problems, ("who", "message"), ("with", "times"))
    mapping = fields(node, None, problems, f"`{key.value}`")
    times = mapping.get("times")
    message = _name(mapping.get("message"), problems, "message", names.MESSAGES)
    parameters = _pairs(mapping.get("with"), problems)
    shown = " ".join(f"{name}={value}" for name, value in parameters)
    verb = "never saw" if never else "saw"
    return form.Saw(
        place=key.place,
        told=f"{given['who']} {verb} {message}" + (f" with {shown}" if shown else ""),
        who=given["who"],
        message=message,
        parameters=parameters,
        times=whole_number(times, problems, "`times`", least=1, most=10_000) if times else None,
        never=never,
    )


STEPS: dict[str, Callable[[Text, Node, ScenarioProblems], form.Step]] = {
    "dial": _dial,
    "press": _press,
    "hang_up": _hang_up,
    "hear": _hear,
    "rings": _rings,
    "ran": _ran,
    "call_is": _reaches,
    "wait": _wait,
    "send": _send,
    "sms": _sms,
    "break": _break,
    "recover": _recover,
    "phone": _phone,
    "saw": _saw,
    "never_saw": _saw,
}
