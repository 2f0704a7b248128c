"""Verbs that send: SendSms, SendEmail, SendMessage, SendMsg; and that read (Ozeki 10): WaitForMsg, ReceiveMessage."""

from collections.abc import Awaitable, Callable

from interceptor.simulator.answers import Answer
from interceptor.simulator.commands import extension
from interceptor.simulator.commands.base import Asked
from interceptor.simulator.core import Core, race
from interceptor.simulator.ozml.document import attribute
from interceptor.simulator.ozml.session import Session, VerbHandler
from interceptor.simulator.ozml.third_party import as_command
from interceptor.simulator.routing import seconds
from interceptor.values import Verb

WAIT_SECONDS = 60.0


def _send(carry: Callable[[Core, Asked], Awaitable[Answer]]) -> Callable[[Session, Verb], Awaitable[None]]:
    """A verb that does what the command of its name does; its text is the message."""

    async def send(session: Session, verb: Verb) -> None:
        await carry(session.core, as_command(verb, Message=verb.text))

    return send


async def _receive_message(session: Session, _verb: Verb) -> None:
    """The oldest message, if there is one, becomes ``$message`` and ``$sender``."""
    if session.core.inbox:
        message = session.core.inbox.popleft()
        session.variables |= {"message": message.text, "sender": message.sender}


async def _wait_for_message(session: Session, verb: Verb) -> None:
    """Wait for a message, for ``Timeout`` seconds or a minute."""
    core = session.core
    if not core.inbox:
        core.message_arrived.clear()
        limit = seconds(attribute(verb, "Timeout"), WAIT_SECONDS)
        await race(core.message_arrived.wait(), core.clock.sleep(limit))
    await _receive_message(session, verb)


VERBS = (
    VerbHandler("SendSms", _send(extension.send_sms), needs_call=False),
    VerbHandler("SendEmail", _send(extension.send_email), needs_call=False),
    VerbHandler("SendMessage", _send(extension.send_message), needs_call=False),
    VerbHandler("SendMsg", _send(extension.send_message), needs_call=False),
    VerbHandler("ReceiveMessage", _receive_message, needs_call=False),
    VerbHandler("WaitForMsg", _wait_for_message, needs_call=False),
)
