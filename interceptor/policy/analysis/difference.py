"""The difference of two policies: the messages that come out otherwise, not the lines that changed.

Rules that stand in both policies in the same order decide alike wherever no other rule matches. So only the messages
that some other rule matches are looked at: rules that were added, taken out, changed or moved past others. A rule that
was moved and does the same there makes no difference.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from interceptor.policy.analysis.diagrams import NONE, TooLarge
from interceptor.policy.analysis.ground import grounded
from interceptor.policy.analysis.space import Box, Space
from interceptor.policy.analysis.walk import Part, Walk, differences
from interceptor.policy.analysis.words import box_text, effect_text, message_text
from interceptor.policy.context import Context
from interceptor.policy.rules import Mode, Rule
from interceptor.policy.ruleset import RuleSet
from interceptor.policy.tables import Table
from interceptor.values import Kind, Place, Verdict

STEPS: Final = 3_000_000
_MOST_BOXES: Final = 12
_MOST_MERGED: Final = 200


class Change(Struct, frozen=True):
    """Messages that come out otherwise.

    ``before`` and ``after`` say what happens to them, ``messages`` which they are, in boxes that exclude each other;
    ``more`` boxes are not told. ``example`` is one of them, ``""`` where none was found: then it cannot be decided
    whether there are any. ``was`` and ``now`` are the labels of the rules that decide, or ``the default``; where the
    verdict is the same, of those that differ in the two policies and change something.
    """

    kind: Kind
    before: str
    after: str
    messages: tuple[str, ...]
    example: str
    was: str
    now: str
    newly_allowed: bool
    newly_denied: bool
    more: int = 0


class Difference(Struct, frozen=True):
    """Everything that differs. ``complete`` is false where the policies are too large to decide it all."""

    changes: tuple[Change, ...]
    complete: bool = True

    def __bool__(self) -> bool:
        return bool(self.changes) or not self.complete


def difference(
    old: RuleSet, new: RuleSet, context: Context, old_context: Context | None = None, *, steps: int = STEPS
) -> Difference:
    """What changes when ``new`` takes the place of ``old``.

    ``new`` was read with ``context``, ``old`` with ``old_context`` or the same. Numbers are read as ``context`` does.
    """
    before = old_context or context
    merged = replace(grounded(context, new), apps=context.apps | before.apps)
    olds = [rule for rule in old.rules if rule.mode is Mode.ENFORCE]
    same = {table: kept for name, table in new.tables.items() if (kept := _equal(table, old.tables.get(name)))}
    news = [rule if not same else _with_tables(rule, same) for rule in new.rules if rule.mode is Mode.ENFORCE]
    changed_olds, changed_news = _changed(olds, news)
    changes: list[Change] = []
    complete = _with_tables(new.classes, same) == old.classes  # else a class is not the same in both
    try:
        space = Space([rule.when for rule in (*olds, *news)], [rule.names for rule in (*olds, *news)], merged, steps)
    except (TooLarge, RecursionError):
        return Difference((), complete=False)
    for kind in Kind:
        try:
            one, two = Walk(space, kind, olds, before), Walk(space, kind, news, context)
            changes += _Comparison(space, kind, one, two).changes(changed_olds, changed_news)
        except (TooLarge, RecursionError):
            complete = False
    return Difference(tuple(changes), complete)


class _Comparison:
    def __init__(self, space: Space, kind: Kind, old: Walk, new: Walk) -> None:
        self._space = space
        self._kind = kind
        self._old = old
        self._new = new
        self._secrets = space.context.secrets
        self._groups: dict[tuple[Any, ...], _Group] = {}
        self._olds: set[str] = set()  # the names of the rules that are not in both
        self._news: set[str] = set()

    def changes(self, olds: Iterable[Rule], news: Iterable[Rule]) -> Iterator[Change]:
        diagrams = self._space.diagrams
        done = NONE
        self._olds, self._news = {rule.name for rule in olds}, {rule.name for rule in news}
        for messages in self._touched(self._olds, self._news):
            left = diagrams.without(messages, done)
            done = diagrams.either(done, messages)
            if left != NONE:
                self._compare(left)
        for group in self._groups.values():
            change = self._told(group)
            if change is not None:
                yield change

    def _touched(self, olds: set[str], news: set[str]) -> Iterator[int]:
        """The messages that rules which are not in both match; all, where the defaults differ."""
        if self._old.default is not self._new.default:
            yield self._space.kind(self._kind)
            return
        yield from (entry.matches for entry in self._old.entries if entry.rule.name in olds)
        yield from (entry.matches for entry in self._new.entries if entry.rule.name in news)

    def _compare(self, messages: int) -> None:
        olds, news = _outlined(self._old.parts(messages)), _outlined(self._new.parts(messages))
        limited = NONE
        for where, old, new in differences(self._space, olds, news):
            if old is not None and new is not None:
                self._note(where, [old], [new])
            else:
                limited = self._space.diagrams.either(limited, where)
        # Where a limit stands in one policy only, what may happen is compared.
        cells = [limited] if limited != NONE else []
        for part in (*olds, *news):
            cells = [piece for cell in cells for piece in self._split(cell, part[0])]
        for cell in cells:
            before, after = self._meeting(cell, olds), self._meeting(cell, news)
            if _words(before, frozenset(), whole=True) != _words(after, frozenset(), whole=True):
                self._note(cell, before, after)

    def _split(self, messages: int, by: int) -> Iterator[int]:
        diagrams = self._space.diagrams
        yield from (piece for piece in (diagrams.both(messages, by), diagrams.without(messages, by)) if piece != NONE)

    def _meeting(self, where: int, parts: Sequence[Part]) -> list[Part]:
        return [part for part in parts if self._space.diagrams.both(part[0], where) != NONE]

    def _note(self, where: int, before: list[Part], after: list[Part]) -> None:
        was, now = _verdicts(before), _verdicts(after)
        whole = was == now
        words = _words(before, self._secrets, whole=whole), _words(after, self._secrets, whole=whole)
        labels = _end(before), _end(after)
        if whole:
            labels = (
                self._changing(self._old, where, self._olds) or labels[0],
                self._changing(self._new, where, self._news) or labels[1],
            )
        group = self._groups.setdefault((words, labels), _Group(words, labels, before, after))
        group.messages = self._space.diagrams.either(group.messages, where)

    def _changing(self, walk: Walk, where: int, names: set[str]) -> str:
        """Those of the rules with these names that come to act on some of these messages."""
        both = self._space.diagrams.both
        acting = (
            entry.rule.label
            for entry in walk.near(where)
            if entry.rule.name in names and both(walk.reached(entry, where), entry.matches) != NONE
        )
        return " and ".join(acting)

    def _told(self, group: "_Group") -> Change | None:
        space = self._space
        if space.diagrams.both(group.messages, space.universe) == NONE:
            return None
        boxes = _merged(
            box
            for box in islice(space.diagrams.boxes(group.messages), _MOST_MERGED)
            if space.diagrams.both(space.box(box), space.universe) != NONE
        )
        facts = next(space.messages(group.messages), None)
        was, now = _verdicts(group.before), _verdicts(group.after)
        return Change(
            self._kind,
            *group.words,
            tuple(box_text(box, space) for box in boxes[:_MOST_BOXES]),
            "" if facts is None else message_text(facts, space),
            *group.labels,
            newly_allowed=Verdict.ALLOW in now - was,
            newly_denied=Verdict.DENY in now - was,
            more=max(len(boxes) - _MOST_BOXES, 0),
        )


class _Group:
    __slots__ = ("after", "before", "labels", "messages", "words")

    def __init__(self, words: tuple[str, str], labels: tuple[str, str], before: list[Part], after: list[Part]) -> None:
        self.words = words
        self.labels = labels
        self.before = before
        self.after = after
        self.messages = NONE


def _outlined(parts: Iterable[Part]) -> list[Part]:
    return [(messages, effect.without_sentence(), end) for messages, effect, end in parts]


def _verdicts(parts: Iterable[Part]) -> set[Verdict | None]:
    return {part[1].verdict for part in parts}


def _words(parts: Iterable[Part], secrets: frozenset[str], *, whole: bool) -> str:
    return " or ".join(dict.fromkeys(effect_text(part[1], secrets, whole=whole) for part in parts))


def _end(parts: Iterable[Part]) -> str:
    return " or ".join(dict.fromkeys("the default" if part[2] is None else part[2].rule.label for part in parts))


def _merged(boxes: Iterable[Box]) -> list[Box]:
    """Boxes that differ in one dimension only become one."""
    found: list[Box] = []
    for box in boxes:
        current = box
        while True:
            other = next((each for each in found if _one_apart(each, current) is not None), None)
            if other is None:
                found.append(current)
                break
            found.remove(other)
            level = _one_apart(other, current)
            assert level is not None
            current = {**current, level: current[level] | other[level]}
    return found


def _one_apart(one: Box, two: Box) -> int | None:
    if one.keys() != two.keys():
        return None
    apart = [level for level in one if one[level] != two[level]]
    return apart[0] if len(apart) == 1 else None


# --- which rules are the same -----------------------------------------------------------------------------------------


def _changed(olds: Sequence[Rule], news: Sequence[Rule]) -> tuple[list[Rule], list[Rule]]:
    """The rules that are not in both, or not in the same order: all but a longest run of equal rules."""
    at: dict[Any, list[int]] = {}
    for position, rule in enumerate(olds):
        at.setdefault(_said(rule), []).append(position)
    pairs = [(at[said].pop(0), position) for position, rule in enumerate(news) if at.get(said := _said(rule))]
    kept = _longest_run(pairs)
    kept_olds, kept_news = {old for old, _ in kept}, {new for _, new in kept}
    return (
        [rule for position, rule in enumerate(olds) if position not in kept_olds],
        [rule for position, rule in enumerate(news) if position not in kept_news],
    )


def _said(rule: Rule) -> Any:
    names = tuple(sorted((kind.value, tuple(sorted(names))) for kind, names in rule.names.items()))
    return names, rule.when, rule.actions


def _longest_run(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """A longest choice of pairs that grow in both; they grow in the second as they stand."""
    ends: list[int] = []  # of the best run of each length, the pair it ends with
    before: list[int] = []
    for index, (old, _) in enumerate(pairs):
        low, high = 0, len(ends)
        while low < high:
            middle = (low + high) // 2
            if pairs[ends[middle]][0] < old:
                low = middle + 1
            else:
                high = middle
        before.append(ends[low - 1] if low else -1)
        ends[low : low + 1] = [index]
    found: list[tuple[int, int]] = []
    index = ends[-1] if ends else -1
    while index >= 0:
        found.append(pairs[index])
        index = before[index]
    return found[::-1]


def _equal(one: Table, two: Table | None) -> Table | None:
    """``two``, where it holds the same as ``one``."""
    if two is None or len(one) != len(two) or one.columns != two.columns or one.numbers != two.numbers:
        return None
    rows = range(len(one))
    same = all(a == b for a, b in zip(one.entries(), two.entries(), strict=True)) and all(
        one.value(row, column) == two.value(row, column) for column in one.columns for row in rows
    )
    return two if same else None


def _with_tables[T](value: T, same: dict[Table, Table]) -> T:
    """A rule, or something in it, with tables that equal those of the old policy replaced by them."""
    found: Any = value
    if isinstance(value, Table):
        found = same.get(value, value)
    elif isinstance(value, tuple):
        parts = tuple(_with_tables(part, same) for part in value)
        found = value if all(one is two for one, two in zip(parts, value, strict=True)) else parts
    elif isinstance(value, Struct) and not isinstance(value, Place):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        replaced = {name: part for name, field in fields.items() if (part := _with_tables(field, same)) is not field}
        found = replace(value, **replaced) if replaced else value
    return found  # type: ignore[no-any-return]
