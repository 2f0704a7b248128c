"""Reads what callers hear in place of an app: one list of verbs, or one for each notification."""

from typing import Any, Final

from interceptor import document
from interceptor.config.reading import Reading, Table, path_below_base, section
from interceptor.document import Fields, Node, nearest
from interceptor.fallbacks import HEARD, placeholders
from interceptor.policy.verbs import STRUCTURE, read_verbs, worded
from interceptor.values import Place, Verb
from interceptor.wire import knowledge
from interceptor.wire.ozml import decode_verbs

EVERY: Final = "default"
_LARGEST: Final = 1 << 20
_INNER: Final = frozenset(name.lower() for name in STRUCTURE)


def fallback(node: Node, read: Reading, path: str) -> dict[str, tuple[Verb, ...]]:
    """The verbs by the notification they answer; under ``default`` those for all that have none of their own."""
    if not isinstance(node, Fields) or (len(node.entries) == 1 and node.get("file") is not None):
        return {EVERY: _verbs(node, read, path)}
    found: dict[str, tuple[Verb, ...]] = {}
    for key, child in document.fields(node, None, read.problems, f"`{path}`").entries:
        known = knowledge.notification(key.value)
        name = key.value if known is None else known.name
        if name != EVERY and name not in HEARD:
            choices = (EVERY, *sorted(HEARD))
            hint = nearest(key.value, choices) or f", known are {', '.join(f'`{each}`' for each in choices)}"
            message = f"no caller waits for the answer to `{key.value}`{hint}"
            read.problems.add(key.place, message, "not_heard")
        elif name in found:
            read.problems.add(key.place, f"`{name}` stands twice in `{path}`", "duplicate")
        else:
            found[name] = _verbs(child, read, f"{path}.{name}")
    return found


def _verbs(node: Node, read: Reading, path: str) -> tuple[Verb, ...]:
    if isinstance(node, Fields):
        return _from_file(node, read, path)
    # Written like the verbs of a rule's answer; an empty list is told here, since silence helps no caller.
    document.items(node, read.problems, f"`{path}`")
    return read_verbs(node, knowledge.VERBS, read.problems, placeholders(read.problems))


def _from_file(node: Fields, read: Reading, path: str) -> tuple[Verb, ...]:
    file = section(node, read, path, FALLBACK).get("file")
    if file is None:
        return ()
    place = node.entries[0][1].place
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST + 1)
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or "no such file"
        read.problems.add(place, f"the fallback `{file}` cannot be read: {reason.lower()}", "bad_fallback")
        return ()
    verbs = decode_verbs(data, _LARGEST)
    if not verbs:
        told = "cannot be read as OzML" if verbs is None else "holds no verb"
        read.problems.add(place, f"the fallback `{file}` {told}", "bad_fallback")
        return ()
    _check_names(verbs, read, place, str(file))
    worded(verbs, place, placeholders(read.problems))
    return verbs


def _check_names(verbs: tuple[Verb, ...], read: Reading, place: Place, file: str) -> None:
    for each in verbs:
        if knowledge.verb(each.name) is None and each.name.lower() not in _INNER and each.name.isidentifier():
            hint = nearest(each.name, (*knowledge.VERBS, *STRUCTURE))
            read.problems.add(place, f"unknown verb `{each.name}` in `{file}`{hint}", "unknown_verb")
        _check_names(each.children, read, place, file)


FALLBACK: Final[Table] = {"file": path_below_base}
"""What stands in the place of a list of verbs."""


def parts(written: dict[str, Any] | None) -> tuple[tuple[Verb, ...], dict[str, tuple[Verb, ...]]]:
    """What answers all notifications, and what answers some."""
    named = dict(written or {})
    return named.pop(EVERY, ()), named
