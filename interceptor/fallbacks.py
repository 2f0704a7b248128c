"""What a caller hears in place of an app that does not answer: verbs of the configuration, filled by the message."""

from collections.abc import Mapping
from typing import Final

from interceptor.document import Problems
from interceptor.policy.context import Context
from interceptor.policy.grammar import Reading
from interceptor.policy.placeholders import filled, into_verb
from interceptor.policy.verbs import Draft, worded
from interceptor.settings import App
from interceptor.values import Facts, Kind, Number, Place, Verb, Verdict
from interceptor.wire import knowledge, ozml
from interceptor.wire.knowledge import Group

HEARD: Final = frozenset(
    name
    for name in knowledge.NOTIFICATIONS
    if (known := knowledge.notification(name)) is not None
    and known.notification_group in {Group.INTERACTIVE, Group.ROUTING}
)
"""The notifications whose answer a caller waits for."""

_NOWHERE: Final = Place("", 1, 1)


def placeholders(problems: Problems) -> Reading:
    """What reads the placeholders of a fallback: those that rules know."""
    return Reading(
        Context(
            commands=knowledge.COMMANDS,
            notifications=knowledge.NOTIFICATIONS,
            verbs=knowledge.VERBS,
            apps=frozenset(),
            clusters=frozenset(),
            defaults=dict.fromkeys(Kind, Verdict.DENY),
            zone="UTC",
            number=_not_asked,
            parameters=knowledge.SPELLED_NAMES,
            spellings=knowledge.ALIASES,
            secrets=knowledge.SECRET_NAMES,
        ),
        problems,
        {},
    )


class Fallbacks:
    """The fallbacks of all apps. What holds no placeholder is written once."""

    def __init__(self, apps: Mapping[str, App]) -> None:
        reading = placeholders(Problems())
        self._written: dict[tuple[str, str], bytes | tuple[Draft, ...]] = {}
        for name, app in apps.items():
            for notification, verbs in (("", app.fallback), *app.fallbacks.items()):
                if verbs:
                    self._written[name, notification] = _prepared(verbs, reading)

    def answer(self, facts: Facts, *, named: bool = False) -> bytes | None:
        """What the caller of this notification hears; ``None`` where its app has nothing to say.

        ``named``: only what the app has for this very notification counts.
        """
        found = self._written.get((facts.app, facts.name))
        if found is None and not named:
            found = self._written.get((facts.app, ""))
        if found is None or isinstance(found, bytes):
            return found
        return ozml.encode_verbs(tuple(draft.verb(lambda word: filled(word, facts, into_verb)) for draft in found))


def _prepared(verbs: tuple[Verb, ...], reading: Reading) -> bytes | tuple[Draft, ...]:
    drafts = worded(verbs, _NOWHERE, reading)
    if any(draft.varies for draft in drafts):
        return drafts
    return ozml.encode_verbs(tuple(draft.verb(str) for draft in drafts))


def _not_asked(text: str) -> Number:
    raise NotImplementedError(f"a fallback reads no number such as {text}")
