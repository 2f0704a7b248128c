"""Everything we know of the PBX's names: one table of commands, notifications and verbs, both generations.

Names are compared without case, in ASCII only: see :func:`lower`. A name that is not here is no error; the message
passes to the rules as what it is, and :func:`unknown` says which of its parameters are taken for numbers then.

The rows stand in ``table.py``, their types in ``vocabulary.py``; this is the door to both.
"""

from collections import Counter

from interceptor.values import Kind
from interceptor.wire.table import (
    COMMAND_TYPES,
    NOTIFICATION_TYPES,
    SECRET_NAMES,
    STRUCTURE,
    VERB_TYPES,
)
from interceptor.wire.vocabulary import (
    ALIASES,
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

__all__ = [
    "ALIASES",
    "CALLBACK_PLACES",
    "CALL_IDS",
    "COMMANDS",
    "COMMAND_TYPES",
    "DIALLED",
    "NOTIFICATIONS",
    "NOTIFICATION_TYPES",
    "PARAMETER_NAMES",
    "SECRET_NAMES",
    "SPELLED_NAMES",
    "STRUCTURE",
    "VERBS",
    "VERB_TYPES",
    "CallbackPlace",
    "Generation",
    "Group",
    "MessageType",
    "ParameterType",
    "Role",
    "VerbSet",
    "command",
    "lower",
    "notification",
    "parameter_name",
    "role",
    "unknown",
    "verb",
]


def command(name: str) -> MessageType | None:
    """What is known of a command, its name in any case."""
    return _COMMANDS.get(name) or _COMMANDS.get(lower(name))


def notification(name: str) -> MessageType | None:
    """What is known of a notification, its name in any case."""
    return _NOTIFICATIONS.get(name) or _NOTIFICATIONS.get(lower(name))


def verb(name: str) -> MessageType | None:
    """What is known of a verb, its name in any case."""
    return _VERBS.get(name) or _VERBS.get(lower(name))


def unknown(kind: Kind) -> MessageType:
    """What is assumed of a message whose name is not in the table.

    It dials whatever parameter any message of its kind dials: a command that a later PBX brings is judged by its number
    as well, though we do not know it.
    """
    return _UNKNOWN[kind]


def role(message: MessageType | None, parameter: str) -> Role:
    """The role of a parameter, its name in lower case.

    One that is not listed with the message has the role it has elsewhere, the one needing most care where these differ:
    a password is a secret wherever it is put.
    """
    known = message.parameters.get(parameter) if message is not None else None
    if known is not None:
        return known.role
    parameter = ALIASES.get(parameter, parameter)
    return Role.SECRET if parameter in SECRET_NAMES else _ROLES.get(parameter, Role.PLAIN)


def _by_name(types: tuple[MessageType, ...]) -> dict[str, MessageType]:
    return {spelling: each for each in types for spelling in (each.name, lower(each.name))}


def _assumed(kind: Kind, types: tuple[MessageType, ...]) -> MessageType:
    return MessageType(
        kind=kind,
        name="",
        dialled=tuple(dict.fromkeys(name for each in types for name in each.dialled)),
        caller=tuple(dict.fromkeys(name for each in types for name in each.caller)),
        secrets=SECRET_NAMES,
        notification_group=Group.REPORT if kind is Kind.NOTIFICATION else None,
    )


def _roles_elsewhere(types: tuple[MessageType, ...]) -> dict[str, Role]:
    care = list(Role)
    roles: dict[str, Role] = {}
    for each in types:
        for name, parameter in each.parameters.items():
            compared = parameter_name(name)
            roles[compared] = min(parameter.role, roles.get(compared, Role.PLAIN), key=care.index)
    return roles


_ALL = COMMAND_TYPES + NOTIFICATION_TYPES + VERB_TYPES
_COMMANDS = _by_name(COMMAND_TYPES)
_NOTIFICATIONS = _by_name(NOTIFICATION_TYPES)
_VERBS = _by_name(VERB_TYPES)
_UNKNOWN = {
    Kind.COMMAND: _assumed(Kind.COMMAND, COMMAND_TYPES),
    Kind.NOTIFICATION: _assumed(Kind.NOTIFICATION, NOTIFICATION_TYPES),
    Kind.VERB: _assumed(Kind.VERB, VERB_TYPES),
}
_ROLES = _roles_elsewhere(_ALL)

COMMANDS: tuple[str, ...] = tuple(each.name for each in COMMAND_TYPES)
NOTIFICATIONS: tuple[str, ...] = tuple(each.name for each in NOTIFICATION_TYPES)
VERBS: tuple[str, ...] = tuple(each.name for each in VERB_TYPES)
_CALL_ID_USES = Counter(
    parameter_name(name)
    for each in _ALL
    for name, parameter in each.parameters.items()
    if parameter.role is Role.CALL_ID
)
CALL_IDS: tuple[str, ...] = tuple(name for name, _ in _CALL_ID_USES.most_common())  # in lower case
DIALLED: dict[Kind, dict[str, tuple[str, ...]]] = {  # the messages that dial, and the parameters that may carry what
    Kind.COMMAND: {each.name: each.dialled for each in COMMAND_TYPES if each.dialled},
    Kind.NOTIFICATION: {each.name: each.dialled for each in NOTIFICATION_TYPES if each.dialled},
    Kind.VERB: {each.name: each.dialled for each in VERB_TYPES if each.dialled},
}
CALLBACK_PLACES: tuple[CallbackPlace, ...] = tuple(place for each in _ALL for place in each.callbacks)

# every spelling of a parameter's name in the reference, and its lower case, to the name that it is compared by
PARAMETER_NAMES: dict[str, str] = {
    spelling: parameter_name(name)
    for each in _ALL
    for name, parameter in each.parameters.items()
    for spelling in (parameter.name, name, parameter.name.capitalize())
}
SPELLED_NAMES = frozenset(parameter.name for each in _ALL for parameter in each.parameters.values())
"""The names of parameters as the reference spells them, for people."""
