"""A call's life after somebody picked up: the talk, the OzML that runs on it, and what is told at the end."""

from interceptor.simulator.calls import Attempt, Call, CallState, Party, Recording
from interceptor.simulator.core import Core, Order, race
from interceptor.simulator.events import Pairs
from interceptor.simulator.ozml.session import Session
from interceptor.simulator.ozml.third_party import run_third_party
from interceptor.simulator.routing import Reached, reach
from interceptor.values import Verb

_ENDS = {
    Attempt.NO_ANSWER: CallState.BUSY,  # the reference: busy, "or it rang for the set time"
    Attempt.BUSY: CallState.BUSY,
    Attempt.NOT_FOUND: CallState.ERROR,
    Attempt.ERROR: CallState.ERROR,
}


async def live(core: Core, call: Call, order: Order) -> None:
    """Live one call from dialling to its end."""
    try:
        reached = Reached(Attempt.ANSWERED) if order.answered else await reach(core, call, order)
        if call.over.is_set():
            return
        if reached.attempt is not Attempt.ANSWERED:
            await _fail(core, call, order, reached.attempt)
            return
        core.enter(call, CallState.ANSWERED)
        core.enter(call, CallState.IN_CALL)
        if order.transfer_url:
            await _tell_transferred(core, call, order.transfer_url)
        await _converse(core, call, order, reached)
    finally:
        core.finish(call, CallState.COMPLETED, by="pbx")
    if order.finished_url:
        await core.notifier.tell("", order.finished_url, _call_fields(call), call_id=call.id)


async def _fail(core: Core, call: Call, order: Order, attempt: Attempt) -> None:
    core.finish(call, _ENDS[attempt], by="pbx")
    if order.transfer_url:
        await _tell_transferred(core, call, order.transfer_url)
    if order.error_url:
        fields = (*_call_fields(call), ("X-Error", f"{call.dialled}: {attempt.value}"))
        told = await core.notifier.tell("Error", order.error_url, fields, call_id=call.id)
        await Session(core, None, None).run(told.verbs)
    if order.error_verbs:
        await Session(core, None, None).run(order.error_verbs)


async def _converse(core: Core, call: Call, order: Order, reached: Reached) -> None:
    """Run whatever runs the call, and hang up when it is through; two phones talk until one hangs up."""
    if reached.verbs is not None:
        await race(_callee_session(core, call, reached.verbs), call.over.wait())
    elif order.verbs is not None:
        await race(_caller_session(core, call, order.verbs), call.over.wait())
    elif order.connected_url is not None:
        await race(_connected_session(core, call, order.connected_url), call.over.wait())
    elif reached.talks_seconds is not None:
        await race(core.clock.sleep(reached.talks_seconds), call.over.wait())
        core.finish(call, CallState.COMPLETED, by=Party.CALLEE.value)
    else:
        await call.over.wait()


async def _callee_session(core: Core, call: Call, verbs: tuple[Verb, ...]) -> None:
    await Session(core, call, Party.CALLEE).run(verbs)
    core.finish(call, CallState.COMPLETED, by=Party.CALLEE.value)


async def _caller_session(core: Core, call: Call, verbs: tuple[Verb, ...]) -> None:
    await Session(core, call, Party.CALLER).run(verbs)
    core.finish(call, CallState.COMPLETED, by=Party.CALLER.value)


async def _connected_session(core: Core, call: Call, url: str) -> None:
    """Ask the app what to do now; without an answer the PBX hangs up (reference, section 8)."""
    told = await core.notifier.tell("CallConnected", url, _call_fields(call), call_id=call.id) if url else None
    if told is None or not told.usable:
        core.finish(call, CallState.COMPLETED, by="pbx")
        return
    await _caller_session(core, call, told.verbs)


def _call_fields(call: Call) -> Pairs:
    return (
        ("CallId", call.id),
        ("X-Caller", call.caller_id),
        ("X-Callee", call.callee),
        ("X-CallState", call.state.value),
    )


async def _tell_transferred(core: Core, call: Call, url: str) -> None:
    fields = (*_call_fields(call), ("X-Duration", str(int(call.talk_seconds(core.clock.now())))))
    told = await core.notifier.tell("", url, fields, call_id=call.id)
    await run_third_party(core, call, told.verbs)


async def call_changed(core: Core, call: Call, state: CallState) -> None:
    """Tell one change of state, and carry out the third party verbs that come back."""
    fields: Pairs = (
        ("CallId", call.id),
        ("X-CallState", state.value),
        ("X-Source", call.caller_id),
        ("X-Destination", call.callee),
    )
    told = await core.notifier.tell("CallChanged", core.subscriptions.events, fields, call_id=call.id)
    await run_third_party(core, call, told.verbs)


async def record_completed(core: Core, call: Call, recording: Recording) -> None:
    """Tell that a recording is there; the answer's verbs are of the group that started the recording."""
    core.files.add(recording.url)
    if not recording.finished_url:
        return
    length = str(int(core.clock.now() - recording.began))
    fields: Pairs = (("RecordURL", recording.url), ("CallId", call.id), ("X-Duration", length))
    told = await core.notifier.tell("RecordCompleted", recording.finished_url, fields, call_id=call.id)
    if recording.party is None:
        await run_third_party(core, call, told.verbs)
    elif call.over.is_set():
        await Session(core, None, None).run(told.verbs)
    else:
        await race(Session(core, call, recording.party).run(told.verbs), call.over.wait())
