"""### `call`

The running call that a message is about: the one it names with its `CallId`; a verb that names none is about the call
whose notification is answered. `Call` and `RoutingInterception` name none, for them the call has no id yet.

| test | holds when the call |
| --- | --- |
| `owned` | `true`: is the app's own, because the app was told of it before (the call it asked for tells itself with `CallConnected`); `false`: is not |
| `state` | is `ringing`, `routed` (forwarded), `connected`, `held`, `transferring` or `ended`, as far as messages have shown; a notification counts itself |
| `direction` | is `incoming` (an app's extension was called: `IncomingCall`) or `outgoing` (an app asked for it: `CallConnected`) |
| `exists` | `true`: is named at all; `false`: is not |
| `not`, `any`, `all` | see above |

What nobody has told of a call is not known and equals nothing: `state: connected` does not hold for it, `not: {state:
connected}` does. What a call became that an app asked for is told to its callbacks, so they must come back through us
(`callbacks` of `config.yaml`), or to an app that is subscribed to `CallChanged`.

Where a message names two calls, `owned` means both, the others the first. Workers share what they know; a restart reads
it out of the journal. With `ownership: enforce` an app is kept away from other apps' calls without a rule; here rules
can say more.

    - name: nobody-is-transferred-before-somebody-has-answered
      on: BlindTransfer
      when: {call: {not: {state: [connected, held]}}}
      deny: {code: 601, message: "Nobody has answered this call"}
    - name: apps-transfer-their-own-incoming-calls
      on: BlindTransfer
      when: {call: {owned: true, direction: incoming}}
      allow: true
"""  # noqa: D400, D415, E501 - a page of the manual

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

from interceptor import document
from interceptor.document import Node, Text
from interceptor.policy.condition import AllOf, AnyOf, Condition, Not, Offer, Test, any_word
from interceptor.policy.grammar import Grammar, Reading
from interceptor.policy.readings import Readings
from interceptor.policy.shapes import TRUTH, Shape, Shapes, one_of
from interceptor.values import CallFacts, Facts

KEY: Final = "call"
STATES: Final = ("ringing", "routed", "connected", "held", "transferring", "ended")
DIRECTIONS: Final = ("incoming", "outgoing")
Part = Literal["state", "direction"]
_WORDS: Final[dict[Part, tuple[str, ...]]] = {"state": STATES, "direction": DIRECTIONS}


class CallExists(Struct, frozen=True):
    """The message is about a call."""

    def holds(self, call: CallFacts | None) -> bool:
        """Whether it holds for a message about this call."""
        return bool(call)

    def test(self, _readings: Readings) -> Test:
        holds = self.holds
        return lambda facts: holds(facts.call)

    def offer(self) -> Offer | None:
        return None

    def expects(self) -> str:
        return "a call"

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return call_text(facts.call)


class CallOwned(Struct, frozen=True):
    """The message is about a call that is its app's own, or about one that is not."""

    owned: bool

    def holds(self, call: CallFacts | None) -> bool:
        """Whether it holds for a message about this call."""
        return bool(call) and call is not None and call.owned is self.owned

    def test(self, _readings: Readings) -> Test:
        holds = self.holds
        return lambda facts: holds(facts.call)

    def offer(self) -> Offer | None:
        return None

    def expects(self) -> str:
        return "a call of the app's own" if self.owned else "a call that is not the app's own"

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return call_text(facts.call)


class CallIn(Struct, frozen=True):
    """The state or the direction of the call is one of these ``words``."""

    part: Part
    words: tuple[str, ...]

    def holds(self, call: CallFacts | None) -> bool:
        """Whether it holds for a message about this call."""
        if call is None:
            return False
        return (call.state if self.part == "state" else call.direction) in self.words

    def test(self, _readings: Readings) -> Test:
        holds = self.holds
        return lambda facts: holds(facts.call)

    def offer(self) -> Offer | None:
        return None

    def expects(self) -> str:
        return f"call {self.part} {any_word(self.words)}"

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return call_text(facts.call)


CallTest = CallExists | CallOwned | CallIn


def call_text(call: CallFacts | None) -> str:
    """A call in words: ``a call of the app's own, connected, outgoing``."""
    if not call:
        return "no call"
    whose = "of the app's own" if call.owned else "that is not the app's own"
    return ", ".join((f"a call {whose}", call.state or "state not known", call.direction or "direction not known"))


def ask_for_calls(conditions: Iterable[Condition | None]) -> bool:
    """Whether one of these conditions looks at calls. What many rules share is looked at once."""
    looked_at: set[int] = set()
    for condition in conditions:
        for part in condition.parts if isinstance(condition, AllOf) else (condition,):
            if part is not None and id(part) not in looked_at:
                looked_at.add(id(part))
                if _asks(part):
                    return True
    return False


def _asks(condition: Condition) -> bool:
    match condition:
        case AllOf() | AnyOf():
            return any(_asks(part) for part in condition.parts)
        case Not():
            return _asks(condition.part)
        case _:
            return isinstance(condition, CallTest)


def read(node: Node, reading: Reading) -> Condition | None:
    """The condition under ``call``."""
    return _GRAMMAR.read(node, reading)


def _exists(nodes: tuple[Text, ...], reading: Reading) -> Condition | None:
    wanted = document.boolean(nodes[0], reading.problems, "`exists` of `call`")
    return CallExists() if wanted is not False else Not(CallExists())


def _owned(nodes: tuple[Text, ...], reading: Reading) -> Condition | None:
    return CallOwned(document.boolean(nodes[0], reading.problems, "`owned` of `call`") is not False)


def _state(nodes: tuple[Text, ...], reading: Reading) -> Condition | None:
    return _words("state", nodes, reading)


def _direction(nodes: tuple[Text, ...], reading: Reading) -> Condition | None:
    return _words("direction", nodes, reading)


def _words(part: Part, nodes: tuple[Text, ...], reading: Reading) -> Condition | None:
    found = [document.one_of(node, _WORDS[part], reading.problems, f"`{part}` of `call`") for node in nodes]
    words = tuple(dict.fromkeys(word for word in found if word is not None))
    return CallIn(part, words) if words else None


_GRAMMAR: Final = Grammar(
    "`call`",
    None,
    {
        "owned": Grammar("`owned` of `call`", _owned, {}, plain=False).read,
        "state": Grammar("`state` of `call`", _state, {}, plain=False).read,
        "direction": Grammar("`direction` of `call`", _direction, {}, plain=False).read,
        "exists": Grammar("`exists` of `call`", _exists, {}, plain=False).read,
    },
)


def shape(shapes: Shapes) -> Shape:
    """What can be written under ``call``."""
    words = {"state": one_of(STATES), "direction": one_of(DIRECTIONS)}
    return shapes.grammar(KEY, None, shapes.tests(KEY, {"owned": TRUTH, **words, "exists": TRUTH}, __doc__ or ""))
