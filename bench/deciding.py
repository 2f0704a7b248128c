"""Interceptor's decision as it is measured: the number read, the facts made, the rules asked."""

from collections.abc import Callable, Sequence
from typing import Final

from bench.rules import APPS
from interceptor.policy import Context, RuleSet, Source, compile_policy
from interceptor.values import Decision, Facts, Kind, Verdict
from interceptor.wire import knowledge
from interceptor.wire.e164 import canonical_test
from interceptor.wire.numbers import NumberReader

MIDNIGHT: Final = 1_700_006_400.0  # a Wednesday, UTC
Decide = Callable[[str, str, str, str, float], Decision]


class House:
    """What decisions need beside rules, made before they are measured."""

    def __init__(self) -> None:
        self.reader = NumberReader("HU", ("xxxx",))
        self.context = Context(
            commands=knowledge.COMMANDS,
            notifications=knowledge.NOTIFICATIONS,
            verbs=knowledge.VERBS,
            apps=frozenset(APPS),
            clusters=frozenset(("pbx-main", "pbx-marketing")),
            defaults={Kind.COMMAND: Verdict.DENY, Kind.NOTIFICATION: Verdict.ALLOW, Kind.VERB: Verdict.DENY},
            zone="UTC",
            number=self.reader.read,
            is_canonical=canonical_test(),
        )

    def compile(self, sources: Sequence[Source]) -> RuleSet:
        return compile_policy(sources, self.context)

    def decider(self, rules: RuleSet) -> Decide:
        """A function from command, app, number and caller as written, and the time, to the decision."""
        read, decide = self.reader.read, rules.decide

        def whole(command: str, app: str, number: str, caller: str, at: float) -> Decision:
            values = {"command": command, "dialed": number, "callerid": caller}
            return decide(Facts(Kind.COMMAND, command, app, "127.0.0.1", read(number), read(caller), values, {}, at))

        return whole
