"""Third party call control: what an app does to a running call by its id. The verbs of the same names come here too."""

from interceptor.simulator.answers import Answer, CommandError
from interceptor.simulator.calls import Call, CallState, Party, Recording
from interceptor.simulator.commands.base import BOTH, NEW, OLD, Asked, Command
from interceptor.simulator.core import Core, Order

FORMATS = frozenset({"mp3", "wav"})


def transfer(core: Core, call: Call, *, transferor: Party, target: str, finished_url: str = "") -> Call:
    """End a call for the one who transfers; the other goes on to ``target`` in a call of its own."""
    staying = call.legs[transferor.other].number
    shown = call.caller_id if transferor is Party.CALLEE else staying
    core.finish(call, CallState.TRANSFERRED, by=transferor.value)
    call.continued = core.place(Order(caller=staying, dialled=target, caller_id=shown, transfer_url=finished_url))
    return call.continued


async def blind_transfer(core: Core, asked: Asked) -> Answer:
    """``TransferorParty`` is read as the table of the reference says: the party that makes the transfer."""
    call = asked.call(core)
    party = asked.need("TransferorParty").lower()
    if party not in {"caller", "callee"}:
        raise CommandError(302, "TransferorParty", asked.name)
    target = asked.need("Target")
    transfer(core, call, transferor=Party(party), target=target, finished_url=asked.address("FinishedUrl"))
    return Answer()


async def attended_transfer(core: Core, asked: Asked) -> Answer:
    """Put the caller of one call and the callee of another together; both calls end as transferred."""
    name = "TransferredCallId" if asked.get("TransferredCallId") else "TranferredCallId"
    parameter = name if asked.get(name) else "TransferredCallId"
    transferred, target = asked.call(core, parameter), asked.call(core, "TargetCallId")
    if transferred is target:
        raise CommandError(302, "TargetCallId", asked.name)
    caller, callee = transferred.caller, target.callee
    for call in (transferred, target):
        core.finish(call, CallState.TRANSFERRED, by="api")
    joined = core.place(Order(caller=caller, dialled=callee, caller_id=transferred.caller_id, answered=True))
    transferred.continued = target.continued = joined
    return Answer()


async def forward(core: Core, asked: Asked) -> Answer:
    """Only while it rings."""
    call, destination = asked.call(core), asked.need("Destination")
    if call.state is not CallState.RINGING:
        raise CommandError(303, asked.name)
    call.forwarded_to = destination
    call.forwarded.set()
    return Answer()


async def hangup(core: Core, asked: Asked) -> Answer:
    """Ringing calls are cancelled, all others completed."""
    call = asked.call(core)
    ringing = call.answered_at is None
    core.finish(call, CallState.CANCELLED if ringing else CallState.COMPLETED, by="api")
    return Answer()


async def hold(core: Core, asked: Asked) -> Answer:
    """Both legs go to Hold."""
    call = asked.call(core)
    if call.state is not CallState.IN_CALL:
        raise CommandError(303, asked.name)
    core.enter(call, CallState.HOLD)
    return Answer()


async def unhold(core: Core, asked: Asked) -> Answer:
    """Only undoes Hold."""
    call = asked.call(core)
    if call.state is not CallState.HOLD:
        raise CommandError(303, asked.name)
    core.enter(call, CallState.IN_CALL)
    return Answer()


async def play(core: Core, asked: Asked) -> Answer:
    """The file's name is what the parties hear."""
    call, file = asked.call(core), asked.need("AudioFile")
    for party in asked.parties():
        core.sound(call, party, "play", file)
    return Answer()


async def speak(core: Core, asked: Asked) -> Answer:
    """The text is what the parties hear."""
    call, text = asked.call(core), asked.need("Text")
    for party in asked.parties():
        core.sound(call, party, "speak", text)
    return Answer()


async def record(core: Core, asked: Asked) -> Answer:
    """Record until the call ends."""
    call, audio = asked.call(core), asked.get("Format", "mp3").lower()
    if audio not in FORMATS:
        raise CommandError(302, "Format", asked.name)
    start_recording(core, call, audio, asked.address("FinishedURL"), None)
    return Answer()


def start_recording(core: Core, call: Call, audio: str, finished_url: str, party: Party | None) -> Recording:
    """Begin a recording; the file's address is new each time."""
    number = core.new_message_id()[-6:]
    url = f"{core.record_url}/{call.id}-{number}.{audio}"
    recording = Recording(url, finished_url, core.clock.now(), party)
    call.recordings.append(recording)
    return recording


async def send_dtmf(core: Core, asked: Asked) -> Answer:
    """The party hears the tones; where OzML runs that end, they arrive there as if the other end had pressed them."""
    call, keys = asked.call(core), asked.need("Keys")
    if not set(keys) <= set("0123456789#*ABCD"):
        raise CommandError(302, "Keys", asked.name)
    for party in asked.parties():
        core.sound(call, party, "keys", keys)
        if call.legs[party].session is not None:
            call.legs[party.other].press(keys)
    return Answer()


async def beep(core: Core, asked: Asked) -> Answer:
    """Both parties hear it unless one is named (Ozeki 10)."""
    call = asked.call(core)
    for party in asked.parties() if asked.get("Party") else tuple(Party):
        core.sound(call, party, "beep", "")
    return Answer()


COMMANDS = (
    Command("AttendedTransfer", BOTH, attended_transfer),
    Command("BlindTransfer", BOTH, blind_transfer),
    Command("Forward", OLD, forward),
    Command("ForwardCall", NEW, forward),
    Command("Hangup", BOTH, hangup),
    Command("Exit", NEW, hangup),
    Command("Beep", NEW, beep),
    Command("Hold", BOTH, hold),
    Command("Unhold", BOTH, unhold),
    Command("Play", BOTH, play),
    Command("Record", BOTH, record),
    Command("SendDTMF", BOTH, send_dtmf),
    Command("Speak", BOTH, speak),
)
