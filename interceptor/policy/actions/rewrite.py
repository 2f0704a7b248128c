r"""### `rewrite`

Changes parameters of the message, and goes on reading. What no change names stays as it is, byte for byte.

| key | value | does |
| --- | --- | --- |
| `set` | `{Name: value}` | gives a parameter this value, adding it where it is missing |
| `remove` | `Name` or a list | takes parameters out |
| `rename` | `{Name: NewName}` | keeps the value, changes the name |
| `replace` | `{Name: {regex: …, with: …}}` | puts `with` for every match; `\1` is the first group, `\0` the match |
| `digits` | `{Name: {strip: "06", prefix: "+36"}}` | takes digits off the front of a number, puts others there |

A value of `set` may hold placeholders, and it may come out of a [table](#values-out-of-tables):
`set: {CallerId: {table: callers, column: shown}}`. It is looked up by the caller where no `by` says otherwise. Where
the table has none for the message, the parameter stays as it is.

`digits` takes off `strip` (the longest that fits, if it is a list) and puts `prefix` in its place. A number that begins
with none of them stays as it is, prefix and all; without `strip`, every number gets the prefix. Blanks, dashes, dots,
slashes and parentheses between the digits are passed over, and gone when the number changes. What is no number
(`sip:…`, an empty text) stays.

The changes of one rule happen in the order they are written in, those of several rules in the order of the rules.
Conditions of rules below still see the message as it arrived. The name of the message itself (`command`,
`NotificationName`) cannot be changed: the decision was made for it.

    - name: the-crm-shows-the-main-line
      on: Call
      when: {app: crm}
      rewrite:
        set: {CallerId: "+3612222222"}
        digits: {Dialed: {strip: "9"}}
"""  # noqa: D400, D415 - a page of the manual

import re
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from interceptor import document
from interceptor.document import Fields, Node, Text
from interceptor.policy.actions.outcome import EVERY_KIND, Outcome
from interceptor.policy.columns import Column, column_shape, read_column
from interceptor.policy.grammar import Reading
from interceptor.policy.patterns import read_pattern, read_replacement
from interceptor.policy.placeholders import Pattern, read_wording
from interceptor.policy.shapes import (
    TEXT,
    TEXT_OR_NOTHING,
    Shape,
    Shapes,
    any_of,
    closed,
    described,
    listed,
    named,
    rows,
)
from interceptor.values import Change, Facts, Kind, RemoveParameter, RenameParameter, ReplaceInParameter, SetParameter

KEY: Final = "rewrite"
_FIXED: Final = ("command", "notificationname")
_BETWEEN_DIGITS: Final = re.compile(r"[\s().\-/]+")
_NUMBER: Final = re.compile(r"\+?[0-9*#]+")


class SetPattern(Struct, frozen=True):
    """Give a parameter a value that the message fills."""

    name: str
    pattern: Pattern

    def change(self, facts: Facts) -> Change | None:
        """The change for one message."""
        return SetParameter(self.name, self.pattern.fill(facts))


class SetColumn(Struct, frozen=True):
    """Give a parameter the value that a table has for the message, if it has one."""

    name: str
    column: Column

    def change(self, facts: Facts) -> Change | None:
        """The change for one message."""
        value = self.column.of(facts)
        return SetParameter(self.name, value) if value else None


Varying = SetPattern | SetColumn
"""Changes that depend on the message."""


class Beginnings(Struct, frozen=True):
    """The pattern behind ``digits``: fits a number that begins with one of ``digits``, the longest of them."""

    digits: tuple[str, ...]

    def sub(self, replacement: str, text: str) -> str:
        """``text`` with ``replacement`` in place of its first digits, itself where they do not fit."""
        number = _BETWEEN_DIGITS.sub("", text)
        if not _NUMBER.fullmatch(number):
            return text
        fitting = [digits for digits in self.digits if number.startswith(digits)]
        return replacement + number[max(map(len, fitting)) :] if fitting else text


