"""Messages and rules in words for the person who wrote the rules."""

from collections.abc import Iterable

from interceptor.policy.analysis.space import Space
from interceptor.policy.analysis.times import time_text
from interceptor.policy.condition import quoted
from interceptor.policy.rules import Rule
from interceptor.values import Facts, Kind, Number


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
    found = " ".join(words)
    return f"{found}, {time_text(facts.at, space.zone)}" if space.asks_time else found


def _number(number: Number) -> str:
    plain = number.canonical.removeprefix("+").isalnum()
    return number.canonical if plain else quoted(number.canonical)


def _value(text: str, *, secret: bool) -> str:
    return "that is not shown" if secret else quoted(text)


def rules_text(rules: Iterable[Rule], most: int = 5) -> str:
    """Some rules, each with its place."""
    names = [f"`{rule.name}` ({rule.place.file}:{rule.place.line})" for rule in rules]
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} others"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
