"""Verbs that are heard or that listen: Speak, Play, Beep, Delay, Record, SendDTMF.

Assumed: spoken text takes ``SECONDS_PER_LETTER`` a letter, a file ``FILE_SECONDS``; a Record without Duration,
Inactivity and FinishDigits goes on beside the verbs that follow, until the call ends.
"""

from interceptor.simulator.answers import CommandError
from interceptor.simulator.commands import control
from interceptor.simulator.core import race
from interceptor.simulator.ozml.document import attribute, main
from interceptor.simulator.ozml.session import Session, VerbHandler
from interceptor.simulator.routing import seconds
from interceptor.values import Verb

SECONDS_PER_LETTER = 0.06
FILE_SECONDS = 5.0
BEEP_SECONDS = 0.5
MAX_REPEATS = 50


async def _speak(session: Session, verb: Verb) -> None:
    text = main(verb, "Text")
    if not text:
        raise CommandError(302, "Text", verb.name)
    session.hear("speak", text)
    await session.core.clock.sleep(len(text) * SECONDS_PER_LETTER)


async def _play(session: Session, verb: Verb) -> None:
    file = main(verb, "AudioFile")
    if not file:
        raise CommandError(302, "AudioFile", verb.name)
    repeats = MAX_REPEATS if (attribute(verb, "Repeat") or "").lower() == "true" else 1
    for _ in range(repeats):
        session.hear("play", file)
        await session.core.clock.sleep(FILE_SECONDS)


async def _beep(session: Session, _verb: Verb) -> None:
    session.hear("beep", "")
    await session.core.clock.sleep(BEEP_SECONDS)


async def _delay(session: Session, verb: Verb) -> None:
    await session.core.clock.sleep(seconds(main(verb, "Seconds", "Time", "Duration"), 0.0))


async def _record(session: Session, verb: Verb) -> None:
    core, call = session.core, session.call
    audio = (attribute(verb, "Format") or "mp3").lower()
    if audio not in control.FORMATS:
        raise CommandError(302, "Format", verb.name)
    finished_url = attribute(verb, "FinishedUrl") or ""
    recording = control.start_recording(core, call, audio, finished_url, session.side)
    duration = seconds(attribute(verb, "Duration"), 0.0)
    inactivity = seconds(attribute(verb, "Inactivity"), 0.0)
    finish = attribute(verb, "FinishDigits") or ""
    if not duration and not inactivity and not finish:
        return
    runners = [_finish_key(session, finish)] if finish else []
    limit = min(value for value in (duration, inactivity, 1e6) if value)
    try:
        await race(core.clock.sleep(limit), *runners)
    finally:
        if not call.over.is_set():
            core.finish_recording(call, recording)


async def _finish_key(session: Session, finish: str) -> None:
    while await session.party.key() not in finish:
        pass


async def _send_dtmf(session: Session, verb: Verb) -> None:
    keys = main(verb, "Keys")
    if not keys:
        raise CommandError(302, "Keys", verb.name)
    session.hear("keys", keys)


VERBS = (
    VerbHandler("Speak", _speak),
    VerbHandler("Play", _play),
    VerbHandler("Beep", _beep),
    VerbHandler("Delay", _delay, needs_call=False),
    VerbHandler("Record", _record),
    VerbHandler("SendDTMF", _send_dtmf),
)
