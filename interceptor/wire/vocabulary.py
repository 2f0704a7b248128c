"""The types that knowledge of the PBX is written in, and the one way names are compared."""

from enum import Enum

from msgspec import Struct

from interceptor.values import Kind


class Generation(Enum):
    """The two PBX generations whose dialects we speak."""

    PHONE_SYSTEM = "phone_system"  # Ozeki Phone System, http://host:7780/?command=...
    TEN = "ten"  # Ozeki 10, http://host:9509/api?command=...


class Role(Enum):
    """What a parameter is for, as far as a proxy has to care; those that need most care come first."""

    SECRET = "secret"  # noqa: S105 (a role, not a password)
    DTMF = "dtmf"  # digits that may be a PIN
    NUMBER_DIALLED = "number_dialled"  # the message makes the PBX dial it, or send to it
    NUMBER_CALLER = "number_caller"  # who calls, or is shown as calling
    NUMBER = "number"  # a number that is only told or searched for
    EXTENSION = "extension"  # an extension or user of the PBX
    OZML = "ozml"  # verbs inside a parameter
    CALLBACK = "callback"  # a URL that a notification will be sent to
    CALL_ID = "call_id"
    FREE_TEXT = "free_text"  # people's words: spoken, sent or shown
    FILE = "file"  # a file or folder of the PBX, or the URL of one
    PLAIN = "plain"


class Group(Enum):
    """How a notification behaves when its app fails."""

    ROUTING = "routing"  # the caller waits for a ring; no opinion is a good answer
    INTERACTIVE = "interactive"  # the caller hears silence; a call is lost without an answer
    REPORT = "report"  # nobody waits; it can be told later


class VerbSet(Enum):
    """Which answers a verb may stand in."""

    ROUTING = "routing"
    THIRD_PARTY = "third_party"
    EXTENSION = "extension"


class ParameterType(Struct, frozen=True):
    """One parameter of a message.

    ``mandatory`` is what the reference says; vendor examples leave some of these out, so it is no ground for a
    refusal. ``as_text``: in a verb, the element's text may stand in place of the attribute. ``leads_to`` is the
    notification that a callback receives, ``""`` where the reference gives it no name.
    """

    name: str
    role: Role = Role.PLAIN
    mandatory: bool = False
    as_text: bool = False
    leads_to: str = ""
    generations: frozenset[Generation] = frozenset(Generation)


class CallbackPlace(Struct, frozen=True):
    """A place where a callback URL stands; ``in_text`` where the element's text may carry it as well.

    ``notification`` is what will be sent there, ``""`` where the reference gives it no name. ``holds_verbs`` marks a
    parameter that is no URL but OzML, with callback places of its own inside.
    """

    kind: Kind
    message: str
    parameter: str
    notification: str = ""
    in_text: bool = False
    holds_verbs: bool = False


class MessageType(Struct, frozen=True):
    """All we know of one command, notification or verb.

    ``dialled`` and ``caller`` name the parameters, in lower case, that carry the number it dials and the number that
    calls: the first that is there with a value is the one meant. ``text`` is the parameter, in lower case, that the
    text of a verb's element stands for, ``""`` where there is none. ``answered_at_pickup`` says that the PBX may answer
    only when somebody picks up (reference, `Call`: unclear, code 402 suggests it).
    """

    kind: Kind
    name: str
    generations: frozenset[Generation] = frozenset(Generation)
    parameters: dict[str, ParameterType] = {}
    dialled: tuple[str, ...] = ()
    caller: tuple[str, ...] = ()
    callbacks: tuple[CallbackPlace, ...] = ()
    secrets: frozenset[str] = frozenset()
    text: str = ""
    safe_to_repeat: bool = False
    answered_at_pickup: bool = False
    notification_group: Group | None = None
    verb_sets: frozenset[VerbSet] = frozenset()


_CAPITALS_TO_SMALL = {capital: capital + 32 for capital in range(ord("A"), ord("Z") + 1)}


def lower(name: str) -> str:
    """A name as it is compared: ASCII capitals made small, every other character kept.

    ``str.lower`` would fold more than the PBX does: the Kelvin sign becomes a ``k`` and a capital I with a dot two
    characters, so that a parameter the PBX does not know would look to us like one it does.
    """
    return name.lower() if name.isascii() else name.translate(_CAPITALS_TO_SMALL)


# Other spellings that the vendor prints, to the one they stand for, in lower case. A message with both is ambiguous.
ALIASES: dict[str, str] = {
    "dialled": "dialed",
    "delivaryreporturl": "deliveryreporturl",
    "tranferredcallid": "transferredcallid",
}


def parameter_name(name: str) -> str:
    """A parameter's name as it is compared: as :func:`lower` says, every spelling of one parameter the same."""
    name = lower(name)
    return ALIASES.get(name, name)
