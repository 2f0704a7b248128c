"""## Invariants

What must hold of the rules whatever they become: a list under `invariants` in any rules file. Each is decided for every
message that it is for, not tried; when it does not hold, the rules do not load, and a message that shows it is told.

    invariants:
      - name: premium-numbers-are-never-dialled
        for: {on: [Call, BlindTransfer], number: {class: premium}}
        always: deny
      - name: the-guard-can-be-called
        for: {on: Call, number: "1099", app: [crm, switchboard]}
        always: allow
        never: [limit, reroute]

| key | value |
| --- | --- |
| `name` | one line, which no other invariant has |
| `for` | the messages: `on`, and beside it what may stand in a `when` |
| `always` | `allow`, `deny` or `answer`: the reading ends so, by a rule or by the default |
| `never` | what does not happen, a word or a list: `allow`, `deny`, `answer`, `limit` (no limit counts it), `reroute` (it goes where it would without rules, to the number that it came with), `rewrite`, `mirror` |

Commands and verbs of senders that are no app are refused before the rules and not covered. Rules in shadow and rules
that are off do not count: an invariant is about what happens.

One invariant is built in and needs no words: **emergency numbers of the configured country, dialled by a command or a
verb of any app, are always allowed, and never limited or rerouted.** A set of rules that breaks it does not load, nor
does one for which it cannot be decided. Also where nothing denies such a call but nothing allows it and the default is
`deny`: a rule near the top that allows the class `emergency` for every message that dials is what the shipped
`10-emergency.yaml` is for.
"""  # noqa: D400, D415, E501 - a page of the manual

from typing import Final

from msgspec import Struct

from interceptor import document
from interceptor.document import Fields, Node, Problems
from interceptor.policy.condition import Condition
from interceptor.policy.grammar import Reading
from interceptor.policy.names import Names, read_names
from interceptor.policy.when import read_when
from interceptor.values import Kind, Place, Verdict

_VERDICTS: Final = tuple(verdict.value for verdict in Verdict)
NEVER: Final = (*_VERDICTS, "limit", "reroute", "rewrite", "mirror")
_KEYS: Final = ("name", "for", "always", "never")
_LONGEST_NAME: Final = 120


class Invariant(Struct, frozen=True):
    """What must hold of all messages of ``names`` for which ``when`` holds (``None``: for all of them).

    ``place`` is ``None`` for the one that is built in.
    """

    name: str
    place: Place | None
    names: Names
    when: Condition | None
    always: Verdict | None = None
    never: tuple[str, ...] = ()


class InvariantReader:
    """Reads the invariants of one file after another, and sees to it that their names differ."""

    def __init__(self) -> None:
        self.invariants: list[Invariant] = []
        self._named: dict[str, Place] = {}

    def read_file(self, root: Node, reading: Reading) -> None:
        """Take in the invariants of one file."""
        node = root.get("invariants") if isinstance(root, Fields) else None
        if node is None:
            return
        for each in document.items(node, reading.problems, "`invariants`"):
            found = self._invariant(each, reading)
            if found is not None:
                self.invariants.append(found)

    def _invariant(self, node: Node, reading: Reading) -> Invariant | None:
        problems = reading.problems
        entries = document.fields(node, _KEYS, problems, "an invariant")
        if not isinstance(node, Fields):
            return None
        name = self._name(entries, problems)
        names, when = self._covered(entries, reading)
        always, never = entries.get("always"), entries.get("never")
        if always is None and never is None:
            problems.add(node.place, "an invariant should say what happens `always` or `never`", "missing_key")
        word = None if always is None else document.one_of(always, _VERDICTS, problems, "`always`")
        words = () if never is None else self._never(never, problems)
        return Invariant(name, node.place, names, when, None if word is None else Verdict(word), words)

    def _name(self, entries: Fields, problems: Problems) -> str:
        node = entries.get("name")
        if node is None:
            problems.add(entries.place, "an invariant should have a `name`", "missing_key")
            return ""
        name = document.text(node, problems, "`name`") or ""
        if name and (not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME):
            problems.add(node.place, f"`name` should be one line of at most {_LONGEST_NAME} characters", "bad_name")
        elif name in self._named:
            message = f"an invariant named `{name}` stands already at {self._named[name]}"
            problems.add(node.place, message, "duplicate_name")
        elif name:
            self._named[name] = node.place
        return name

    def _covered(self, entries: Fields, reading: Reading) -> tuple[Names, Condition | None]:
        node, problems = entries.get("for"), reading.problems
        if node is None:
            problems.add(entries.place, "an invariant should say `for` which messages it is", "missing_key")
            return {}, None
        if not isinstance(node, Fields) or node.get("on") is None:
            message = f"`for` should be a mapping with `on`, here is {document.describe(node)}"
            if isinstance(node, Fields):
                message = "`for` should say `on` which messages it is"
            problems.add(node.place, message, "missing_key")
            return {}, None
        names: Names = {}
        for key, value in node.entries:
            if key.value == "on":
                names = read_names(value, reading, frozenset(Kind), "an invariant")
        rest = tuple(entry for entry in node.entries if entry[0].value != "on")
        return names, read_when(Fields(rest, node.place), reading) if rest else None

    def _never(self, node: Node, problems: Problems) -> tuple[str, ...]:
        words = [
            document.one_of(each, NEVER, problems, "`never`") for each in document.items(node, problems, "`never`")
        ]
        return tuple(dict.fromkeys(word for word in words if word is not None))
