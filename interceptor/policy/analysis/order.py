"""What the order of the rules makes of them: rules that never act, rules that change nothing, rules that contradict.

Contradictions: two rules that end the reading differently, that meet in some message, neither of which is for all that
the other is for, and no invariant says which of them is right where they meet. The narrow rule above the wide one is an
exception, as people write them; two that cross each other are ordered by nothing but who stands above. Where the
stricter one does (deny before answer before allow), that errs to the safe side and is a note, else a warning.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from interceptor.policy.analysis.diagrams import NONE, TooLarge
from interceptor.policy.analysis.findings import Finding
from interceptor.policy.analysis.space import Space
from interceptor.policy.analysis.walk import Entry, Point, Walk, differences
from interceptor.policy.analysis.words import message_text, rules_text
from interceptor.policy.rules import Mode, Rule
from interceptor.values import Kind, Severity, Verdict

_STEPS_OF_ONE: Final = 20_000
_MOST_HIDING: Final = 24
_MOST_SEARCHED: Final = 20
_MOST_CONTRADICTIONS: Final = 50
_STRICT: Final = (Verdict.ALLOW, Verdict.ANSWER, Verdict.DENY)


class Order:
    """The findings about the order of some rules; ``settled`` are messages whose verdict an invariant says."""

    def __init__(self, space: Space, walks: Sequence[Walk], rules: Sequence[Rule], settled: int) -> None:
        self._space = space
        self._rules = rules
        self._settled = settled
        self._walks = {walk.kind: walk for walk in walks}
        self._entries: dict[str, dict[Kind, Entry]] = {}
        for walk in walks:
            for entry in walk.entries:
                self._entries.setdefault(entry.rule.name, {})[walk.kind] = entry
        self._skipped: dict[str, None] = {}
        self._searched = 0

    def findings(self) -> Iterator[Finding]:
        """All of them, rule by rule."""
        contradictions: list[Finding] = []
        for rule in self._rules:
            entries = self._entries.get(rule.name)
            if not entries:
                continue
            steps = self._space.diagrams.steps
            self._space.diagrams.steps = min(steps, _STEPS_OF_ONE)
            given = self._space.diagrams.steps
            try:
                yield from self._about(rule, entries, contradictions)
            except (TooLarge, RecursionError):
                self._skipped[rule.name] = None
            self._space.diagrams.steps = steps - (given - max(self._space.diagrams.steps, 0))
        yield from contradictions[:_MOST_CONTRADICTIONS]
        yield from self._left_out(contradictions)

    def _left_out(self, contradictions: list[Finding]) -> Iterator[Finding]:
        more = contradictions[_MOST_CONTRADICTIONS:]
        if more:
            message = "there are more pairs of rules that contradict each other"
            yield Finding(more[0].severity, more[0].place, "more_contradictions", message)
        if self._skipped:
            first = next(rule for rule in self._rules if rule.name in self._skipped)
            count = len(self._skipped)
            what = f"rule `{first.name}`" if count == 1 else f"rule `{first.name}` and {count - 1} others"
            message = f"not analysed: what {what} and the rules around do together is too large to decide"
            yield Finding(Severity.NOTE, first.place, "not_analysed", message, rules=(first.label,))

    def _about(self, rule: Rule, entries: dict[Kind, Entry], contradictions: list[Finding]) -> Iterator[Finding]:
        diagrams, universe = self._space.diagrams, self._space.universe
        possible = {kind: diagrams.both(entry.matches, universe) for kind, entry in entries.items()}
        points = {
            kind: self._walks[kind].reaches(entry, possible[kind]) for kind, entry in entries.items() if possible[kind]
        }
        sure = any(points.get(kind) and self._space.sure(entry.matches) for kind, entry in entries.items())
        if not sure:
            reached = {kind: self._walks[kind].reached(entry, possible[kind]) for kind, entry in entries.items()}
            if not any(reached.values()):
                yield self._never(rule, entries)
                return
            undecided = self._undecided(rule, reached)
            if undecided is not None:
                yield undecided
                return
        if rule.mode is not Mode.ENFORCE:
            return
        redundant = self._redundant(rule, entries, possible, points)
        if redundant is not None:
            yield redundant
            return
        for kind, entry in entries.items():
            if entry.ends and len(contradictions) <= _MOST_CONTRADICTIONS:
                for other, where in self._contradicting(kind, entry, possible[kind]):
                    found = self._contradiction(entry, other, where)
                    known = {each.rules for each in contradictions}
                    if found is not None and found.rules not in known:
                        contradictions.append(found)

    # rules that never act

    def _never(self, rule: Rule, entries: dict[Kind, Entry]) -> Finding:
        hiding: dict[str, Rule] = {}
        for kind, entry in entries.items():
            hiding.update((above.name, above) for above in self._hiding(kind, entry))
        if not hiding:
            message = f"rule `{rule.name}` never acts: no message fits its conditions"
            return Finding(Severity.WARNING, rule.place, "never_matches", message, rules=(rule.label,))
        above = sorted(hiding.values(), key=self._rules.index)
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

    def _redundant(
        self, rule: Rule, entries: dict[Kind, Entry], possible: dict[Kind, int], points: dict[Kind, Point | None]
    ) -> Finding | None:
        if any(point and self._walks[kind].differs_at(point, entries[kind]) for kind, point in points.items()):
            return None
        instead: dict[str, Rule] = {}
        for kind, entry in entries.items():
            walk = self._walks[kind]
            messages = walk.reached(entry, possible[kind])
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
            return Finding(Severity.NOTE, rule.place, "redundant_rule", message, rules=(rule.label,))
        others = sorted(instead.values(), key=self._rules.index)
        does = "does" if len(others) == 1 else "do"
        message = (
            f"rule `{rule.name}` is redundant: without it every decision is the same, {rules_text(others)} {does} it"
        )
        labels = (rule.label, *(each.label for each in others))
        return Finding(Severity.WARNING, rule.place, "redundant_rule", message, rules=labels)

    # rules that contradict

    def _contradicting(self, kind: Kind, entry: Entry, messages: int) -> Iterator[tuple[Entry, int]]:
        """The rules that would decide otherwise if ``entry`` did not, and what."""
        diagrams, walk = self._space.diagrams, self._walks[kind]
        for below in walk.near(messages):
            same = below.verdict is entry.verdict
            if below.position <= entry.position or not below.ends:
                continue
            if same and (entry.verdict is not Verdict.ANSWER or below.actions == entry.actions):
                continue
            met = diagrams.without(diagrams.both(messages, below.matches), self._settled)
            if met == NONE or diagrams.within(messages, below.matches):
                continue
            if diagrams.within(diagrams.both(below.matches, self._space.universe), entry.matches):
                continue
            between = walk.only_ordered(entry, below, met)
            if between != NONE:
                yield below, between

    def _contradiction(self, entry: Entry, below: Entry, where: int) -> Finding | None:
        facts = next(self._space.messages(where), None)
        if facts is None or entry.verdict is None or below.verdict is None:
            return None
        weaker = _STRICT.index(entry.verdict) < _STRICT.index(below.verdict)
        here, there = entry.rule, below.rule
        verdicts = f"{entry.verdict.value} and {below.verdict.value}"
        verdicts = "two answers" if entry.verdict is below.verdict else verdicts
        message = (
            f"rule `{here.name}` and, below it, {rules_text([there])} contradict ({verdicts}) "
            "and nothing but their order says which is right"
        )
        severity = Severity.WARNING if weaker else Severity.NOTE
        labels = (here.label, there.label)
        return Finding(severity, here.place, "contradiction", message, message_text(facts, self._space), labels)
