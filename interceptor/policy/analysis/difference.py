"""The difference of two policies: the messages that come out otherwise, not the lines that changed.

Rules that stand in both policies in the same order decide alike wherever no other rule matches. So only the messages
that some other rule matches are looked at: rules that were added, taken out, changed or moved past others. A rule that
was moved and does the same there makes no difference.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from interceptor.policy.actions.limit import Limit
from interceptor.policy.analysis.alignment import aligned
from interceptor.policy.analysis.diagrams import NONE, TooLarge
from interceptor.policy.analysis.effects import Effect, limit_of, limits_of
from interceptor.policy.analysis.ground import grounded
from interceptor.policy.analysis.space import Box, Space
from interceptor.policy.analysis.walk import Entry, Part, Walk, differences
from interceptor.policy.analysis.words import box_text, effect_texts, limit_text, message_text
from interceptor.policy.context import Context
from interceptor.policy.rules import Mode, Rule
from interceptor.policy.ruleset import RuleSet
from interceptor.values import Kind, Verdict

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
    changes: list[Change] = []
    complete = True
    try:
        olds, news, declared = aligned(old, new)
        olds, news = ([rule for rule in rules if rule.mode is Mode.ENFORCE] for rules in (olds, news))
        merged = replace(context if declared else grounded(context, new), apps=context.apps | before.apps)
        news, limits = _with_old_limits(olds, news)
        changed_olds, changed_news = _changed(olds, news)
        space = Space([rule.when for rule in (*olds, *news)], [rule.names for rule in (*olds, *news)], merged, steps)
    except (TooLarge, RecursionError):
        return Difference((), complete=False)
    for kind in Kind:
        try:
            one, two = Walk(space, kind, olds, before), Walk(space, kind, news, context)
            comparison = _Comparison(space, kind, one, two)
            changes += comparison.changes(changed_olds, changed_news)
            changes += comparison.limited(limits)
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

    def limited(self, limits: Mapping[str, tuple[Limit, Limit]]) -> Iterator[Change]:
        """The messages that another limit counts now, of rules that have one in both."""
        for name, (was, now) in limits.items():
            entries = [
                [entry for entry in walk.entries if entry.rule.name == name and entry.over is not None]
                for walk in (self._old, self._new)
            ]
            if all(entries):
                labels = entries[0][0].rule.label, entries[1][0].rule.label
                group = _Group((limit_text(was), limit_text(now)), labels, [], [])
                group.messages = self._space.diagrams.both(
                    self._reached(self._old, entries[0]), self._reached(self._new, entries[1])
                )
                change = self._told(group)
                if change is not None:
                    yield change

    def _reached(self, walk: Walk, entries: Iterable[Entry]) -> int:
        found = NONE
        for entry in entries:
            found = self._space.diagrams.either(found, walk.reached(entry, entry.matches))
        return found

    def _touched(self, olds: set[str], news: set[str]) -> Iterator[int]:
        """The messages that rules which are not in both match; all, where the defaults differ."""
        if self._old.default is not self._new.default:
            yield self._space.kind(self._kind)
            return
        yield from (entry.matches for entry in self._old.entries if entry.rule.name in olds)
        yield from (entry.matches for entry in self._new.entries if entry.rule.name in news)

    def _compare(self, messages: int) -> None:
        olds, news = self._old.parts(messages), self._new.parts(messages)
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
            if _may_differ(_effects(before), _effects(after)):
                self._note(cell, before, after)

    def _split(self, messages: int, by: int) -> Iterator[int]:
        diagrams = self._space.diagrams
        yield from (piece for piece in (diagrams.both(messages, by), diagrams.without(messages, by)) if piece != NONE)

    def _meeting(self, where: int, parts: Sequence[Part]) -> list[Part]:
        return [part for part in parts if self._space.diagrams.both(part[0], where) != NONE]

    def _note(self, where: int, before: list[Part], after: list[Part]) -> None:
        was, now = _verdicts(before), _verdicts(after)
        words = effect_texts(_effects(before), _effects(after), self._secrets)
        labels = _end(before), _end(after)
        if was == now:
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
        return " and ".join(dict.fromkeys(acting))

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


def _verdicts(parts: Iterable[Part]) -> set[Verdict | None]:
    return {part[1].verdict for part in parts}


def _effects(parts: Iterable[Part]) -> list[Effect]:
    return [part[1] for part in parts]


def _may_differ(before: Sequence[Effect], after: Sequence[Effect]) -> bool:
    """Whether what may happen is not the same, or hangs on another limit."""
    ways = [{replace(effect, choices=()) for effect in effects} for effects in (before, after)]
    return ways[0] != ways[1] or (len(ways[0]) > 1 and limits_of(before) != limits_of(after))


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


def _with_old_limits(
    olds: Iterable[Rule], news: Iterable[Rule]
) -> tuple[list[Rule], Mapping[str, tuple[Limit, Limit]]]:
    """The new rules with the limits that they had, so that like is compared with like; and the limits that changed."""
    before = {rule.name: limit for rule in olds if (limit := limit_of(rule.actions)) is not None}
    found: list[Rule] = []
    limits: dict[str, tuple[Limit, Limit]] = {}
    for rule in news:
        was, now = before.get(rule.name), limit_of(rule.actions)
        if was is None or now is None or replace(was, otherwise=()) == replace(now, otherwise=()):
            found.append(rule)
            continue
        kept = replace(was, otherwise=now.otherwise)
        limits[rule.name] = was, now
        found.append(replace(rule, actions=tuple(kept if action is now else action for action in rule.actions)))
    return found, limits


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
