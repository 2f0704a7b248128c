"""Messages and rules in words for the person who wrote the rules."""

from collections.abc import Iterable
from typing import Any

from interceptor.policy.actions.answer import Answer
from interceptor.policy.analysis.effects import Effect
from interceptor.policy.analysis.space import Box, Space
from interceptor.policy.analysis.times import time_text
from interceptor.policy.condition import quoted
from interceptor.policy.matchers.call import call_text
from interceptor.policy.rules import Rule
from interceptor.values import (
    Facts,
    Kind,
    Number,
    RemoveParameter,
    RenameParameter,
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


def effect_text(effect: Effect, secrets: frozenset[str], *, whole: bool) -> str:
    """What happens to a message: ``allow, to pbx-marketing``; where not the ``whole`` of it, ``allow``."""
    assert effect.verdict is not None
    words = [effect.verdict.value]
    if effect.verdict is Verdict.DENY:
        words = [f"deny {effect.how[0]}"]
    elif isinstance(effect.how, Answer):
        answer = effect.how
        verbs = ", ".join(draft.name for draft in answer.verbs)
        words = [f"answer [{verbs}]" if answer.verbs else f"answer {answer.code}"]
    if not whole:
        return words[0]
    words += [f"to {_target(target)}" for target in effect.target]
    words += [_change(change, secrets) for change in effect.changes]
    words += [f"tag {other}" if isinstance(other, str) else type(other).__name__.lower() for other in effect.others]
    return ", ".join(words)


def _target(target: Any) -> str:
    match target:
        case ToCluster():
            return target.cluster
        case ToApp():
            return target.app
        case ToUrl():
            return target.url
        case _:
            return "where the message leads"


def _change(change: Any, secrets: frozenset[str]) -> str:
    match change:
        case SetParameter():
            hidden = change.name.lower() in secrets
            return f"{change.name} set" if hidden else f"{change.name} set to {quoted(change.value)}"
        case RemoveParameter():
            return f"{change.name} removed"
        case RenameParameter():
            return f"{change.name} renamed to {change.to}"
        case _:
            return f"{change.name} changed"


def box_text(box: Box, space: Space) -> str:
    """The messages of a box: ``command Call by crm to +3690…, mon-fri 18:00-24:00``."""
    return " ".join(space.told(box)).replace(" ,", ",")


def rules_text(rules: Iterable[Rule], most: int = 5) -> str:
    """Some rules, each with its place."""
    names = [f"`{rule.name}` ({rule.place.file}:{rule.place.line})" for rule in rules]
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} others"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
