"""What is said where something failed, by who waits: the answers of the failure table (``docs/failures.md``)."""

from collections.abc import Mapping
from typing import Final

from interceptor.exchanges import NO_OPINION, Answer, Fault, Patience, Settlement
from interceptor.fallbacks import Fallbacks
from interceptor.settings import App
from interceptor.values import Facts
from interceptor.wire import answers
from interceptor.wire.codes import Code, drained, sentence

_CODES: Final = {
    Fault.UNREACHABLE: Code.PBX_UNREACHABLE,
    Fault.DRAINING: Code.PBX_UNREACHABLE,
    Fault.OVERLOADED: Code.OVERLOADED,
    Fault.UNRECORDED: Code.CANNOT_RECORD,
    Fault.TIMEOUT: Code.NO_ANSWER_IN_TIME,
    Fault.BROKEN: Code.NO_ANSWER_IN_TIME,
    Fault.UNREADABLE: Code.UNREADABLE_ANSWER,
    Fault.UNROUTABLE: Code.PBX_UNREACHABLE,
    Fault.STORM: Code.OVERLOADED,
    Fault.ENGINE: Code.INTERNAL_FAULT,
    Fault.BREAKER_OPEN: Code.PBX_UNREACHABLE,
}


class FailureTable:
    """What each fault is answered with, and what becomes of the message."""

    def __init__(self, apps: Mapping[str, App]) -> None:
        self._fallbacks = Fallbacks(apps)

    def settle(self, fault: Fault, patience: Patience, facts: Facts, exchange: str) -> Settlement:
        """A command gets a code, a caller what the app has as its fallback, and a report is kept."""
        match patience:
            case Patience.COMMAND | Patience.CALL:
                code = _CODES[fault]
                said = drained(exchange) if fault is Fault.DRAINING else sentence(code, exchange)
                return Settlement("failed", fault, code, Answer(answers.encode_answer(code, said), code))
            case Patience.ROUTING | Patience.INTERACTIVE:
                routing = patience is Patience.ROUTING
                fallback = self._fallbacks.answer(facts, named=routing)
                if fallback is None:
                    return Settlement("dial_plan" if routing else "lost", fault, None, Answer(NO_OPINION))
                return Settlement("fallback", fault, None, Answer(fallback), saved=True)
            case Patience.REPORT:
                return Settlement("kept", fault, None, Answer(NO_OPINION), keep=True)
