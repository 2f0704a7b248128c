"""Verbs that begin, move and end calls.

Call, CallSetup, Request, BlindTransfer, AttendedTransfer, Hangup, Reject, Forward, Hold, Unhold.
"""

from interceptor.simulator.answers import OK, Answer, CommandError
from interceptor.simulator.calls import CallState
from interceptor.simulator.commands import control, extension
from interceptor.simulator.ozml.document import attribute, main
from interceptor.simulator.ozml.session import LeaveError, Session, VerbHandler
from interceptor.simulator.ozml.third_party import as_command
from interceptor.values import Verb


async def _call(session: Session, verb: Verb) -> None:
    """As the command, with the number under the name the verb has for it."""
    values = {name.lower(): value for name, value in verb.attributes}
    number = values.get("dialled") or values.get("dialed") or verb.text
    asked = as_command(verb, Dialed=number)
    _check(await extension.call(session.core, asked))


async def _call_setup(session: Session, verb: Verb) -> None:
    _check(await extension.call_setup(session.core, as_command(verb)))


async def _request(session: Session, verb: Verb) -> None:
    """Ozeki 10: a call whose OzML stands inside."""
    extension.place_request(session.core, as_command(verb), verb)


async def _blind_transfer(session: Session, verb: Verb) -> None:
    """The other end goes on to the target; this session is over."""
    target = main(verb, "Target")
    if not target:
        raise CommandError(302, "Target", verb.name)
    finished_url = attribute(verb, "FinishedUrl") or ""
    control.transfer(session.core, session.call, transferor=session.side, target=target, finished_url=finished_url)
    raise LeaveError


async def _third_party(session: Session, verb: Verb) -> None:
    """A verb about a call, this one unless it names another."""
    asked = as_command(verb, CallId=session.call_id)
    if verb.name.lower() == "attendedtransfer":
        asked = as_command(verb, TransferredCallId=session.call_id)
    _check(await session.core.carry_out(session.core, asked))


async def _hangup(session: Session, verb: Verb) -> None:
    if attribute(verb, "CallId") not in {None, "", session.call_id}:
        await _third_party(session, verb)
        return
    session.core.finish(session.call, CallState.COMPLETED, by=session.side.value)
    raise LeaveError


async def _reject(_session: Session, verb: Verb) -> None:
    """As the first verb of an answer to IncomingCall it never comes here; anywhere else it may not be used."""
    raise CommandError(303, verb.name)


def _check(answer: Answer) -> None:
    if answer.code != OK:
        error = CommandError(300, "")
        error.answer = answer
        raise error


VERBS = (
    VerbHandler("Call", _call, needs_call=False),
    VerbHandler("CallSetup", _call_setup, needs_call=False),
    VerbHandler("Request", _request, needs_call=False),
    VerbHandler("BlindTransfer", _blind_transfer),
    VerbHandler("AttendedTransfer", _third_party),
    VerbHandler("Hangup", _hangup),
    VerbHandler("Forward", _third_party),
    VerbHandler("ForwardCall", _third_party),
    VerbHandler("Hold", _third_party),
    VerbHandler("Unhold", _third_party),
    VerbHandler("Reject", _reject, needs_call=False),
)
