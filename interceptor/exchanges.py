"""An exchange on its way, as values: what arrived, what was decided and planned, how it ended.

``pipeline.py`` makes them, ``gateway/`` carries them out.
"""

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from interceptor.audit.record import ChangedParameter, DecisionRecord
from interceptor.firewall import Judged
from interceptor.policy import RuleSet
from interceptor.values import Decision, Facts, Kind, Target, ToCluster, ToUrl
from interceptor.wire.parameters import Parameters

NO_OPINION = b'<?xml version="1.0" encoding="utf-8"?>\r\n<Response/>'


class Fault(Enum):
    """How the other side, or we, failed. The values stand in the journal and the metrics."""

    UNREACHABLE = "upstream_unreachable"  # no connection: nothing was sent
    DRAINING = "draining"  # there would be a connection, but an operator wants nothing new there: nothing was sent
    OVERLOADED = "overload"  # no place in the queue, or none in time: nothing was sent
    UNRECORDED = "cannot_record"  # the journal cannot write: nothing was sent
    TIMEOUT = "upstream_timeout"  # no answer in time: it may have been carried out
    BROKEN = "upstream_broken"  # the connection broke before the answer: it may have been carried out
    UNREADABLE = "upstream_unreadable"  # the answer is not what the other side ought to say, or over a cap
    STORM = "storm"  # the same call asks again and again, and nobody presses a key
    UNROUTABLE = "unroutable"  # there is no app, or no address, to send it to
    ENGINE = "fault"  # our own exception
    BREAKER_OPEN = "breaker_open"  # an app that failed too often is left alone: nothing was sent

    __hash__ = object.__hash__  # members are single; Enum's own is made in Python and costs ten times as much


class Patience(Enum):
    """Which row of the deadlines and of the failure table a message belongs to: who waits, and what for.

    ``CALL`` is a row of the deadlines only; in the failure table a Call is a command.
    """

    COMMAND = "command"
    CALL = "call"
    ROUTING = "routing"
    INTERACTIVE = "interactive"
    REPORT = "report"

    __hash__ = object.__hash__  # members are single; Enum's own is made in Python and costs ten times as much


class Arrival(Struct, frozen=True, gc=False):
    """One whole request as an edge read it. ``headers`` has names in lower case; ``at`` is Unix time in seconds."""

    exchange: str
    listener: str
    kind: Kind
    source: str
    method: str
    target: bytes
    headers: Mapping[str, str]
    body: bytes
    at: float


class Forward(Struct, frozen=True, gc=False):
    """Send it on: to ``target``, asking for ``path`` there, with ``body`` (``None``: the body that came, untouched).

    ``guarded`` is an address that the app chose: what its name leads to is looked at once more before it is asked.
    """

    target: Target
    path: bytes
    body: bytes | None = None
    guarded: bool = False


class Answer(Struct, frozen=True, gc=False):
    """Answer in place of the other side."""

    body: bytes
    code: int | None = None
    status: int = 200


Plan = Forward | Answer


class Copy(Struct, frozen=True):
    """A copy of a message for another place, without what is secret in it; ``path`` is asked for there."""

    target: ToCluster | ToUrl
    method: str
    path: bytes
    body: bytes
    content_type: str


class Opened(Struct, gc=False):
    """An exchange that was decided. ``name`` is canonical where we know the message, as written where not.

    ``ambiguous`` says that others could read the command differently, and that it passes because config lets it.
    ``facts`` and ``changes`` are what explanations are made of; unlike the record, they are not masked. ``judged`` is
    what the firewall did to the verbs and callbacks inside the message. ``parameters`` are those of a command as it
    leaves, without the credentials of a cluster. ``hint`` is the call that a callback belongs to by what its token
    says, or the exchange in which a chain of callbacks began: what the PBX posts to one need not name a call.
    """

    arrival: Arrival
    name: str
    patience: Patience
    safe_to_repeat: bool
    app: str
    decision: Decision
    plan: Plan
    record: DecisionRecord
    ambiguous: bool
    facts: Facts
    changes: tuple[ChangedParameter, ...] = ()
    answered_at_pickup: bool = False
    judged: Judged | None = None
    parameters: Parameters | None = None
    rules: RuleSet | None = None  # that decided: verbs in the answer are judged by the same
    hint: str = ""

    @property
    def facts_of_app(self) -> Facts:
        """The facts, with the app that was to answer in the end: a rule may have chosen another."""
        return self.facts if self.facts.app == self.app else replace(self.facts, app=self.app)


class Settlement(Struct, frozen=True, gc=False):
    """How an exchange ended. ``answer`` is ``None`` where the other side's reply goes back as it came.

    ``outcome`` is ``answered`` (by the other side), ``refused`` or ``rule`` (by the policy), and where the other side
    failed what we did instead: ``failed`` for a command, else ``dial_plan``, ``fallback`` or ``kept``. ``keep`` says
    that the notification is to be delivered later; ``saved`` that a caller hears a fallback in place of silence.
    ``judged`` is what the firewall did to the answer. ``body``, if any, goes back in the place of the one that came.
    """

    outcome: str
    fault: Fault | None = None
    code: int | None = None
    answer: Answer | None = None
    well_formed: bool = True
    keep: bool = False
    saved: bool = False
    judged: Judged | None = None
    body: bytes | None = None
