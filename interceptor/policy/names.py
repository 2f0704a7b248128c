"""## `on`: which messages a rule is for

One of these, or a list of them:

| `on` | the messages |
| --- | --- |
| `Call`, `RoutingInterception`, `Speak`, … | of that name, spelled as in the reference; a name that is both a command and a verb (`Call`, `BlindTransfer`, `SendSms`) means both |
| `command:Call`, `verb:Call` | of that name and only that kind |
| `command`, `notification`, `verb` | all of that kind |
| `"*"` | all |
| `other:TransferDone` | of that name, which the reference does not list, whatever the kind |

A command is what an app asks of the PBX, a notification is what the PBX tells an app, a verb is one instruction in the
app's answer.

    on: [Call, BlindTransfer, "command:Forward"]
    on: notification
    on: "other:TransferDone"
"""  # noqa: D400, D415, E501 - a page of the manual

from typing import Final

from interceptor import document
from interceptor.document import Node
from interceptor.policy.grammar import Reading
from interceptor.policy.tags import NamesBelow
from interceptor.values import Kind

OTHER: Final = "other"  # before a name that the reference does not list
ANY: Final = ""  # stands for every name of a kind
_KINDS: Final = {kind.value: kind for kind in Kind}

Names = dict[Kind, frozenset[str]]
"""Per kind the names a rule is for; ``ANY`` for all of the kind. Unknown names are in lower case."""


def names_below(names: Names) -> NamesBelow:
    """The names as messages are compared with them whose spelling is not known."""
    return {
        kind: None if ANY in several else frozenset(name.lower() for name in several) for kind, several in names.items()
    }


def read_names(node: Node, reading: Reading, allowed: frozenset[Kind], who: str) -> Names:
    """The messages that ``on`` names, as far as the rule's actions, which ``who`` describes, are for their kinds."""
    found: dict[Kind, set[str]] = {}
    for entry in document.items(node, reading.problems, "`on`"):
        word = document.text(entry, reading.problems, "`on`")
        if word is None:
            continue
        named = _named(word, entry, reading)
        if named and not any(kind in allowed for kind, _ in named):
            kinds = " and ".join(sorted(f"{kind.value}s" for kind in allowed)) or "no message"
            is_a = "is " + " and ".join(f"a {kind.value}" for kind in dict.fromkeys(kind for kind, _ in named))
            is_a = f"means all {word}s" if word in _KINDS else is_a
            reading.problems.add(entry.place, f"`{word}` {is_a}, but {who} is for {kinds}", "wrong_kind")
        for kind, name in named:
            if kind in allowed:
                found.setdefault(kind, set()).add(name)
    return {kind: frozenset((ANY,)) if ANY in names else frozenset(names) for kind, names in found.items()}


def _named(word: str, node: Node, reading: Reading) -> list[tuple[Kind, str]]:
    """The kinds and names that one word means; none after a problem."""
    context = reading.context
    if word == "*":
        return [(kind, ANY) for kind in Kind]
    if word in _KINDS:
        return [(_KINDS[word], ANY)]
    prefix, colon, name = word.partition(":")
    if colon and prefix == OTHER:
        return _other(name.strip(), node, reading)
    if not colon:
        kinds, name = tuple(Kind), word
    elif prefix in _KINDS:
        kinds, name = (_KINDS[prefix],), name.strip()
    else:
        hint = document.nearest(prefix, (*_KINDS, OTHER)) or ", known are `command`, `notification`, `verb`, `other`"
        reading.problems.add(node.place, f"unknown kind `{prefix}` in `on`{hint}", "unknown_kind")
        return []
    named = [(kind, name) for kind in kinds if name in context.names(kind)]
    if not named:
        known = [known for kind in kinds for known in context.names(kind)]
        what = f"unknown {kinds[0].value}" if len(kinds) == 1 else "unknown name"
        hint = document.nearest(name, known if colon else (*known, *_KINDS, "*"))
        hint = hint or f"; a name that the reference does not list is written `other:{name}`"
        reading.problems.add(node.place, f"{what} `{name}` in `on`{hint}", "unknown_name")
    return named


def _other(name: str, node: Node, reading: Reading) -> list[tuple[Kind, str]]:
    lower = name.lower()
    known = [known for kind in Kind for known in reading.context.names(kind) if known.lower() == lower]
    if not name or known:
        message = f"`{known[0]}` is known, write it without `other:`" if known else "`other:` should name a message"
        reading.problems.add(node.place, message, "not_other")
        return []
    return [(kind, lower) for kind in Kind]
