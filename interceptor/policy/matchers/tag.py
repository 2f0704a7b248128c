"""### `tag`

A tag that a rule **above** gives to the message. A rule in enforced mode counts the rules in enforced mode; a rule in
shadow counts those in shadow as well. Whether a `limit` of the rule above was reached makes no difference.

    - name: calls-to-the-blocked-are-marked
      on: Call
      when: {number: {prefix: ["+3690", "+3691"]}}
      tag: costly
    - name: marked-calls-need-the-switchboard
      on: Call
      when: {tag: costly, app: {not: switchboard}}
      deny: true
"""  # noqa: D400, D415 - a page of the manual

from typing import Final

from interceptor.document import Node, Text
from interceptor.policy.condition import Condition, either
from interceptor.policy.grammar import Grammar, Reading
from interceptor.policy.shapes import TEXT, Shape, Shapes
from interceptor.policy.tags import DEEPEST, Tagged

KEY: Final = "tag"


def read(node: Node, reading: Reading) -> Condition | None:
    """The condition under ``tag``."""
    return _GRAMMAR.read(node, reading)


def shape(shapes: Shapes) -> Shape:
    """What can be written under ``tag``."""
    return shapes.grammar(KEY, TEXT)


def _values(nodes: tuple[Text, ...], reading: Reading) -> Condition | None:
    found = [_tagged(node, reading) for node in nodes]
    tagged = tuple(each for each in found if each is not None)
    return either(tagged) if len(tagged) == len(nodes) else None


def _tagged(node: Text, reading: Reading) -> Tagged | None:
    tagged = reading.tags.above(node.value, reading.mode)
    if tagged is None:
        hint = reading.tags.nearest(node.value) or "; a tag comes from a rule above, this file's or an earlier one's"
        reading.problems.add(node.place, f"no rule above gives the tag `{node.value}`{hint}", "unknown_tag")
    elif tagged.taggers.depth >= DEEPEST:
        message = f"the tag `{node.value}` depends on more than {DEEPEST - 1} other tags, one after the other"
        reading.problems.add(node.place, message, "too_many_tags")
        return None
    return tagged


_GRAMMAR: Final = Grammar("`tag`", _values, {})
