"""## Files

Every `*.yaml` file below the rules folder is read, in the order of their paths, but for `*.test.yaml` and
`*.scenario.yaml`, which [test](testing-rules.md) the rules. A file has a list of `rules`, or [`holidays`](#holidays)
and [`classes`](#number-classes-of-ones-own) that rules use, or [`invariants`](#invariants), or several of these, and
may have a `mode`. A rule has a `name`, which no other rule of any file has, `on`, perhaps `when` and `mode`, and its
actions.

    mode: enforce
    rules:
      - name: premium-numbers-are-never-dialled
        on: [Call, BlindTransfer]
        when: {number: {class: premium}}
        deny: true

**How they are read.** From top to bottom; every rule that matches acts. `allow`, `deny` and `answer` end the reading,
and a rule has at most one of them; the others act and go on. The first `reroute` stands. Where no rule ends the
reading, the default for the kind of message decides, which is written in `config.yaml` (shipped: commands `deny`,
notifications `allow`, verbs `deny`).

**`mode`** of a rule, of a whole file, or (`policy.mode` in `config.yaml`) of everything: `enforce` (as without it);
`shadow`: the rule is read and the audit record says that it would have acted, but it does nothing; `off`: it is checked
but not read. Of these modes the weakest counts, so a whole file can be tried or switched off in one place. Where
everything is in shadow or off, the defaults are not enforced either: every message of a known app passes. In shadow the
record then says `default: deny` of a message that nothing would have allowed.

**Text.** Everything is text as it was written, quoted or not: `+36201234567` keeps its plus, `0612345` its zero, `no`
is a word. Where a missing quote could mislead, `interceptor check` warns. Equal keys, aliases, anchors and tags are
problems. So is every word that is not known.
"""  # noqa: D400, D415 - a page of the manual

from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from interceptor import document
from interceptor.document import Fields, Items, Node, Text
from interceptor.pacing import paced
from interceptor.policy.actions import ACTIONS
from interceptor.policy.actions.deny import Deny
from interceptor.policy.actions.limit import Limit
from interceptor.policy.actions.outcome import Action
from interceptor.policy.actions.tag import Tag
from interceptor.policy.condition import Condition
from interceptor.policy.grammar import Reading
from interceptor.policy.names import Names, names_below, read_names
from interceptor.policy.sharing import Sharing
from interceptor.policy.tags import NamesBelow, Tagger, Tags
from interceptor.policy.when import read_when
from interceptor.values import Kind, Mode, Place

__all__ = ["DECLARATIONS", "LONGEST_NAME", "Mode", "Rule", "RuleReader"]

LONGEST_NAME: Final = 120
DECLARATIONS: Final = ("classes", "holidays", "invariants")  # what a rules file may have beside rules


_MODES: Final = tuple(mode.value for mode in Mode)
_KEYS: Final = ("name", "on", "when", "mode", *ACTIONS)


class Rule(Struct, frozen=True, gc=False):
    """A rule as it was written, checked. ``names`` says per kind what it is for; ``when`` is ``None`` for always."""

    name: str
    place: Place
    mode: Mode
    names: Names
    when: Condition | None
    actions: tuple[Action, ...]

    @property
    def label(self) -> str:
        """How decisions and records name it."""
        return f"{self.place.file}:{self.place.line} {self.name}"

    def actions_for(self, kind: Kind) -> tuple[Action, ...]:
        """Those of its actions that can be done to a message of this kind."""
        return tuple(action for action in self.actions if kind in action.kinds)


