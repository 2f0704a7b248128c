r"""### `rewrite`

Changes parameters of the message, and goes on reading. What no change names stays as it is, byte for byte.

| key | value | does |
| --- | --- | --- |
| `set` | `{Name: value}` | gives a parameter this value, adding it where it is missing |
| `remove` | `Name` or a list | takes parameters out |
| `rename` | `{Name: NewName}` | keeps the value, changes the name |
| `replace` | `{Name: {regex: …, with: …}}` | puts `with` for every match; `\1` is the first group, `\0` the match |

The changes of one rule happen in the order they are written in, those of several rules in the order of the rules.
Conditions of rules below still see the message as it arrived. The name of the message itself (`command`,
`NotificationName`) cannot be changed: the decision was made for it.

    - name: the-crm-shows-the-main-line
      on: Call
      when: {app: crm}
      rewrite:
        set: {CallerId: "+3612222222"}
        replace: {Dialed: {regex: "^9([0-9]+)$", with: '\1'}}
"""  # noqa: D400, D415 - a page of the manual

from typing import Final

from msgspec import Struct

from interceptor import document
from interceptor.document import Fields, Node, Text
from interceptor.policy.actions.outcome import EVERY_KIND, Outcome
from interceptor.policy.grammar import Reading
from interceptor.policy.patterns import read_pattern, read_replacement
from interceptor.values import Change, Kind, RemoveParameter, RenameParameter, ReplaceInParameter, SetParameter

KEY: Final = "rewrite"
_FIXED: Final = ("command", "notificationname")


class Rewrite(Struct, frozen=True):
    """Change parameters, in order."""

    changes: tuple[Change, ...]

    @property
    def kinds(self) -> frozenset[Kind]:
        return EVERY_KIND

    @property
    def ends(self) -> bool:
        return False

    def act(self, outcome: Outcome) -> None:
        outcome.changes += self.changes


def read(node: Node, reading: Reading) -> Rewrite | None:
    """The action under ``rewrite``."""
    readers = {"set": _set, "remove": _remove, "rename": _rename, "replace": _replace}
    changes: list[Change] = []
    for part in document.items(node, reading.problems, "`rewrite`"):
        entries = document.fields(part, readers, reading.problems, "`rewrite`").entries
        if isinstance(part, Fields) and not entries:
            known = ", ".join(f"`{name}`" for name in readers)
            reading.problems.add(part.place, f"`rewrite` should have one of {known}", "empty_rewrite")
        for key, value in entries:
            if key.value in readers:
                changes += readers[key.value](value, reading)
    return Rewrite(tuple(changes)) if changes else None


def _set(node: Node, reading: Reading) -> list[Change]:
    found: list[Change] = []
    for key, value in document.fields(node, None, reading.problems, "`set`").entries:
        word = document.text(value, reading.problems, f"`{key.value}`", empty=True)
        if _may_change(key, reading) and word is not None:
            found.append(SetParameter(key.value, word))
    return found


def _remove(node: Node, reading: Reading) -> list[Change]:
    found: list[Change] = []
    for entry in document.items(node, reading.problems, "`remove`"):
        if document.text(entry, reading.problems, "`remove`") is None:
            continue
        if isinstance(entry, Text) and _may_change(entry, reading):
            found.append(RemoveParameter(entry.value))
    return found


def _rename(node: Node, reading: Reading) -> list[Change]:
    found: list[Change] = []
    for key, value in document.fields(node, None, reading.problems, "`rename`").entries:
        word = document.text(value, reading.problems, f"the new name of `{key.value}`")
        if isinstance(value, Text) and word is not None and _may_change(key, reading) and _may_change(value, reading):
            found.append(RenameParameter(key.value, word))
    return found


def _replace(node: Node, reading: Reading) -> list[Change]:
    found: list[Change] = []
    problems = reading.problems
    for key, value in document.fields(node, None, problems, "`replace`").entries:
        entries = document.fields(value, ("regex", "with"), problems, f"`replace` of `{key.value}`")
        if not isinstance(value, Fields):
            continue
        regex, replacement = entries.get("regex"), entries.get("with")
        if regex is None or replacement is None:
            missing = "regex" if regex is None else "with"
            problems.add(value.place, f"`replace` of `{key.value}` has no `{missing}`", "missing_key")
            continue
        pattern = read_pattern(regex, problems, "`regex`")
        if pattern is None or not _may_change(key, reading):
            continue
        if pattern.found_in(""):
            problems.add(regex.place, f"`{pattern.source}` fits the empty text, that is everywhere", "empty_match")
        with_text = read_replacement(replacement, pattern, problems)
        if with_text is not None:
            found.append(ReplaceInParameter(key.value, pattern, with_text))
    return found


def _may_change(name: Text, reading: Reading) -> bool:
    if not name.value:
        reading.problems.add(name.place, "a parameter's name should not be empty", "empty_name")
    elif name.value.lower() in _FIXED:
        message = f"`{name.value}` names the message and cannot be rewritten"
        reading.problems.add(name.place, message, "fixed_parameter")
    else:
        return True
    return False
