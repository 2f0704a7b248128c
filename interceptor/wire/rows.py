"""The words that the table of knowledge is written in: one for each role of a parameter and each kind of message."""

from collections.abc import Callable

from interceptor.values import Kind
from interceptor.wire.vocabulary import (
    CallbackPlace,
    Generation,
    Group,
    MessageType,
    ParameterType,
    Role,
    VerbSet,
    lower,
    parameter_name,
)

OPS = frozenset({Generation.PHONE_SYSTEM})
TEN = frozenset({Generation.TEN})
BOTH = OPS | TEN
M = True

type _Maker = Callable[..., ParameterType]


def _of(role: Role) -> _Maker:
    def make(
        name: str, mandatory: bool = False, generations: frozenset[Generation] = BOTH, as_text: bool = False
    ) -> ParameterType:
        return ParameterType(name, role, mandatory, as_text, "", generations)

    return make


plain = _of(Role.PLAIN)
dials = _of(Role.NUMBER_DIALLED)
shows = _of(Role.NUMBER_CALLER)
number = _of(Role.NUMBER)
extension = _of(Role.EXTENSION)
secret = _of(Role.SECRET)
call = _of(Role.CALL_ID)
digits = _of(Role.DTMF)
words = _of(Role.FREE_TEXT)
file = _of(Role.FILE)
ozml = _of(Role.OZML)


def callback(
    name: str,
    leads_to: str,
    mandatory: bool = False,
    generations: frozenset[Generation] = BOTH,
    as_text: bool = False,
) -> ParameterType:
    """A parameter that carries the URL which the notification ``leads_to`` is sent to."""
    return ParameterType(name, Role.CALLBACK, mandatory, as_text, leads_to, generations)


def _row(
    kind: Kind,
    name: str,
    parameters: tuple[ParameterType, ...],
    *,
    generations: frozenset[Generation] = BOTH,
    shown_else: tuple[str, ...] = (),
    repeat: bool = False,
    pickup: bool = False,
    group: Group | None = None,
    sets: frozenset[VerbSet] = frozenset(),
) -> MessageType:
    def named(role: Role) -> tuple[str, ...]:
        return tuple(dict.fromkeys(parameter_name(each.name) for each in parameters if each.role is role))

    return MessageType(
        kind=kind,
        name=name,
        generations=generations,
        parameters={lower(each.name): each for each in parameters},
        dialled=named(Role.NUMBER_DIALLED),
        caller=named(Role.NUMBER_CALLER) + shown_else,
        callbacks=tuple(
            CallbackPlace(kind, name, each.name, each.leads_to, each.as_text, each.role is Role.OZML)
            for each in parameters
            if each.role in (Role.CALLBACK, Role.OZML)
        ),
        secrets=frozenset(named(Role.SECRET)),
        text=next((parameter_name(each.name) for each in parameters if each.as_text), ""),
        safe_to_repeat=repeat,
        answered_at_pickup=pickup,
        notification_group=group,
        verb_sets=sets,
    )


_CREDENTIALS = (plain("command", M), plain("Username"), secret("Password"))


def command(
    name: str,
    *parameters: ParameterType,
    generations: frozenset[Generation] = BOTH,
    shown_else: tuple[str, ...] = (),
    repeat: bool = False,
    pickup: bool = False,
) -> MessageType:
    """A command; ``shown_else`` names what the PBX shows as caller when no parameter of that role is given."""
    return _row(
        Kind.COMMAND,
        name,
        _CREDENTIALS + parameters,
        generations=generations,
        shown_else=shown_else,
        repeat=repeat,
        pickup=pickup,
    )


def notification(name: str, group: Group, *parameters: ParameterType) -> MessageType:
    """A notification."""
    return _row(Kind.NOTIFICATION, name, (plain("NotificationName", M), *parameters), group=group)


ROUTING = frozenset({VerbSet.ROUTING})
THIRD = frozenset({VerbSet.THIRD_PARTY})
EXTENSION = frozenset({VerbSet.EXTENSION})


def verb(
    name: str,
    sets: frozenset[VerbSet],
    *parameters: ParameterType,
    generations: frozenset[Generation] = BOTH,
    shown_else: tuple[str, ...] = (),
) -> MessageType:
    """A verb, and the sets of verbs it belongs to."""
    return _row(Kind.VERB, name, parameters, generations=generations, shown_else=shown_else, sets=sets)