class RuleReader:
    """Reads the rules of one file after another, and sees to it that their names differ.

    ``mode`` is that of everything: no file and no rule goes further.
    """

    def __init__(self, mode: Mode = Mode.ENFORCE) -> None:
        self._mode = mode
        self.rules: list[Rule] = []
        self._tags = Tags()
        self._sharing = Sharing()
        self._named: dict[str, Place] = {}
        self._names: dict[tuple[tuple[str, ...], frozenset[Kind]], Names] = {}  # many rules write the same `on`
        self._below: dict[int, NamesBelow] = {}  # by the identity of names that rules have

    def read_file(self, root: Node, reading: Reading) -> None:
        """Take in the rules of one file."""
        problems = reading.problems
        top = document.fields(root, ("rules", "mode", *DECLARATIONS), problems, "a rules file")
        mode = weaker(self._mode, _mode(top, reading))
        rules = top.get("rules")
        if rules is None:
            if not problems and not any(key.value in DECLARATIONS for key, _ in top.entries):
                problems.add(root.place, "a rules file should have a list of `rules`", "missing_key")
            return
        if isinstance(rules, Text) and not rules.value:
            return
        readings = {each: replace(reading, tags=self._tags, mode=each) for each in Mode}
        for node in paced(document.items(rules, problems, "`rules`"), reading.context.pace):
            rule = self._rule(node, mode, readings)
            if rule is not None:
                self.rules.append(rule)
                tags = tuple(tag for action in rule.actions if isinstance(action, Tag) for tag in action.tags)
                if tags:
                    self._tags.add(tags, rule.mode, Tagger(rule.name, self._names_below(rule.names), rule.when))

    def _rule(self, node: Node, file_mode: Mode, readings: Mapping[Mode, Reading]) -> Rule | None:
        reading = readings[file_mode]
        problems = reading.problems
        entries = document.fields(node, _KEYS, problems, "a rule")
        if not isinstance(node, Fields):
            return None
        name = self._name(entries, reading)
        mode = weaker(file_mode, _mode(entries, reading))
        reading = readings[mode]
        actions, allowed, who = _actions(entries, reading)
        on, when = entries.get("on"), entries.get("when")
        names: Names = {}
        if on is None:
            problems.add(node.place, "a rule should say `on` which messages it acts", "missing_key")
        else:
            names = self._read_names(on, reading, allowed, who)
        condition = None if when is None else read_when(when, reading)
        if when is not None and condition is None and not problems:
            # A condition that was lost would make the rule act on everything: never without a word.
            problems.add(when.place, "this condition cannot be used", "unusable_condition")  # pragma: no cover
        return Rule(name, node.place, mode, names, self._sharing.condition(condition), self._sharing.one(actions))

    def _read_names(self, node: Node, reading: Reading, allowed: frozenset[Kind], who: str) -> Names:
        nodes = node.nodes if isinstance(node, Items) else (node,)
        written = tuple(entry.value for entry in nodes if isinstance(entry, Text))
        known = self._names.get((written, allowed)) if written and len(written) == len(nodes) else None
        if known is not None:
            return known
        names = read_names(node, reading, allowed, who)
        if not reading.problems:
            self._names[written, allowed] = names
        return names

    def _names_below(self, names: Names) -> NamesBelow:
        below = self._below.get(id(names))
        if below is None:
            below = self._below[id(names)] = names_below(names)
        return below

    def _name(self, entries: Fields, reading: Reading) -> str:
        node, problems = entries.get("name"), reading.problems
        if node is None:
            problems.add(entries.place, "a rule should have a `name`", "missing_key")
            return ""
        name = document.text(node, problems, "`name`")
        if name is None:
            return ""
        if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
            message = f"`name` should be one line of at most {LONGEST_NAME} characters"
            problems.add(node.place, message, "bad_name")
        elif name in self._named:
            message = f"a rule named `{name}` stands already at {self._named[name]}"
            problems.add(node.place, message, "duplicate_name")
        else:
            self._named[name] = node.place
        return name


def weaker(one: Mode, other: Mode) -> Mode:
    """Of two modes the one that goes less far."""
    return one if one is other else max(one, other, key=tuple(Mode).index)


def _mode(entries: Fields, reading: Reading) -> Mode:
    node = entries.get("mode")
    word = None if node is None else document.one_of(node, _MODES, reading.problems, "mode")
    return Mode.ENFORCE if word is None else Mode(word)


def _actions(entries: Fields, reading: Reading) -> tuple[tuple[Action, ...], frozenset[Kind], str]:
    """A rule's actions, the kinds of messages they are for together, and what to call them in a problem."""
    problems = reading.problems
    written = [(key, value) for key, value in entries.entries if key.value in ACTIONS]
    if not written and all(key.value in _KEYS for key, _ in entries.entries):
        message = "a rule should have an action: " + ", ".join(f"`{key}`" for key in ACTIONS)
        problems.add(entries.place, message, "no_action")
    actions: list[Action] = []
    ending = ""
    for key, value in written:
        action = ACTIONS[key.value].read(value, reading)
        if action is None:
            continue
        actions.append(action)
        if action.ends and ending:
            message = f"`{key.value}` beside `{ending}`: a rule ends the reading in one way only"
            problems.add(key.place, message, "two_endings")
        elif action.ends:
            ending = key.value
        if isinstance(action, Deny) and entries.get("limit") is not None:
            message = "`deny` beside `limit` would deny what is within the limit; what is over it stands in `otherwise`"
            problems.add(key.place, message, "deny_beside_limit")
    if len(actions) < len(written) or not actions:
        return tuple(actions), frozenset(Kind), ""
    ends = [action.kinds for action in actions if action.ends]
    allowed = ends[0] if ends else frozenset[Kind].union(*(action.kinds for action in actions))
    for action in actions:
        if isinstance(action, Limit):
            allowed &= action.kinds  # nothing passes a limit because of what happens beyond it
    return tuple(actions), allowed, " and ".join(f"`{key.value}`" for key, _ in written) + " as written here"
