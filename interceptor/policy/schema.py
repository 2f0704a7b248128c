"""The rules language as JSON Schema 2020-12, put together from the lists of matchers and actions.

Each of them says in a ``shape`` what it takes. Here is the frame: files, rules, ``on``, ``when``, and what stands
beside rules.
"""

from typing import Any, Final

from interceptor.policy import actions, matchers
from interceptor.policy.grammar import NESTING
from interceptor.policy.names import OTHER
from interceptor.policy.numbers import number_shape
from interceptor.policy.rules import LONGEST_NAME, Mode
from interceptor.policy.shapes import (
    TEXT,
    TEXT_OR_NOTHING,
    Shape,
    Shapes,
    Words,
    any_of,
    closed,
    described,
    listed,
    named,
    one_of,
    page_of,
    refer,
)
from interceptor.policy.texts import text_shape
from interceptor.values import Kind, NumberClass, Verdict

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_NAME: Final[Shape] = {**TEXT, "minLength": 1, "maxLength": LONGEST_NAME}
_NEVER: Final = (*(verdict.value for verdict in Verdict), "limit", "reroute", "rewrite", "mirror")


def schema(words: Words) -> dict[str, Any]:
    """The schema of a rules file in which these words can be used."""
    shapes = Shapes(words)
    when = shapes.define("when", _when(shapes))
    on = shapes.define("on", listed(_message(words)))
    rule = shapes.define("rule", _rule(shapes, on, when))
    mode = one_of(mode.value for mode in Mode)
    properties = {
        "rules": described(
            any_of(listed(rule), {"type": "null"}),
            "The rules of this file, from top to bottom.",
        ),
        "mode": described(mode, "How far the rules of this file go; of a file's and a rule's mode the weaker counts."),
        "classes": described(_classes(shapes), "Which numbers belong to a class, whatever the number plan says."),
        "holidays": described(_holidays(), "Sets of days by name, which `time` of any file can use."),
        "invariants": described(_invariants(shapes, on), "What must hold of all rules, whatever they become."),
    }
    return {
        "$schema": DIALECT,
        "title": "Interceptor rules",
        "description": "A rules file of Interceptor; see docs/rules.md.",
        **closed(properties, least=1),
        "$defs": dict(sorted(shapes.definitions.items())),
    }


def _rule(shapes: Shapes, on: Shape, when: Shape) -> Shape:
    properties = {
        "name": described(_NAME, "What this rule is for, in words; no other rule has this name."),
        "on": described(on, "Which messages the rule is for: their names, or `command`, `notification`, `verb`, `*`."),
        "when": described(when, "Which of them; all that stands here must hold. Without it: all of them."),
        "mode": described(
            one_of(mode.value for mode in Mode), "`enforce`; `shadow`: only told, not done; `off`: not read."
        ),
        **{action.KEY: described(action.shape(shapes), page_of(action)) for action in actions.LIST},
    }
    endings = [word for word in ("allow", "deny", "answer") if word in properties]
    pairs = [(one, other) for at, one in enumerate(endings) for other in endings[at + 1 :]]
    return {
        **closed(properties, needed=("name", "on")),
        "anyOf": [{"required": [action.KEY]} for action in actions.LIST],
        "not": {"anyOf": [{"required": [one, other]} for one, other in pairs]},
    }


def _message(words: Words) -> Shape:
    names = {
        Kind.COMMAND: words.commands,
        Kind.NOTIFICATION: words.notifications,
        Kind.VERB: words.verbs,
    }
    plain = sorted({name for each in names.values() for name in each})
    qualified = [f"{kind.value}:{name}" for kind, each in names.items() for name in sorted(each)]
    known = one_of(("*", *(kind.value for kind in Kind), *plain, *qualified))
    return any_of(known, {"type": "string", "pattern": f"^{OTHER}:"})


def _when(shapes: Shapes) -> Shape:
    return _matching(shapes, {})


def _matching(shapes: Shapes, beside: dict[str, Shape]) -> Shape:
    """A mapping of dimensions and parameters, and of what stands ``beside`` them."""
    again = refer("when")
    text = text_shape(shapes)
    properties = {
        **dict.fromkeys(sorted(name for name in shapes.words.parameters if name[:1].isupper()), text),
        **beside,
        **{matcher.KEY: described(matcher.shape(shapes), page_of(matcher)) for matcher in matchers.LIST},
        **{word: again if word == "not" else listed(again) for word in NESTING},
    }
    return {**closed(properties, needed=beside, least=1), "patternProperties": {"^[A-Z]": text}}


def _classes(shapes: Shapes) -> Shape:
    return closed(dict.fromkeys((each.value for each in NumberClass), number_shape(shapes)), least=1)


def _holidays() -> Shape:
    day = {"type": "string", "pattern": "^[0-9-]{5,10}( *[.][.] *[0-9-]{5,10})?$"}
    days = any_of({**named(TEXT_OR_NOTHING), "propertyNames": day, "minProperties": 1}, listed(day))
    return named(days)


def _invariants(shapes: Shapes, on: Shape) -> Shape:
    keys = {
        "name": _NAME,
        "for": _matching(shapes, {"on": on}),
        "always": one_of(verdict.value for verdict in Verdict),
        "never": listed(one_of(_NEVER)),
    }
    said = {"anyOf": [{"required": ["always"]}, {"required": ["never"]}]}
    return listed({**closed(keys, needed=("name", "for")), **said})
