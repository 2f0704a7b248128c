"""### `answer`

Ends the reading: the message goes nowhere, and its sender gets this answer as if it came from there. To a notification
that is a list of OzML verbs (`[]` answers "no opinion"; `Route` with `Destination: ""` rejects a caller). To a command
it is a `code` (200 without it) and a `message`. A verb in an app's answer gives way to the list of verbs.

    - name: the-old-fax-number-goes-to-the-guard
      on: RoutingInterception
      when: {number: "+3612222223"}
      answer: [{Route: {Destination: "1099", RingTime: "30"}}]

    - name: nobody-hangs-up-during-the-freeze
      on: command:Hangup
      answer: {code: 200, message: "Command successfully executed"}
"""  # noqa: D400, D415 - a page of the manual

from typing import Final

from msgspec import Struct

from interceptor import document
from interceptor.document import Fields, Items, Node
from interceptor.policy.actions.outcome import Outcome
from interceptor.policy.columns import Column
from interceptor.policy.grammar import Reading
from interceptor.policy.placeholders import Wording, filled, into_verb, read_wording
from interceptor.policy.shapes import TEXT, Shape, Shapes, any_of, closed, whole
from interceptor.policy.verbs import Draft, read_drafts, verbs_shape
from interceptor.values import Facts, Kind, Reply, Verdict

KEY: Final = "answer"
_WITH_VERBS: Final = frozenset((Kind.NOTIFICATION, Kind.VERB))
_WITH_CODE: Final = frozenset((Kind.COMMAND,))


class Answer(Struct, frozen=True):
    """Answer in place of the other side: ``to`` notifications and verbs with ``verbs``, a command with the rest."""

    to: frozenset[Kind]
    verbs: tuple[Draft, ...] = ()
    code: int = 200
    message: Wording = Reply().message

    @property
    def kinds(self) -> frozenset[Kind]:
        return self.to

    @property
    def ends(self) -> bool:
        return True

    @property
    def reads(self) -> tuple[Column, ...] | None:
        return None if not isinstance(self.message, str) or any(draft.varies for draft in self.verbs) else ()

    def act(self, outcome: Outcome) -> None:
        outcome.verdict = Verdict.ANSWER
        outcome.reply = self._reply(outcome.facts) if self.reads is None else self._plain()

    def _plain(self) -> Reply:
        return Reply(tuple(draft.verb(str) for draft in self.verbs), self.code, str(self.message))

    def _reply(self, facts: Facts) -> Reply:
        verbs = tuple(draft.verb(lambda word: filled(word, facts, into_verb)) for draft in self.verbs)
        return Reply(verbs, self.code, filled(self.message, facts))


def read(node: Node, reading: Reading) -> Answer | None:
    """The action under ``answer``."""
    problems = reading.problems
    if isinstance(node, Items):
        return Answer(_WITH_VERBS, read_drafts(node, reading))
    if not isinstance(node, Fields) or not node.entries:
        message = f"`answer` should be a list of verbs or a code and a message, here is {document.describe(node)}"
        problems.add(node.place, message, "bad_answer")
        return None
    if len(node.entries) == 1 and node.entries[0][0].value in reading.context.verbs:
        problems.add(
            node.place, "`answer` should be a list of verbs, write `[…]` around it or `-` before it", "bad_answer"
        )
        return None
    entries = document.fields(node, ("code", "message"), problems, "`answer`")
    code, message_node = entries.get("code"), entries.get("message")
    number = 200 if code is None else document.whole_number(code, problems, "`code`", least=100, most=999)
    sentence = None if message_node is None else read_wording(message_node, reading, "`message`")
    return Answer(_WITH_CODE, (), number or 200, Reply().message if sentence is None else sentence)


def shape(shapes: Shapes) -> Shape:
    """What can be written under ``answer``."""
    return any_of(verbs_shape(shapes), closed({"code": whole(100, 999), "message": TEXT}, least=1))