class Rewrite(Struct, frozen=True):
    """Change parameters, in order."""

    changes: tuple[Change | Varying, ...]

    @property
    def kinds(self) -> frozenset[Kind]:
        return EVERY_KIND

    @property
    def ends(self) -> bool:
        return False

    @property
    def reads(self) -> tuple[Column, ...] | None:
        if any(isinstance(change, SetPattern) for change in self.changes):
            return None
        return tuple(change.column for change in self.changes if isinstance(change, SetColumn))

    def act(self, outcome: Outcome) -> None:
        for change in self.changes:
            made = change.change(outcome.facts) if isinstance(change, Varying) else change
            if made is not None:
                outcome.changes.append(made)


def read(node: Node, reading: Reading) -> Rewrite | None:
    """The action under ``rewrite``."""
    readers: dict[str, Callable[[Node, Reading], Sequence[Change | Varying]]]
    readers = {"set": _set, "remove": _remove, "rename": _rename, "replace": _replace, "digits": _digits}
    changes: list[Change | Varying] = []
    for part in document.items(node, reading.problems, "`rewrite`"):
        entries = document.fields(part, readers, reading.problems, "`rewrite`").entries
        if isinstance(part, Fields) and not entries:
            known = ", ".join(f"`{name}`" for name in readers)
            reading.problems.add(part.place, f"`rewrite` should have one of {known}", "empty_rewrite")
        for key, value in entries:
            if key.value in readers:
                changes += readers[key.value](value, reading)
    return Rewrite(tuple(changes)) if changes else None


def _set(node: Node, reading: Reading) -> list[Change | Varying]:
    found: list[Change | Varying] = []
    for key, value in document.fields(node, None, reading.problems, "`set`").entries:
        if isinstance(value, Fields):
            column = read_column(value, reading, f"`{key.value}`", "caller")
            if _may_change(key, reading) and column is not None:
                found.append(SetColumn(key.value, column))
            continue
        word = read_wording(value, reading, f"`{key.value}`", empty=True)
        if _may_change(key, reading) and word is not None:
            found.append(SetParameter(key.value, word) if isinstance(word, str) else SetPattern(key.value, word))
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


def _digits(node: Node, reading: Reading) -> list[Change]:
    found: list[Change] = []
    problems = reading.problems
    for key, value in document.fields(node, None, problems, "`digits`").entries:
        what = f"`digits` of `{key.value}`"
        entries = document.fields(value, ("strip", "prefix"), problems, what)
        if not isinstance(value, Fields) or not _may_change(key, reading):
            continue
        strip, prefix = entries.get("strip"), entries.get("prefix")
        if not value.entries:
            problems.add(value.place, f"{what} should have one of `strip`, `prefix`", "missing_key")
            continue
        stripped = (
            ("",)
            if strip is None
            else tuple(
                _some_digits(entry, reading, f"`strip` of {what}")
                for entry in document.items(strip, problems, f"`strip` of {what}")
            )
        )
        put = "" if prefix is None else _some_digits(prefix, reading, f"`prefix` of {what}", empty=True)
        found.append(ReplaceInParameter(key.value, Beginnings(stripped), put))
    return found


def _some_digits(node: Node, reading: Reading, what: str, *, empty: bool = False) -> str:
    digits = document.text(node, reading.problems, what, empty=empty)
    document.warn_unquoted(node, reading.problems)
    if digits is not None and not _NUMBER.fullmatch(digits) and (digits or not empty) and digits != "+":
        reading.problems.add(node.place, f"{what} should be digits, here is `{digits}`", "not_digits")
    return digits or ""


def _may_change(name: Text, reading: Reading) -> bool:
    if not name.value:
        reading.problems.add(name.place, "a parameter's name should not be empty", "empty_name")
    elif name.value.lower() in _FIXED:
        message = f"`{name.value}` names the message and cannot be rewritten"
        reading.problems.add(name.place, message, "fixed_parameter")
    else:
        return True
    return False


def shape(shapes: Shapes) -> Shape:
    """What can be written under ``rewrite``."""
    told = rows(__doc__ or "")
    changes = {
        "set": named(any_of(TEXT_OR_NOTHING, column_shape(shapes))),
        "remove": listed(TEXT),
        "rename": named(TEXT),
        "replace": named(closed({"regex": TEXT, "with": TEXT}, needed=("regex", "with"))),
        "digits": named(closed({"strip": listed(TEXT), "prefix": TEXT_OR_NOTHING}, least=1)),
    }
    return listed(closed({key: described(change, told.get(key, "")) for key, change in changes.items()}, least=1))
