"""The rules for one kind of message in the order of reading, each with the set of messages that it matches."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from interceptor.policy.actions.outcome import Action
from interceptor.policy.analysis.diagrams import ALL, NONE
from interceptor.policy.analysis.effects import Effect, limit_of
from interceptor.policy.analysis.regions import bits
from interceptor.policy.analysis.space import Space
from interceptor.policy.context import Context
from interceptor.policy.rules import Mode, Rule
from interceptor.values import Kind, Verdict

_ATTEMPTS = 6
_MOST_LOOKED_UP = 300  # values of one dimension; a rule with more of them is a neighbour of all


class Entry(Struct, frozen=True, eq=False):
    """A rule for one kind. ``ends`` says that no rule below sees a message that it matches."""

    position: int
    rule: Rule
    matches: int
    actions: tuple[Action, ...]
    enforced: bool
    ends: bool
    verdict: Verdict | None

    @property
    def over(self) -> tuple[Action, ...] | None:
        """What it does to messages over its limit; ``None`` without one."""
        limit = limit_of(self.actions)
        return None if limit is None else limit.otherwise


Point = dict[int, int]
"""One value in every dimension, as a single bit."""

Part = tuple[int, Effect, Entry | None]
"""Messages, what happens to them, and the rule that ended the reading."""


class Walk:
    """The rules for messages of one kind."""

    def __init__(self, space: Space, kind: Kind, rules: Sequence[Rule], context: Context) -> None:
        self.space = space
        self.kind = kind
        self.default = context.defaults[kind] if context.mode is Mode.ENFORCE else Verdict.ALLOW
        self.entries = tuple(
            self._entry(position, rule)
            for position, rule in enumerate(
                rule for rule in rules if rule.mode is not Mode.OFF and rule.names.get(kind)
            )
        )
        self._enforced = sum(1 << entry.position for entry in self.entries if entry.enforced)
        self._ending: dict[Verdict | None, int] = {}
        for entry in self.entries:
            if entry.ends:
                self._ending[entry.verdict] = self._ending.get(entry.verdict, 0) | 1 << entry.position
        self._enders = sum(self._ending.values())
        self._near = _Neighbours([space.diagrams.support(entry.matches) for entry in self.entries])

    def _entry(self, position: int, rule: Rule) -> Entry:
        diagrams, space = self.space.diagrams, self.space
        matches = diagrams.both(space.names(rule.names, self.kind), space.set_of(rule.when))
        actions = rule.actions_for(self.kind)
        enforced = rule.mode is Mode.ENFORCE
        verdict = reduce(Effect.after, actions, Effect()).verdict
        limit = limit_of(actions)
        beyond = limit is None or any(action.ends and self.kind in action.kinds for action in limit.otherwise)
        return Entry(position, rule, matches, actions, enforced, enforced and verdict is not None and beyond, verdict)

    def near(self, messages: int, among: int = -1) -> Iterator[Entry]:
        """The rules that may match one of these messages, in the order of reading: all that do are among them.

        ``among`` are the positions, as bits, that are asked for.
        """
        for position in bits(self._near.of(self.space.diagrams.support(messages)) & among):
            yield self.entries[position]

    def below(self, entry: Entry) -> int:
        """The positions of the rules below that end the reading in another way, or with an answer."""
        alike = 0 if entry.verdict is Verdict.ANSWER else self._ending.get(entry.verdict, 0)
        return self._enders & ~alike & ~((2 << entry.position) - 1)

    def reached(self, entry: Entry, messages: int) -> int:
        """Those of the messages that no rule above ``entry`` takes out of the reading."""
        diagrams = self.space.diagrams
        for above in self.near(messages, self._enders & (1 << entry.position) - 1):
            if messages == NONE:
                break
            messages = diagrams.without(messages, above.matches)
        return messages

    def parts(self, messages: int, leave_out: Entry | None = None) -> list[Part]:
        """What happens to each of these messages, a message with a limit each way that it may go."""
        diagrams = self.space.diagrams
        open_parts: dict[Effect, int] = {Effect(): messages}
        done: dict[tuple[Effect, int], Part] = {}

        def close(part: int, effect: Effect, entry: Entry | None) -> None:
            ended = effect.ended(self.default)
            key = (ended, -1 if entry is None else entry.position)
            known = done.get(key)
            done[key] = (part if known is None else diagrams.either(known[0], part), ended, entry)

        for entry in self.near(messages, self._enforced):
            if entry is leave_out:
                continue
            if not open_parts:
                break
            after: dict[Effect, int] = {}

            def keep(part: int, effect: Effect, after: dict[Effect, int] = after) -> None:
                after[effect] = diagrams.either(after.get(effect, NONE), part)

            for effect, part in open_parts.items():
                hit = diagrams.both(part, entry.matches)
                if hit != part:
                    keep(diagrams.without(part, hit), effect)
                if hit != NONE:
                    for then in self._ways(entry, effect):
                        if then.verdict is None:
                            keep(hit, then)
                        else:
                            close(hit, then, entry)
            open_parts = after
        for effect, part in open_parts.items():
            close(part, effect, None)
        return list(done.values())

    def pick(self, messages: int, attempt: int = 0) -> Point:
        """A point of the set, rather one that few rules ask for; other attempts may give others."""
        diagrams, node = self.space.diagrams, messages
        point: Point = {}
        while node > ALL:
            level = diagrams.level(node)
            choices = [
                (*self._near.rarest(level, values, attempt), child)
                for values, child in diagrams.edges(node)
                if child != NONE
            ]
            choices.sort()
            _, point[level], node = choices[attempt % len(choices)]
        for level, full in enumerate(diagrams.full):
            if level not in point:
                point[level] = self._near.rarest(level, full, attempt)[1]
        return point

    def at(self, point: Point) -> Iterator[Entry]:
        """The rules that match a point, in the order of reading."""
        holds = self.space.diagrams.holds
        for position in bits(self._near.of(point)):
            entry = self.entries[position]
            if holds(entry.matches, point):
                yield entry

    def reaches(self, entry: Entry, messages: int) -> Point | None:
        """A point of ``messages``, which ``entry`` matches, that comes to it; ``None`` if a few attempts find none."""
        for attempt in range(_ATTEMPTS):
            point = self.pick(messages, attempt)
            first = next((each for each in self.at(point) if each is entry or each.ends), None)
            if first is entry:
                return point
        return None

    def only_ordered(self, one: Entry, two: Entry, messages: int) -> Iterator[int]:
        """Messages, of those both match, that ``one`` decides and ``two`` would without it: some, then all of them."""
        for attempt in range(_ATTEMPTS):
            point = self.pick(messages, attempt)
            enders = (each for each in self.at(point) if each.ends)
            if next(enders) is one and next(enders) is two:
                yield self.space.box(point)
                break
        diagrams = self.space.diagrams
        for each in self.near(messages, self._enders & (1 << two.position) - 1):
            if messages == NONE:
                break
            if each is not one:
                messages = diagrams.without(messages, each.matches)
        yield messages

    def differs_at(self, point: Point, leave_out: Entry) -> bool:
        """Whether it makes a difference at a point to leave a rule out."""
        with_it, without = Effect(), Effect()
        for entry in self.at(point):
            if not entry.enforced:
                continue
            if entry.over is not None:
                return False  # two ways to go: that is left to the exact comparison
            if with_it.verdict is None:
                with_it = reduce(Effect.after, entry.actions, with_it)
            if entry is not leave_out and without.verdict is None:
                without = reduce(Effect.after, entry.actions, without)
            if without.verdict is not None:
                break
        return with_it.ended(self.default) != without.ended(self.default)

    def _ways(self, entry: Entry, effect: Effect) -> Iterator[Effect]:
        over = entry.over
        if over is None:
            yield reduce(Effect.after, entry.actions, effect)
            return
        limit = limit_of(entry.actions)
        for name, actions in (("within", entry.actions), ("over", over)):
            chosen = Effect(
                effect.verdict, effect.how, effect.changes, effect.target, effect.others,
                (*effect.choices, (name, None if limit is None else replace(limit, otherwise=()))),
            )  # fmt: skip
            yield reduce(Effect.after, (action for action in actions if self.kind in action.kinds), chosen)


Different = Callable[[Part, Part], None]


def differences(
    space: Space, old: Iterable[Part], new: Sequence[Part]
) -> Iterator[tuple[int, Part | None, Part | None]]:
    """The messages that come out otherwise, with what happens to them in each; ``None``: no such way."""
    diagrams = space.diagrams
    left = {index: part[0] for index, part in enumerate(new)}
    for part in old:
        rest = part[0]
        for index, other in enumerate(new):
            if part[1].choices != other[1].choices:
                continue
            common = diagrams.both(part[0], other[0])
            if common == NONE:
                continue
            rest = diagrams.without(rest, common)
            left[index] = diagrams.without(left[index], common)
            if part[1] != other[1]:
                yield common, part, other
        if rest != NONE:
            yield rest, part, None
    for index, rest in left.items():
        if rest != NONE:
            yield rest, None, new[index]


class _Neighbours:
    """Finds sets that may meet a set, by the values they have in each dimension."""

    def __init__(self, supports: Sequence[dict[int, int]]) -> None:
        self._every = (1 << len(supports)) - 1
        self._with: dict[int, dict[int, int]] = {}
        self._limited: dict[int, int] = {}
        for index, support in enumerate(supports):
            for level, values in support.items():
                if values.bit_count() > _MOST_LOOKED_UP:
                    continue
                self._limited[level] = self._limited.get(level, 0) | 1 << index
                table = self._with.setdefault(level, {})
                for value in bits(values):
                    table[value] = table.get(value, 0) | 1 << index

        self._asked = {level: sum(1 << value for value in table) for level, table in self._with.items()}

    def rarest(self, level: int, values: int, attempt: int) -> tuple[int, int]:
        """One of these values that few of the sets ask for, as a bit, and how many do."""
        free = values & ~self._asked.get(level, 0)
        if free:
            return 0, free & -free
        table = self._with[level]
        counted = sorted((table[value].bit_count(), value) for value in islice(bits(values), _MOST_LOOKED_UP))
        count, value = counted[attempt % len(counted)]
        return count, 1 << value

    def of(self, support: dict[int, int]) -> int:
        found = self._every
        for level, values in support.items():
            table = self._with.get(level)
            if table is None or values.bit_count() > _MOST_LOOKED_UP:
                continue
            here = self._every & ~self._limited[level]
            for value in bits(values):
                here |= table.get(value, 0)
            found &= here
        return found
