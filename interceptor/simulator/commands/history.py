"""The calls that are on, and those that were."""

from datetime import UTC, datetime

from interceptor.simulator.answers import Answer, CommandError, Element
from interceptor.simulator.calls import Call, CallState
from interceptor.simulator.commands.base import BOTH, NEW, OLD, Asked, Command
from interceptor.simulator.core import Core, Generation
from interceptor.simulator.directory import is_public


def iso_time(at: float) -> str:
    """ISO 8601 with four digits of fraction and an offset."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 100:04d}+00:00"


def plain_time(at: float) -> str:
    """Date and time without a zone."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"


async def list_active_calls(core: Core, _asked: Asked) -> Answer:
    """The two generations differ in the name of the entry and in how they write times."""
    show = _new_entry if core.generation is Generation.OZEKI_10 else _old_entry
    calls = [call for call in core.calls.active.values() if call.state is not CallState.SETUP]
    entries = tuple(show(call, core.clock.now()) for call in calls)
    return Answer(payload=(Element("ActiveCalls", children=entries),))


def _old_entry(call: Call, now: float) -> Element:
    return Element(
        "CallInfo",
        children=(
            Element("CallState", call.state.value),
            Element("CallId", call.id),
            Element("Source", call.caller),
            Element("CallerId", call.caller_name or call.caller_id),
            Element("Destination", call.callee),
            Element("StartTime", iso_time(call.began)),
            Element("RingDuration", str(int(call.ring_seconds(now)))),
            Element("TalkDuration", str(int(call.talk_seconds(now)))),
        ),
    )


def _new_entry(call: Call, now: float) -> Element:
    return Element(
        "Call",
        children=(
            Element("CallState", call.state.value),
            Element("CallId", call.id),
            Element("Source", call.caller),
            Element("CallerId", call.caller_name or call.caller_id),
            Element("CallerDialed", call.dialled),
            Element("CalleeDialed", call.callee),
            Element("Destination", call.callee),
            Element("StartTime", plain_time(call.began)),
            Element("RingDuration", f"{call.ring_seconds(now):.3f}"),
            Element("TalkDuration", f"{call.talk_seconds(now):.3f}"),
        ),
    )


async def call_history(core: Core, asked: Asked) -> Answer:
    """Newest first; every filter given must fit, ``General`` fits anywhere; pages count from 0."""
    page, rows = asked.number("PageNumber", 0), asked.number("RowsPerPage", 50)
    if rows == 0:
        raise CommandError(302, "RowsPerPage", asked.name)
    found = [row for call in reversed(core.calls.history) if _fits(row := _row(call), asked)]
    entries = tuple(
        Element("Call", children=tuple(Element(name, value) for name, value in row.items()))
        for row in found[page * rows : (page + 1) * rows]
    )
    return Answer(payload=(Element("NumberOfCalls", str(len(found))), Element("Calls", children=entries)))


def _row(call: Call) -> dict[str, str]:
    return {
        "StartTime": plain_time(call.began),
        "Direction": _direction(call),
        "Source": call.caller,
        "Destination": call.callee,
        "State": _history_state(call),
        "Dialed": call.dialled,
        "CallerId": call.caller_id,
        "Type": "Audio",
        "CallId": call.id,
    }


def _direction(call: Call) -> str:
    if is_public(call.caller):
        return "Inbound"
    return "Outbound" if is_public(call.callee) else "Internal"


def _history_state(call: Call) -> str:
    """History has words of its own; only two of them are known from the reference, the others are of the same make."""
    match call.state:
        case CallState.TRANSFERRED:
            return "TransferCompleted"
        case CallState.COMPLETED:
            return {"callee": "CalleeHungUp", "caller": "CallerHungUp"}.get(call.ended_by, "HungUp")
        case state:
            return str(state.value)


def _fits(row: dict[str, str], asked: Asked) -> bool:
    for name in ("Direction", "Source", "Destination", "State", "Dialed", "CallerId", "CallId"):
        wanted = asked.get(name)
        if wanted and row[name].lower() != wanted.lower():
            return False
    since, general = asked.get("From"), asked.get("General").lower()
    if since and row["StartTime"] < since:
        return False
    return not general or any(general in value.lower() for value in row.values())


COMMANDS = (
    Command("ListActiveCalls", BOTH, list_active_calls),
    Command("GetCallHistory", OLD, call_history),
    Command("ListCallHistory", NEW, call_history),
)
