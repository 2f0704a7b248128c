"""### `deny`

Ends the reading: the message goes nowhere, and none of the changes and reroutes above matter. The sender of a command
is told so in the PBX's own form. `deny: true` answers code 306 and names the rule; `code` and `message` say otherwise.
A notification that is denied is answered with an empty `<Response/>`, a verb that is denied is taken out of the answer.

    - name: premium-numbers-are-never-dialled
      on: [Call, BlindTransfer]
      when: {number: {class: premium}}
      deny: {code: 306, message: "Premium numbers are not dialled"}
"""  # noqa: D400, D415 - a page of the manual

from typing import Final

from msgspec import Struct

from interceptor import document
from interceptor.document import Fields, Node
from interceptor.policy.actions.outcome import EVERY_KIND, Outcome
from interceptor.policy.actions.plain import read_true
from interceptor.policy.columns import Column
from interceptor.policy.grammar import Reading
from interceptor.policy.placeholders import Pattern, Wording, read_wording
from interceptor.policy.shapes import TEXT, TRUE, Shape, Shapes, any_of, closed, whole
from interceptor.values import Kind, Refusal, Verdict

KEY: Final = "deny"
CODE: Final = 306


class Deny(Struct, frozen=True):
    """Refuse the message, with this code and sentence."""

    code: int = CODE
    message: Wording | None = None

    @property
    def kinds(self) -> frozenset[Kind]:
        return EVERY_KIND

    @property
    def ends(self) -> bool:
        return True

    @property
    def reads(self) -> tuple[Column, ...] | None:
        return None if isinstance(self.message, Pattern) else ()

    def act(self, outcome: Outcome) -> None:
        outcome.verdict = Verdict.DENY
        message = self.message
        if isinstance(message, Pattern):
            message = message.fill(outcome.facts)
        outcome.refusal = Refusal(self.code, message or f"Not allowed by rule '{outcome.rule}'")


def read(node: Node, reading: Reading) -> Deny | None:
    """The action under ``deny``."""
    if not isinstance(node, Fields):
        return Deny() if read_true(node, reading, KEY) else None
    problems = reading.problems
    entries = document.fields(node, ("code", "message"), problems, "`deny`")
    code, message = entries.get("code"), entries.get("message")
    number = CODE if code is None else document.whole_number(code, problems, "`code`", least=100, most=999)
    if code is not None and number == 200:
        problems.add(code.place, "code 200 means success, a refusal needs another (`306` without one)", "success_code")
    sentence = None if message is None else read_wording(message, reading, "`message`")
    return Deny(CODE if number is None else number, sentence)


def shape(_shapes: Shapes) -> Shape:
    """What can be written under ``deny``."""
    return any_of(TRUE, closed({"code": whole(100, 999), "message": TEXT}))
