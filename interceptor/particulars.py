"""What the record of a message has to know of it: which of its parameters need care, and what the rules changed."""

from collections.abc import Mapping

from msgspec import Struct

from interceptor.audit.record import ChangedParameter
from interceptor.values import Decision, RenameParameter
from interceptor.wire import knowledge
from interceptor.wire.knowledge import MessageType, Role

_NUMBERS = frozenset({Role.NUMBER_DIALLED, Role.NUMBER_CALLER, Role.NUMBER})


class Names(Struct, frozen=True):
    """The parameter names of one type of message that the record treats in a way of their own."""

    secrets: frozenset[str]
    dtmf: frozenset[str]
    numbers: frozenset[str]


# By the id of the type, which stands beside it so that it lives as long: types are entries of the table of knowledge.
_names: dict[int, tuple[MessageType | None, Names]] = {}


def names_of(kind_of: MessageType | None) -> Names:
    """The names that a message of this type treats in a way of their own; ``None`` for one that we do not know."""
    known = _names.get(id(kind_of))
    if known is None:
        known = _names[id(kind_of)] = kind_of, _read(kind_of)
    return known[1]


def _read(kind_of: MessageType | None) -> Names:
    # By either spelling: rules may write the one that messages do not have.
    roles = {name: knowledge.role(kind_of, name) for name in (*knowledge.PARAMETER_NAMES.values(), *knowledge.ALIASES)}
    return Names(
        knowledge.SECRET_NAMES | frozenset(name for name, role in roles.items() if role is Role.SECRET),
        frozenset(name for name, role in roles.items() if role is Role.DTMF),
        frozenset(name for name, role in roles.items() if role in _NUMBERS),
    )


def differences(
    decision: Decision, before: Mapping[str, str], after: Mapping[str, str]
) -> tuple[ChangedParameter, ...]:
    """What the rules changed, in the order in which they touched it; each parameter once."""
    touched: dict[str, str] = {}
    for change in decision.changes:
        touched.setdefault(knowledge.parameter_name(change.name), change.name)
        if isinstance(change, RenameParameter):
            touched.setdefault(knowledge.parameter_name(change.to), change.to)
    return tuple(
        ChangedParameter(written, before.get(name), after.get(name))
        for name, written in touched.items()
        if before.get(name) != after.get(name)
    )
