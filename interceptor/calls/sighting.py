"""What one message shows of a call: the values that the fold is fed with, and that ladders are drawn from.

``interceptor/sightings.py`` makes them of audit records. Numbers are as the record shows them, masked or not; numbers
that are equal there are taken for equal here.
"""

from msgspec import Struct

from interceptor.values import Kind, Verdict


class Changed(Struct, frozen=True, array_like=True, gc=False):
    """A parameter that left otherwise than it came; ``None`` means that it was not there."""

    name: str
    before: str | None
    after: str | None


class Said(Struct, array_like=True, gc=False):
    """A verb of an answer that has a record of its own: it dials, it was refused, or a rule touched it.

    ``menu`` is what has to be pressed before it runs, if it stands in a menu: then it may never run.
    """

    name: str
    verdict: Verdict
    number: str = ""
    call_id: str = ""
    rules: tuple[str, ...] = ()
    changes: tuple[Changed, ...] = ()
    code: int | None = None
    menu: str = ""


class Closing(Struct, array_like=True, gc=False):
    """How an exchange ended.

    ``answered`` are the names of the verbs that went back, those at the top of the document; ``code`` is the PBX's (or
    our) code. Times are microseconds.
    """

    exchange: str
    at: float
    outcome: str
    code: int | None = None
    endpoint: str = ""
    answered: tuple[str, ...] = ()
    verbs: int = 0
    refused: int = 0
    captured: int = 0
    upstream_microseconds: int = 0
    total_microseconds: int = 0


class Sighting(Struct, array_like=True, gc=False):
    """One message about a call, and what became of its exchange as far as that is known.

    ``call_id`` is the call's id at the PBX, ``other_id`` that of a second call it names; ``origin`` the exchange in
    which the callback was captured that it came to. ``state`` is the PBX's word for the call's state. ``caller`` and
    ``dialled`` are what it says of the call; ``target`` is where the call is to go next (a transfer), ``last`` where
    it was tried before. ``to`` is the app or cluster that it goes to, ``gist`` what else it says, for people.
    """

    exchange: str
    at: float
    kind: Kind
    name: str
    app: str = ""
    call_id: str = ""
    other_id: str = ""
    origin: str = ""
    caller: str = ""
    dialled: str = ""
    target: str = ""
    last: str = ""
    state: str = ""
    verdict: Verdict = Verdict.ALLOW
    reason: str = ""
    rule: str = ""
    rules: tuple[str, ...] = ()
    changes: tuple[Changed, ...] = ()
    code: int | None = None
    reply: tuple[str, ...] = ()
    to: str = ""
    source: str = ""
    revision: str = ""
    worker: str = ""
    gist: str = ""
    captured: int = 0
    said: tuple[Said, ...] = ()
    closing: Closing | None = None
