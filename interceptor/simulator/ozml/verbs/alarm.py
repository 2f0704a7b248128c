"""Verbs for alarm panels: SendAlarmNotification, and ReceiveAlarmNotification with its Received verbs."""

from interceptor.simulator.commands import extension
from interceptor.simulator.core import race
from interceptor.simulator.ozml.document import child
from interceptor.simulator.ozml.session import Session, VerbHandler
from interceptor.simulator.ozml.third_party import as_command
from interceptor.values import Verb

WAIT_SECONDS = 10.0


async def _send_alarm(session: Session, verb: Verb) -> None:
    await extension.send_alarm(session.core, as_command(verb))


async def _receive_alarm(session: Session, verb: Verb) -> None:
    """Until the panel has been silent for ``WAIT_SECONDS`` (assumed)."""
    received = child(verb, "Received")
    call = session.call
    while True:
        if not call.alarms:
            call.alarmed.clear()
            await race(call.alarmed.wait(), session.core.clock.sleep(WAIT_SECONDS))
        if not call.alarms:
            return
        session.variables |= {name.lower(): value for name, value in call.alarms.popleft()}
        if received is not None:
            await session.perform(received.children)


VERBS = (
    VerbHandler("SendAlarmNotification", _send_alarm, needs_call=False),
    VerbHandler("ReceiveAlarmNotification", _receive_alarm),
)
