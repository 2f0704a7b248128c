"""## `when`: which of them

A mapping; all that it names must hold. Without `when` a rule is for every message of its `on`.

* A **list** means *any of these*.
* `not` turns a condition around, `any` holds when one of a list holds, `all` when each does. They may stand beside the
  dimensions and inside them, and nest.
* Conditions see the message as it **arrived**, never as a rule above rewrote it.
* What a message does not have (no number, no such parameter) equals nothing, so `not` holds for it.

    when:
      app: crm
      number: {prefix: "+36", not: {class: [premium, satellite]}}
      any:
        - time: {days: mon-fri, hours: "08:00-18:00"}
        - caller: "1001"
"""  # noqa: D400, D415 - a page of the manual

from interceptor import document
from interceptor.document import Fields, Node, Text
from interceptor.policy.condition import Condition, joined
from interceptor.policy.grammar import NESTING, Reading, nested
from interceptor.policy.matchers import MATCHERS
from interceptor.policy.matchers.parameters import read_parameter


def read_when(node: Node, reading: Reading) -> Condition | None:
    """The condition that ``when`` writes, or ``None`` after a problem."""
    entries = document.fields(node, None, reading.problems, "`when`").entries
    if isinstance(node, Fields) and not entries:
        reading.problems.add(node.place, "`when` is empty; leave it out to mean every message", "empty_when")
    if not entries:
        return None
    parts = [_dimension(key, value, reading) for key, value in entries]
    found = tuple(part for part in parts if part is not None)
    return joined(found) if len(found) == len(parts) else None


def _dimension(key: Text, value: Node, reading: Reading) -> Condition | None:
    word = key.value
    matcher = MATCHERS.get(word)
    if matcher is not None:
        return matcher.read(value, reading)
    if word in NESTING:
        return nested(word, value, reading, read_when, "`when`")
    if word[:1].isupper():
        return read_parameter(key, value, reading)
    known = (*MATCHERS, *NESTING)
    hint = document.nearest(word, (*known, *reading.context.parameters))
    hint = hint or "; a parameter begins with a capital letter or stands under `parameters`"
    reading.problems.add(key.place, f"unknown condition `{word}` in `when`{hint}", "unknown_condition")
    return None
