"""What the order of the rules makes of them: rules that never act, rules that change nothing, rules that contradict.

Contradictions: two rules that end the reading differently, that meet in some message, neither of which is for all that
the other is for, and no invariant says which of them is right where they meet. The narrow rule above the wide one is an
exception, as people write them; two that cross each other are ordered by nothing but who stands above. Where the
stricter one does (deny before answer before allow), that errs to the safe side and is a note, else a warning.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from interceptor.policy.analysis.diagrams import NONE, TooLarge
from interceptor.policy.analysis.findings import Finding
from interceptor.policy.analysis.space import Space
from interceptor.policy.analysis.walk import Entry, Point, Walk, differences
from interceptor.policy.analysis.words import message_text, rules_text
from interceptor.policy.rules import Mode, Rule
from interceptor.values import Kind, Severity, Verdict

_STEPS_OF_ONE: Final = 3_000
_STEPS_AGAIN: Final = 100_000
_MOST_HIDING: Final = 24
_MOST_SEARCHED: Final = 20
_MOST_CONTRADICTIONS: Final = 200
_STRICT: Final = (Verdict.ALLOW, Verdict.ANSWER, Verdict.DENY)


class _Subject:
    """A rule that is looked at. ``done``: what there is to say was said."""

    __slots__ = ("done", "entries", "points", "possible", "rule")

    def __init__(self, rule: Rule, entries: dict[Kind, Entry]) -> None:
        self.rule = rule
        self.entries = entries
        self.possible: dict[Kind, int] = {}
        self.points: dict[Kind, Point] = {}  # per kind a point that comes to it, where one was found
        self.done = False


class _Crossed:
    """A rule, and those below it that it crosses."""

    __slots__ = ("below", "example", "rule", "severity", "verdicts")

    def __init__(self, rule: Rule, severity: Severity, example: str) -> None:
        self.rule = rule
        self.severity = severity
        self.example = example
        self.below: dict[str, Rule] = {}
        self.verdicts: dict[tuple[str, str], None] = {}

    def finding(self) -> Finding:
        """What is told of it."""
        verdicts = " or ".join("two answers" if one == two else f"{one} and {two}" for one, two in self.verdicts)
        message = (
            f"rule `{self.rule.name}` and, below it, {rules_text(self.below.values())} contradict ({verdicts}) "
            "and nothing but their order says which is right"
        )
        labels = (self.rule.label, *(rule.label for rule in self.below.values()))
        return Finding(self.severity, self.rule.place, "contradiction", message, self.example, labels)


class Order:
    """The findings about the order of some rules; ``settled`` are messages whose verdict an invariant says.

    Every question is put to all rules in turn, with few steps for each, so that those which are easy are answered
    first; what is left over goes to those that were not.
    """

    def __init__(self, space: Space, walks: Sequence[Walk], rules: Sequence[Rule], settled: int) -> None:
        self._space = space
        self._settled = settled
        self._walks = {walk.kind: walk for walk in walks}
        found: dict[str, dict[Kind, Entry]] = {}
        for walk in walks:
            for entry in walk.entries:
                found.setdefault(entry.rule.name, {})[walk.kind] = entry
        self._rules = {rule.name: rule for rule in rules}
        self._position = {name: position for position, name in enumerate(self._rules)}
        self._subjects = {name: _Subject(self._rules[name], entries) for name, entries in found.items()}
        self._skipped: dict[str, None] = {}
        self._searched = 0
        self._contradictions: dict[tuple[str, Severity], _Crossed] = {}
        self._crossings = 0

    def findings(self) -> list[Finding]:
        """All of them, in the order of the rules."""
        found = [*self._each(self._acting, 0.4), *self._each(self._redundant, 0.4)]
        found += self._each(self._contradicting, 1.0)
        found += [crossed.finding() for crossed in self._contradictions.values()]
        at = self._position
        found.sort(key=lambda finding: at[finding.rules[0].partition(" ")[2]])
        return [*found, *self._left_out()]

    def _each(self, question: Callable[["_Subject"], Finding | None], share: float) -> Iterator[Finding]:
        """The answers of all rules that have one, for a share of the steps that are left."""
        diagrams = self._space.diagrams
        kept = int(diagrams.steps * (1 - share))
        waiting = list(self._subjects.values())
        for most in (_STEPS_OF_ONE, _STEPS_AGAIN):
            again: list[_Subject] = []
            for subject in waiting:
                if subject.done:
                    continue
                given = min(most, diagrams.steps - kept)
                left, diagrams.steps = diagrams.steps - given, given
                try:
                    finding = question(subject)
                except (TooLarge, RecursionError):
                    again.append(subject)
                    finding = None
                diagrams.steps = left + max(diagrams.steps, 0)
                if finding is not None:
                    yield finding
            waiting = again
        self._skipped.update((subject.rule.name, None) for subject in waiting)
        diagrams.steps = max(diagrams.steps, kept)

    def _left_out(self) -> Iterator[Finding]:
        if self._crossings >= _MOST_CONTRADICTIONS:
            last = list(self._contradictions.values())[-1].rule
            message = f"not analysed: whether more than {_MOST_CONTRADICTIONS} pairs of rules contradict each other"
            yield Finding(Severity.NOTE, last.place, "not_analysed", message, rules=(last.label,))
        if self._skipped:
            first = self._rules[min(self._skipped, key=self._position.__getitem__)]
            count = len(self._skipped)
            what = f"rule `{first.name}`" if count == 1 else f"rule `{first.name}` and {count - 1} others"
            message = f"not analysed: what {what} and the rules around do together is too large to decide"
            yield Finding(Severity.NOTE, first.place, "not_analysed", message, rules=(first.label,))

    def _possible(self, subject: "_Subject", kind: Kind) -> int:
        """The messages of a kind that a rule matches, as far as they may be."""
        found = subject.possible.get(kind)
        if found is None:
            found = self._space.diagrams.both(subject.entries[kind].matches, self._space.universe)
            subject.possible[kind] = found
        return found

    def _acting(self, subject: "_Subject") -> Finding | None:
        for kind, entry in subject.entries.items():
            possible = self._possible(subject, kind)
            point = None if possible == NONE else self._walks[kind].reaches(entry, possible)
            if point is not None:
                subject.points[kind] = point
        if any(self._space.sure(subject.entries[kind].matches) for kind in subject.points):
            return None
        reached = {
            kind: self._walks[kind].reached(entry, self._possible(subject, kind))
            for kind, entry in subject.entries.items()
        }
        subject.done = True
        if not any(reached.values()):
            return self._never(subject.rule, subject.entries)
        undecided = self._undecided(subject.rule, reached)
        subject.done = undecided is not None
        return undecided

    # rules that never act

    def _never(self, rule: Rule, entries: dict[Kind, Entry]) -> Finding:
        hiding: dict[str, Rule] = {}
        for kind, entry in entries.items():
            hiding.update((above.name, above) for above in self._hiding(kind, entry))
        if not hiding:
            message = f"rule `{rule.name}` never acts: no message fits its conditions"
            return Finding(Severity.WARNING, rule.place, "never_matches", message, rules=(rule.label,))
        above = sorted(hiding.values(), key=lambda rule: self._position[rule.name])
        decide = "decides" if len(above) == 1 else "decide"
        message = f"rule `{rule.name}` never acts: above it, {rules_text(above)} {decide} all that it is for"
        labels = (rule.label, *(each.label for each in above))
        return Finding(Severity.WARNING, rule.place, "hidden_rule", message, rules=labels)

    def _hiding(self, kind: Kind, entry: Entry) -> list[Rule]:
        """Rules above that together leave nothing; without any one of them something would be left."""
        diagrams, walk = self._space.diagrams, self._walks[kind]
        possible = left = diagrams.both(entry.matches, self._space.universe)
        took: list[Entry] = []
        for above in walk.near(left):
            if left == NONE or above.position >= entry.position:
                break
            if above.ends and diagrams.both(left, above.matches) != NONE:
                left = diagrams.without(left, above.matches)
                took.append(above)
        if len(took) <= _MOST_HIDING:
            for each in list(reversed(took)):
                left = possible
                for other in took:
                    left = left if other is each else diagrams.without(left, other.matches)
                if left == NONE:
                    took.remove(each)
        return [each.rule for each in took]

    def _undecided(self, rule: Rule, reached: dict[Kind, int]) -> Finding | None:
        space = self._space
        if self._searched >= _MOST_SEARCHED:
            return None
        for messages in reached.values():
            if next(space.messages(messages), None) is not None:
                return None
        self._searched += 1
        message = f"whether rule `{rule.name}` ever acts cannot be decided: no message was found that comes to it"
        return Finding(Severity.NOTE, rule.place, "cannot_be_decided", message, rules=(rule.label,))

    # rules that change nothing

    def _redundant(self, subject: "_Subject") -> Finding | None:
        rule, entries = subject.rule, subject.entries
        if rule.mode is not Mode.ENFORCE:
            subject.done = True
            return None
        if any(self._walks[kind].differs_at(point, entries[kind]) for kind, point in subject.points.items()):
            return None
        instead: dict[str, Rule] = {}
        for kind, entry in entries.items():
            walk = self._walks[kind]
            messages = walk.reached(entry, self._possible(subject, kind))
            if messages == NONE:
                continue
            without = walk.parts(messages, leave_out=entry)
            if next(differences(self._space, walk.parts(messages), without), None) is not None:
                return None
            instead.update((end.rule.name, end.rule) for _, _, end in without if end is not None and end.ends)
        if not instead:
            ends = any(entry.verdict is not None for entry in entries.values())
            because = "the default does the same" if ends else "it does nothing that lasts"
            message = f"rule `{rule.name}` is redundant: without it every decision is the same, {because}"
            subject.done = True
            return Finding(Severity.NOTE, rule.place, "redundant_rule", message, rules=(rule.label,))
        others = sorted(instead.values(), key=lambda rule: self._position[rule.name])
        does = "does" if len(others) == 1 else "do"
        message = (
            f"rule `{rule.name}` is redundant: without it every decision is the same, {rules_text(others)} {does} it"
        )
        labels = (rule.label, *(each.label for each in others))
        subject.done = True
        return Finding(Severity.WARNING, rule.place, "redundant_rule", message, rules=labels)

    # rules that contradict

    def _contradicting(self, subject: "_Subject") -> None:
        """What contradicts the rule is taken down."""
        for kind, entry in subject.entries.items():
            if not entry.ends:
                continue
            for below, met in self._crossing(kind, entry, self._possible(subject, kind)):
                if self._crossings >= _MOST_CONTRADICTIONS:
                    return
                for where in self._walks[kind].only_ordered(entry, below, met):
                    facts = next(self._space.messages(where), None)
                    if facts is not None:
                        self._take_down(entry, below, message_text(facts, self._space))
                        break

    def _take_down(self, entry: Entry, below: Entry, example: str) -> None:
        assert entry.verdict is not None
        assert below.verdict is not None
        weaker = _STRICT.index(entry.verdict) < _STRICT.index(below.verdict)
        severity = Severity.WARNING if weaker else Severity.NOTE
        crossed = self._contradictions.setdefault((entry.rule.name, severity), _Crossed(entry.rule, severity, example))
        if below.rule.name not in crossed.below:
            self._crossings += 1
            crossed.below[below.rule.name] = below.rule
            crossed.verdicts[entry.verdict.value, below.verdict.value] = None

    def _crossing(self, kind: Kind, entry: Entry, messages: int) -> Iterator[tuple[Entry, int]]:
        """The rules below that decide otherwise some messages which ``entry`` matches, neither being an exception."""
        diagrams, walk = self._space.diagrams, self._walks[kind]
        for below in walk.near(messages, walk.below(entry)):
            if below.verdict is entry.verdict and below.actions == entry.actions:
                continue
            met = diagrams.without(diagrams.both(messages, below.matches), self._settled)
            if met == NONE or diagrams.within(messages, below.matches):
                continue
            if diagrams.within(diagrams.both(below.matches, self._space.universe), entry.matches):
                continue
            yield below, met
