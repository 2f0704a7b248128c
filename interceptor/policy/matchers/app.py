"""### `app`

The business application that sends a command or that answers with a verb, or the one a notification goes to, as it is
named in `config.yaml`. A plain value or a list means *is this app*. `exists: true` means an app that we know,
`exists: false` a sender that is none.

    when: {app: [crm, switchboard]}
    when: {app: {not: marketing}}
"""  # noqa: D400, D415 - a page of the manual

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from interceptor import document
from interceptor.document import Node, Text
from interceptor.policy.condition import Condition, Not, Offer, Positions, Probe, Test, any_word, membership
from interceptor.policy.grammar import Grammar, Reading
from interceptor.policy.readings import Readings
from interceptor.policy.shapes import TRUTH, Shape, Shapes
from interceptor.values import Facts

KEY: Final = "app"


class AppLookup(Struct, frozen=True):
    """Rules by app."""

    @property
    def rank(self) -> int:
        return 7

    def probe(self, table: Mapping[Any, Positions], _readings: Readings) -> Probe:
        def find(facts: Facts, hits: list[int]) -> None:
            found = table.get(facts.app)
            if found is not None:
                hits.extend(found)

        return find


class AppIn(Struct, frozen=True):
    """The app is one of ``apps``; ``""`` is a sender that we do not know."""

    apps: tuple[str, ...]

    def test(self, _readings: Readings) -> Test:
        apps = membership(self.apps)
        return lambda facts: facts.app in apps

    def offer(self) -> Offer | None:
        lookup = AppLookup()
        return Offer(tuple((lookup, app) for app in self.apps))

    def expects(self) -> str:
        known = [app for app in self.apps if app]
        return any_word(([f"app {any_word(known)}"] if known else []) + ["no known app"] * ("" in self.apps))

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return f"app {facts.app}" if facts.app else "no known app"


def read(node: Node, reading: Reading) -> Condition | None:
    """The condition under ``app``."""
    return _GRAMMAR.read(node, reading)


def _values(nodes: tuple[Text, ...], reading: Reading) -> Condition | None:
    for node in nodes:
        if node.value not in reading.context.apps:
            hint = document.expected(node.value, reading.context.apps)
            reading.problems.add(node.place, f"unknown app `{node.value}`{hint}", "unknown_app")
    return AppIn(tuple(dict.fromkeys(node.value for node in nodes)))


def _exists(nodes: tuple[Text, ...], reading: Reading) -> Condition | None:
    unknown = AppIn(("",))
    return Not(unknown) if document.boolean(nodes[0], reading.problems, "`exists` of `app`") else unknown


_GRAMMAR: Final = Grammar(
    "`app`",
    _values,
    {
        "exact": Grammar("`exact` of `app`", _values, {}).read,
        "exists": Grammar("`exists` of `app`", _exists, {}, plain=False).read,
    },
)


def shape(shapes: Shapes) -> Shape:
    """What can be written under ``app``."""
    return shapes.grammar(KEY, shapes.app, shapes.tests(KEY, {"exact": shapes.app, "exists": TRUTH}))
