"""From dialling to pick-up: the routing interception, the dial plan, the ringing, and the try after a failed one."""

from msgspec import Struct

from interceptor.simulator.calls import Attempt, Call, CallState, Leg, Party
from interceptor.simulator.core import Core, Order, race
from interceptor.simulator.events import Pairs, Rang, VerbFailed, VerbRan
from interceptor.simulator.ozml.document import attribute, main
from interceptor.values import Verb

MAX_ATTEMPTS = 12
"""More tries than any dial plan makes; an app that always answers with a Route must not keep a call for ever."""

BUSY_AFTER_SECONDS = 1.0


class Reached(Struct, frozen=True):
    """How the search for a callee ended; ``verbs`` is the answer to IncomingCall where an API extension was called."""

    attempt: Attempt
    verbs: tuple[Verb, ...] | None = None
    talks_seconds: float | None = None


class Way(Struct, frozen=True):
    """Where to try next. An empty ``number`` rejects the caller."""

    number: str
    ring_seconds: float


async def reach(core: Core, call: Call, order: Order) -> Reached:
    """Find somebody who picks up: ask for a way before each try; the dial plan decides only at the first."""
    reached = Reached(Attempt.CALLING)
    tried = order.dialled
    for _ in range(MAX_ATTEMPTS):
        way = await _ask_for_way(core, call, order, reached.attempt, tried)
        if call.over.is_set():
            return Reached(Attempt.ERROR)
        if way is None:
            if reached.attempt is not Attempt.CALLING:
                return reached
            way = Way(order.dialled, order.ring_seconds)
        if not way.number:
            return Reached(Attempt.BUSY)
        tried = way.number
        reached = await _ring(core, call, way)
        if reached.attempt is Attempt.ANSWERED or call.over.is_set():
            return reached
    return reached


async def _ask_for_way(core: Core, call: Call, order: Order, attempt: Attempt, tried: str) -> Way | None:
    url = core.subscriptions.route
    if not url:
        return None
    fields: Pairs = (
        ("CallerID", call.caller_id),
        ("OriginalDialedNumber", order.dialled),
        ("LastDialedNumber", tried),
        ("LastCalledExtension", tried),
        ("LastCallState", attempt.value),
        ("CallerExtension", order.caller),
    )
    told = await core.notifier.tell("RoutingInterception", url, fields, call_id=call.id)
    for verb in told.verbs:
        if verb.name.lower() != "route":
            message = f"Command '{verb.name}' cannot be used here"
            core.log.append(VerbFailed(at=core.clock.now(), call_id=call.id, name=verb.name, code=303, message=message))
            continue
        core.log.append(
            VerbRan(at=core.clock.now(), call_id=call.id, name="Route", attributes=verb.attributes, text=verb.text)
        )
        return _read_route(core, call, order, verb)
    return None


def _read_route(core: Core, call: Call, order: Order, verb: Verb) -> Way:
    destination = main(verb, "Destination").strip()
    dialled = attribute(verb, "DialedNumber")
    caller_id = attribute(verb, "CallerId")
    if caller_id:
        call.caller_id = caller_id
    if destination and core.directory.phone(destination) is None and (dialled or destination in core.directory.lines):
        destination = dialled or order.dialled  # `Destination` names an outside line, and this is dialled on it
    return Way(destination, seconds(attribute(verb, "RingTime"), order.ring_seconds))


async def _ring(core: Core, call: Call, way: Way) -> Reached:
    number = way.number
    for _ in range(MAX_ATTEMPTS):
        call.forwarded.clear()
        call.legs[Party.CALLEE] = Leg(number)
        if core.directory.is_run_by_api(number):
            reached = await _ring_api_extension(core, call, way)
        else:
            reached = await _ring_phone(core, call, number, way.ring_seconds)
        if not call.forwarded.is_set() or call.over.is_set():
            return reached
        number = call.forwarded_to
    return Reached(Attempt.ERROR)


async def _ring_phone(core: Core, call: Call, number: str, ring_seconds: float) -> Reached:
    phone = core.directory.phone(number)
    if phone is None:
        return Reached(Attempt.NOT_FOUND)
    _begin_ringing(core, call, number)
    if phone.busy:
        end, wait = Attempt.BUSY, BUSY_AFTER_SECONDS
    elif phone.answers_after_seconds is None or phone.answers_after_seconds > ring_seconds:
        end, wait = Attempt.NO_ANSWER, ring_seconds
    else:
        end, wait = Attempt.ANSWERED, phone.answers_after_seconds
    await race(core.clock.sleep(wait), call.over.wait(), call.forwarded.wait())
    if call.over.is_set() or call.forwarded.is_set():
        return Reached(Attempt.ERROR)
    return Reached(end, talks_seconds=phone.talks_seconds)


async def _ring_api_extension(core: Core, call: Call, way: Way) -> Reached:
    _begin_ringing(core, call, call.callee)
    if not core.subscriptions.incoming:
        await race(core.clock.sleep(way.ring_seconds), call.over.wait(), call.forwarded.wait())
        return Reached(Attempt.NO_ANSWER)
    fields: Pairs = (
        ("CallId", call.id),
        ("X-Caller", call.caller_id),
        ("X-Callee", call.callee),
        ("X-Dialed", call.dialled),
    )
    told = await core.notifier.tell("IncomingCall", core.subscriptions.incoming, fields, call_id=call.id)
    if not told.usable:
        return Reached(Attempt.ERROR)
    if told.verbs and told.verbs[0].name.lower() == "reject":
        core.log.append(VerbRan(at=core.clock.now(), call_id=call.id, name="Reject", attributes=(), text=""))
        return Reached(Attempt.BUSY)
    return Reached(Attempt.ANSWERED, verbs=told.verbs)


def _begin_ringing(core: Core, call: Call, number: str) -> None:
    core.enter(call, CallState.RINGING)
    core.log.append(Rang(at=core.clock.now(), call_id=call.id, number=number, caller_id=call.caller_id))


def seconds(text: str | None, otherwise: float) -> float:
    """A duration as apps write it; what is no number counts as not written."""
    try:
        value = float(text or "")
    except ValueError:
        return otherwise
    return value if 0 <= value < 1e7 else otherwise
