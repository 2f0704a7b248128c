"""The verbs that answer CallChanged and RecordCompleted.

They are commands about a call: the notification's own, unless they name another.
"""

from interceptor.simulator.answers import MESSAGES, OK
from interceptor.simulator.calls import Call
from interceptor.simulator.commands.base import Asked
from interceptor.simulator.core import Core
from interceptor.simulator.events import VerbFailed, VerbRan
from interceptor.values import Verb

MAIN_PARAMETER = {
    "blindtransfer": "target",
    "forward": "destination",
    "forwardcall": "destination",
    "play": "audiofile",
    "speak": "text",
    "senddtmf": "keys",
}
"""The parameter that a verb's text stands for."""

VERBS = frozenset(
    {
        "attendedtransfer",
        "blindtransfer",
        "forward",
        "forwardcall",
        "hangup",
        "hold",
        "unhold",
        "play",
        "record",
        "senddtmf",
        "speak",
    }
)


def as_command(verb: Verb, **defaults: str) -> Asked:
    """A verb as the command of the same name would have asked for it."""
    name = verb.name.lower()
    values = {key.lower(): value for key, value in verb.attributes}
    if verb.text and name in MAIN_PARAMETER:
        values.setdefault(MAIN_PARAMETER[name], verb.text)
    for parameter, value in defaults.items():
        values.setdefault(parameter.lower(), value)
    return Asked(verb.name, values)


async def run_third_party(core: Core, call: Call, verbs: tuple[Verb, ...]) -> None:
    """Carry out third party verbs in order; one that fails does not stop the next."""
    for verb in verbs:
        asked = as_command(verb, CallId=call.id)
        if verb.name.lower() == "attendedtransfer":
            asked = as_command(verb, TransferredCallId=call.id)
        if verb.name.lower() not in VERBS:
            code, message = 303, MESSAGES[303].format(verb.name)
        else:
            core.log.append(
                VerbRan(
                    at=core.clock.now(), call_id=call.id, name=verb.name, attributes=verb.attributes, text=verb.text
                )
            )
            answer = await core.carry_out(core, asked)
            code, message = answer.code, answer.message
        if code != OK:
            core.log.append(
                VerbFailed(at=core.clock.now(), call_id=call.id, name=verb.name, code=code, message=message)
            )
