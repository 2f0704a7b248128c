"""Messages and rules in words for the person who wrote the rules."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from interceptor.policy.actions.answer import Answer
from interceptor.policy.actions.limit import Limit
from interceptor.policy.actions.mirror import Mirror
from interceptor.policy.actions.owns import Owns
from interceptor.policy.actions.reroute import AppColumn, ClusterColumn, UrlPattern
from interceptor.policy.actions.rewrite import Beginnings, SetColumn, SetPattern
from interceptor.policy.analysis.effects import Effect, limits_of
from interceptor.policy.analysis.space import Box, Space
from interceptor.policy.analysis.times import time_text
from interceptor.policy.columns import Column
from interceptor.policy.condition import any_word, quoted
from interceptor.policy.matchers.call import call_text
from interceptor.policy.placeholders import Wording
from interceptor.policy.rules import Rule
from interceptor.policy.verbs import Draft
from interceptor.values import (
    Facts,
    Kind,
    Number,
    RemoveParameter,
    RenameParameter,
    ReplaceInParameter,
    SetParameter,
    ToApp,
    ToCluster,
    ToUrl,
    Verdict,
)


def message_text(facts: Facts, space: Space) -> str:
    """One message, as far as the rules ask for it: ``command Call by crm to +36201234567, Tue 2024-01-02 10:00``."""
    words = [f"{facts.kind.value} {facts.name}"]
    app = facts.app or "an unknown sender"
    words.append(f"for {facts.app or 'no app'}" if facts.kind is Kind.NOTIFICATION else f"by {app}")
    if facts.number is not None:
        words.append(f"to {_number(facts.number)}")
    if facts.caller is not None:
        words.append(f"with caller {_number(facts.caller)}")
    if space.asks_source:
        words.append(f"from {facts.source}")
    texts = [f"{field.written or field.name} {_value(text, secret=field.secret)}" for field, text in space.texts(facts)]
    if texts:
        words.append(f"with {', '.join(texts)}")
    if facts.call is not None:
        words.append(f"about {call_text(facts.call)}")
    found = " ".join(words)
    return f"{found}, {time_text(facts.at, space.zone)}" if space.asks_time else found


def _number(number: Number) -> str:
    plain = number.canonical.removeprefix("+").isalnum()
    return number.canonical if plain else quoted(number.canonical)


def _value(text: str, *, secret: bool) -> str:
    return "that is not shown" if secret else quoted(text)


def effect_texts(before: Sequence[Effect], after: Sequence[Effect], secrets: frozenset[str]) -> tuple[str, str]:
    """What may happen to a message in each of two policies, in words that differ: ``allow, to pbx-marketing``.

    Where the verdict is another, nothing else is told; sentences and answers in full only where they differ.
    """
    sides = before, after
    if _differ(sides, lambda effect: effect.verdict):
        return _texts(before, _outline), _texts(after, _outline)
    worded = _differ(sides, lambda effect: effect.how)
    for long in (False, True):
        write = _Writing(secrets, worded=worded, long=long).text
        told = _texts(before, write), _texts(after, write)
        if told[0] != told[1]:
            return told
    limits = tuple(" and ".join(sorted(map(limit_text, limits_of(side)))) for side in sides)
    if limits[0] != limits[1]:
        return f"{told[0]}, {limits[0] or 'without a limit'}", f"{told[1]}, {limits[1] or 'without a limit'}"
    return told[0], f"{told[1]}, in another way"


def _differ(sides: tuple[Sequence[Effect], Sequence[Effect]], of: Callable[[Effect], Any]) -> bool:
    one, two = ({of(effect) for effect in side} for side in sides)
    return one != two


def _texts(effects: Iterable[Effect], write: Callable[[Effect], str]) -> str:
    return " or ".join(dict.fromkeys(map(write, effects)))


def _outline(effect: Effect) -> str:
    """How the reading ends."""
    assert effect.verdict is not None
    if effect.verdict is Verdict.DENY:
        return f"deny {effect.how[0]}"
    if isinstance(effect.how, Answer):
        verbs = ", ".join(draft.name for draft in effect.how.verbs)
        return f"answer [{verbs}]" if verbs else f"answer {effect.how.code}"
    return str(effect.verdict.value)


class _Writing:
    """Writes effects whole: ``worded`` with sentences and answers in full, ``long`` with nothing left out of texts."""

    def __init__(self, secrets: frozenset[str], *, worded: bool, long: bool) -> None:
        self._secrets = secrets
        self._worded = worded
        self._long = long

    def text(self, effect: Effect) -> str:
        words = [self._end(effect) if self._worded else _outline(effect)]
        if effect.target:
            words.append("to " + " or else to ".join(self._target(target) for target in effect.target))
        words += [self._change(change) for change in effect.changes]
        words += [self._other(other) for other in effect.others]
        return ", ".join(words)

    def _end(self, effect: Effect) -> str:
        if effect.verdict is Verdict.DENY:
            code, sentence = effect.how
            return f"deny {code} with {'the usual sentence' if sentence is None else self._wording(sentence)}"
        if not isinstance(effect.how, Answer):
            return _outline(effect)
        answer = effect.how
        if Kind.COMMAND in answer.to:
            return f"answer {answer.code} with {self._wording(answer.message)}"
        return f"answer [{', '.join(self._verb(draft) for draft in answer.verbs)}]"

    def _verb(self, draft: Draft) -> str:
        words = [f"{name} {self._wording(value)}" for name, value in draft.attributes]
        words += [self._wording(draft.text)] if draft.text else []
        words += [f"[{', '.join(self._verb(child) for child in draft.children)}]"] if draft.children else []
        return " ".join([draft.name, *words])

    def _wording(self, wording: Wording) -> str:
        text = wording if isinstance(wording, str) else wording.written
        return f"`{text}`" if self._long else quoted(text)

    def _other(self, other: Any) -> str:
        match other:
            case str():
                return f"tag {other}"
            case Mirror():
                return f"mirrored to {self._target(other.target)}"
            case Owns():
                return "owns any call"
            case _:
                return type(other).__name__.lower()

    def _target(self, target: Any) -> str:
        match target:
            case ToCluster():
                return str(target.cluster)
            case ToApp():
                return str(target.app)
            case ToUrl():
                return str(target.url)
            case UrlPattern():
                return target.pattern.written
            case ClusterColumn():
                return f"the cluster {_column(target.column)}"
            case AppColumn():
                return f"the app {_column(target.column)}"
            case _:
                return "where the message leads"

    def _change(self, change: Any) -> str:
        hidden = change.name.lower() in self._secrets
        match change:
            case SetParameter():
                return f"{change.name} set" if hidden else f"{change.name} set to {self._wording(change.value)}"
            case SetPattern():
                return f"{change.name} set to {self._wording(change.pattern)}"
            case SetColumn():
                return f"{change.name} set to what stands {_column(change.column)}"
            case RemoveParameter():
                return f"{change.name} removed"
            case RenameParameter():
                return f"{change.name} renamed to {change.to}"
            case ReplaceInParameter() if not hidden:
                return f"{change.name} with {self._replacement(change)}"
            case _:
                return f"{change.name} changed"

    def _replacement(self, change: ReplaceInParameter) -> str:
        pattern, replacement = change.pattern, self._wording(change.replacement)
        if isinstance(pattern, Beginnings):
            strip = any_word([quoted(digits) for digits in pattern.digits])
            return f"{replacement} in front" if pattern.digits == ("",) else f"{replacement} for a leading {strip}"
        return f"{replacement} for {self._wording(pattern.source)}"


def _column(column: Column) -> str:
    """Where a value stands: ``in table `lcr` under `cluster` for the number``."""
    by = f"parameter {column.by.name}" if column.by.parameter else f"the {column.by.name}"
    return f"in table `{column.table.name}` under `{column.column}` for {by}"


def limit_text(limit: Limit) -> str:
    """``limited to 5/s, 10 at once, for each app and number``."""
    words = []
    if limit.interval:
        words.append(f"limited to {_rate(limit.interval)}, burst {limit.burst}")
    if limit.concurrency:
        words.append(f"limited to {limit.concurrency} at the same time")
    if limit.key:
        words.append(f"for each {' and '.join(value.name for value in limit.key)}")
    return ", ".join(words)


def _rate(interval: int) -> str:
    """``5/s``, in the smallest unit in which that says it."""
    units = (("s", 10**9), ("m", 60 * 10**9), ("h", 3600 * 10**9), ("d", 86400 * 10**9))
    rates = ((round(unit / interval), word, unit) for word, unit in units)
    return next(
        (f"{count}/{word}" for count, word, unit in rates if count and unit // count == interval), "one a while"
    )


def box_text(box: Box, space: Space) -> str:
    """The messages of a box: ``command Call by crm to +3690…, mon-fri 18:00-24:00``."""
    return " ".join(space.told(box)).replace(" ,", ",")


def rules_text(rules: Iterable[Rule], most: int = 5) -> str:
    """Some rules, each with its place."""
    names = [f"`{rule.name}` ({rule.place.file}:{rule.place.line})" for rule in rules]
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} others"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
