"""What messages mean for the state of their call, and when: as they are seen, and as their exchange has ended."""

from collections.abc import Mapping
from typing import Final

from interceptor.calls.sighting import Closing, Sighting
from interceptor.calls.states import PBX_STATES, Cause, Signal
from interceptor.values import Kind, Verdict

type Meaning = tuple[Signal, Cause | None] | None

CALLING: Final = frozenset({"Call", "CallSetup", "Request"})
"""The commands and verbs that want a call."""

_TOLD: Final[Mapping[str, Meaning]] = {
    "IncomingCall": (Signal.RANG, None),
    "CallConnected": (Signal.ANSWERED, None),
    "DtmfEntered": (Signal.TALKED, None),
    "GoTo": (Signal.TALKED, None),
    "Error": (Signal.ENDED, Cause.ERROR),
}
_CARRIED_OUT: Final[Mapping[str, Meaning]] = {
    "Call": (Signal.ACCEPTED, None),
    "CallSetup": (Signal.ACCEPTED, None),
    "Request": (Signal.ACCEPTED, None),
    "Forward": (Signal.ROUTED, None),
    "ForwardCall": (Signal.ROUTED, None),
    "Hangup": (Signal.ENDED, Cause.HUNG_UP),
    "Hold": (Signal.HELD, None),
    "Unhold": (Signal.TALKED, None),
    "BlindTransfer": (Signal.TRANSFERRED, None),
    "AttendedTransfer": (Signal.TRANSFERRED, None),
}
_ANSWERED: Final = frozenset({"answered", "rule", "fallback"})
_OK: Final = 200
_NOT_FOUND: Final = 601
_UNCERTAIN: Final = frozenset({904, 906})  # it may have been carried out


def seen(sighting: Sighting) -> Meaning:
    """What a message means when it is seen, before anybody has answered it."""
    if sighting.kind is Kind.COMMAND:
        if sighting.name not in CALLING:
            return None
        return (Signal.ASKED, None) if sighting.verdict is Verdict.ALLOW else (Signal.ENDED, Cause.REFUSED)
    if sighting.kind is Kind.VERB:
        return (Signal.ASKED, None) if sighting.name in CALLING else None
    name = sighting.name
    if name == "RoutingInterception":
        return (Signal.RETRIED if is_retry(sighting) else Signal.ASKED), None
    if name in _TOLD:
        return _TOLD[name]
    return PBX_STATES.get(sighting.state.lower()) if sighting.state else None


def closed(sighting: Sighting, closing: Closing) -> Meaning:
    """What it means how an exchange ended."""
    if sighting.kind is Kind.COMMAND:
        return _command_closed(sighting, closing)
    given = sighting.reply or closing.answered
    if sighting.name == "RoutingInterception":
        if _is_rejected(sighting, closing):
            return Signal.ENDED, Cause.REJECTED
        if is_retry(sighting) and "Route" not in given:
            return Signal.ENDED, Cause.UNANSWERED
        return Signal.ROUTED, None
    if sighting.name == "IncomingCall":
        if closing.outcome not in _ANSWERED:
            return None
        return (Signal.ENDED, Cause.REJECTED) if given[:1] == ("Reject",) else (Signal.ANSWERED, None)
    if "BlindTransfer" in given or "AttendedTransfer" in given:
        return Signal.TRANSFERRED, None
    return None


def is_retry(sighting: Sighting) -> bool:
    """Whether a RoutingInterception says that an attempt has failed."""
    return sighting.state.lower() not in {"", "calling"}


def _command_closed(sighting: Sighting, closing: Closing) -> Meaning:
    if sighting.verdict is not Verdict.ALLOW:
        return None
    code = closing.code
    if code == _OK:
        return _CARRIED_OUT.get(sighting.name)
    if sighting.name in CALLING:
        return None if code is None or code in _UNCERTAIN else (Signal.ENDED, Cause.FAILED)
    return (Signal.ENDED, Cause.GONE) if code == _NOT_FOUND and sighting.name != "AttendedTransfer" else None


def _is_rejected(sighting: Sighting, closing: Closing) -> bool:
    """Whether the answer was a Route to nowhere: one with a destination has a record of its own."""
    if "Route" not in closing.answered:
        return False
    return not any(said.name == "Route" and said.number for said in sighting.said)


def uncertain(sighting: Sighting, closing: Closing) -> bool:
    """Whether nobody knows if a call that was asked for has begun."""
    wants = sighting.kind is Kind.COMMAND and sighting.name in CALLING and sighting.verdict is Verdict.ALLOW
    return wants and (closing.code is None or closing.code in _UNCERTAIN)
