"""Files of cases read with places: every problem of a file is told at once."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from interceptor import document
from interceptor.cases.form import Case, Expect, Step
from interceptor.document import Fields, Items, Node, Problems, Text
from interceptor.policy import Source
from interceptor.policy.matchers.call import DIRECTIONS, STATES
from interceptor.policy.verbs import read_verbs
from interceptor.rehearsal import Message
from interceptor.values import CallFacts, Kind, Place, Problem, Verb, Verdict
from interceptor.wire import knowledge, ozml

DEFAULT_AT: Final = "2026-01-14T12:00"  # a Wednesday, no holiday anywhere
MOST_REPEATS: Final = 100_000
_FILE: Final = ("given", "cases")
_CASE: Final = ("name", "given", "expect", "repeat", "every", "steps", "scenario")
_STEP: Final = ("given", "expect", "repeat", "every", "after")
_DEFAULT_DENIES: Final = "default: deny"  # what would have acted where everything is in shadow
_MESSAGES: Final = tuple(kind.value for kind in Kind)
_GIVEN: Final = (*_MESSAGES, "with", "app", "source", "at", "header", "method", "path", "exchange", "hold", "call")
_EXPECT: Final = (
    "verdict",
    "reason",
    "rules",
    "shadow",
    "parameters",
    "target",
    "answer",
    "tags",
    "mirrors",
    "limited",
)
_OF_SCENARIO: Final = ("rules", "shadow")
_VERDICTS: Final = tuple(verdict.value for verdict in Verdict)
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*")


class Ground(Struct, frozen=True):
    """What cases may name: apps, the rules and their time zone."""

    apps: Collection[str]
    rules: Collection[str]
    zone: str
    targets: Collection[str] = ()


def read_cases(sources: Sequence[Source], ground: Ground) -> tuple[tuple[Case, ...], tuple[Problem, ...]]:
    """Every case of every file in order, and every problem: by file in that order, then by place."""
    cases: list[Case] = []
    found: list[Problem] = []
    for source in sources:
        root, problems_of_form = document.read(source.data, source.file)
        problems = Problems(problems_of_form)
        if root is not None:
            cases += _Reader(problems, ground).file(root)
        found += sorted(problems.found, key=lambda problem: (problem.place.line, problem.place.column))
    return tuple(cases), tuple(found)


def read_instant(text: str, zone: str) -> float | None:
    """Unix time of ``2026-11-23T19:00``, on the clock of ``zone`` unless it says another; ``None`` where it is none."""
    if not _INSTANT.fullmatch(text.strip()):
        return None
    try:
        found = datetime.fromisoformat(text.strip())
        if not 1970 < found.year < 9999:  # what clocks of every zone can tell
            return None
        return (found if found.tzinfo is not None else found.replace(tzinfo=ZoneInfo(zone))).timestamp()
    except (ValueError, OverflowError):
        return None


_Given = Mapping[str, tuple[Text, Node]]


class _Reader:
    def __init__(self, problems: Problems, ground: Ground) -> None:
        self._problems = problems
        self._ground = ground
        self._names: dict[str, Place] = {}

    def file(self, root: Node) -> list[Case]:
        problems = self._problems
        top = document.fields(root, _FILE, problems, "a file of cases")
        given = self._given(top.get("given"), {})
        cases = top.get("cases")
        if cases is None:
            if not problems:
                problems.add(root.place, "a file of cases should have a list of `cases`", "missing_key")
            return []
        if isinstance(cases, Text) and not cases.value:
            return []
        found = [self._case(node, given) for node in document.items(cases, problems, "`cases`")]
        return [case for case in found if case is not None]

    def _case(self, node: Node, outer: _Given) -> Case | None:
        problems = self._problems
        entries = document.fields(node, _CASE, problems, "a case")
        if not isinstance(node, Fields):
            return None
        name = self._name(entries)
        ways = [key for key, _ in entries.entries if key.value in {"expect", "steps"}]
        scenario, steps = entries.get("scenario"), entries.get("steps")
        if scenario is not None:
            for key, _ in entries.entries:
                if key.value in _CASE and key.value not in {"name", "scenario", "expect"}:
                    problems.add(key.place, f"`{key.value}` beside `scenario` means nothing", "unused_key")
            path = document.text(scenario, problems, "`scenario`") or ""
            expect = entries.get("expect")
            wanted = None if expect is None else self._expect(expect, None, _OF_SCENARIO)
            return Case(name=name, place=node.place, scenario=path, expect=wanted)
        given = self._given(entries.get("given"), outer)
        if not ways:
            if all(key.value in _CASE for key, _ in entries.entries):  # else a slip in one was told already
                problems.add(node.place, "a case should say what to `expect`, or have `steps`", "missing_key")
            self._message(given, node.place)
            return None
        if steps is None:
            step = self._step(entries, given)
            return Case(name=name, place=node.place, steps=() if step is None else (step,))
        for key, _ in entries.entries:
            if key.value in {"expect", "repeat", "every"}:
                problems.add(key.place, f"`{key.value}` beside `steps` belongs into a step", "unused_key")
        made: list[Step | None] = []
        for entry in document.items(steps, problems, "`steps`"):
            inner = document.fields(entry, _STEP, problems, "a step")
            if isinstance(entry, Fields):
                made.append(self._step(inner, self._given(inner.get("given"), given)))
        return Case(name=name, place=node.place, steps=tuple(step for step in made if step is not None))

    def _name(self, entries: Fields) -> str:
        node, problems = entries.get("name"), self._problems
        if node is None:
            problems.add(entries.place, "a case should have a `name`", "missing_key")
            return ""
        name = document.text(node, problems, "`name`") or ""
        if name in self._names:
            problems.add(node.place, f"a case named `{name}` stands already at {self._names[name]}", "duplicate_name")
        self._names[name] = node.place
        return name

    def _step(self, entries: Fields, given: _Given) -> Step | None:
        problems = self._problems
        message = self._message(given, entries.place)
        expect = entries.get("expect")
        if expect is None:
            problems.add(entries.place, "this should say what to `expect`", "missing_key")
        if message is None or expect is None:
            return None
        repeat, after, every = entries.get("repeat"), entries.get("after"), entries.get("every")
        times = (
            None if repeat is None else document.whole_number(repeat, problems, "`repeat`", least=1, most=MOST_REPEATS)
        )
        return Step(
            place=entries.place,
            message=message,
            expect=self._expect(expect, message.kind, _EXPECT),
            repeat=times or 1,
            after=0.0 if after is None else document.duration_seconds(after, problems, "`after`") or 0.0,
            every=0.0 if every is None else document.duration_seconds(every, problems, "`every`") or 0.0,
        )

    # what is given

    def _given(self, node: Node | None, outer: _Given) -> _Given:
        """What is given here, with what is given around it. A message here has no parameters from there."""
        if node is None:
            return outer
        entries = document.fields(node, _GIVEN, self._problems, "`given`").entries
        here = {key.value: (key, value) for key, value in entries}
        named = [key for key in here if key in _MESSAGES]
        if len(named) > 1:
            place = here[named[1]][0].place
            self._problems.add(place, f"`{named[1]}` beside `{named[0]}`: one message at a time", "two_messages")
        if named:
            outer = {key: value for key, value in outer.items() if key not in {*_MESSAGES, "with"}}
        return {**outer, **here}

    def _message(self, given: _Given, place: Place) -> Message | None:
        problems = self._problems
        kind = next((kind for kind in Kind if kind.value in given), None)
        if kind is None:
            known = ", ".join(f"`{name}`" for name in _MESSAGES)
            problems.add(place, f"nothing is given: `given` should name a message, one of {known}", "no_message")
            return None
        name = self._message_name(kind, given[kind.value][1])
        path = self._text(given, "path")
        if path is not None and not path.startswith("/"):
            problems.add(given["path"][1].place, "`path` should begin with `/`", "bad_path")
        if kind is Kind.VERB and "header" in given:
            problems.add(given["header"][0].place, "a verb has no headers", "unused_key")
        parameters = self._parameters(given.get("with"))
        if kind is Kind.VERB:
            try:
                ozml.encode_verbs((Verb(name, parameters),))
            except ValueError as fault:
                problems.add(given[kind.value][1].place, str(fault), "bad_name")
        method = given.get("method")
        word = None if method is None else document.one_of(method[1], ("GET", "POST"), problems, "method")
        return Message(
            kind=kind,
            name=name,
            parameters=parameters,
            app=self._app(given),
            source=self._text(given, "source"),
            headers=self._headers(given.get("header")),
            method=word or "GET",
            path=path or "/",
            at=self._at(given),
            exchange=self._text(given, "exchange") or "",
            hold="hold" in given and document.boolean(given["hold"][1], problems, "`hold`") is True,
            call=self._call(given),
        )

    def _message_name(self, kind: Kind, node: Node) -> str:
        name = document.text(node, self._problems, f"`{kind.value}`") or ""
        if name.startswith("other:"):
            return name.removeprefix("other:").strip()
        known = {
            Kind.COMMAND: knowledge.COMMANDS,
            Kind.NOTIFICATION: knowledge.NOTIFICATIONS,
            Kind.VERB: knowledge.VERBS,
        }[kind]
        if name and name not in known:
            hint = document.nearest(name, known)
            hint = hint or f"; a name that the reference does not list is written `other:{name}`"
            self._problems.add(node.place, f"unknown {kind.value} `{name}`{hint}", "unknown_name")
        return name

    def _parameters(self, given: tuple[Text, Node] | None) -> tuple[tuple[str, str], ...]:
        if given is None:
            return ()
        found: list[tuple[str, str]] = []
        for key, value in document.fields(given[1], None, self._problems, "`with`").entries:
            word = document.text(value, self._problems, f"`{key.value}`", empty=True)
            document.warn_unquoted(value, self._problems)
            found.append((self._parameter_name(key), word or ""))
        return tuple(found)

    def _parameter_name(self, key: Text) -> str:
        if key.value.startswith("other:"):
            return key.value.removeprefix("other:")
        known = knowledge.PARAMETER_NAMES
        if knowledge.lower(key.value) not in known:
            hint = document.nearest(key.value, (name for name in known if name[:1].isupper()))
            if hint:
                message = f"unknown parameter `{key.value}`{hint} If it is really called that: `other:{key.value}`"
                self._problems.add(key.place, message, "unknown_parameter")
        return key.value

    def _call(self, given: _Given) -> CallFacts | None:
        if "call" not in given:
            return None
        problems = self._problems
        entries = document.fields(given["call"][1], ("owned", "state", "direction"), problems, "`call`")
        owned, state, direction = (entries.get(key) for key in ("owned", "state", "direction"))
        return CallFacts(
            owned is not None and document.boolean(owned, problems, "`owned` of `call`") is True,
            ("" if state is None else document.one_of(state, STATES, problems, "`state` of `call`")) or "",
            ("" if direction is None else document.one_of(direction, DIRECTIONS, problems, "`direction` of `call`"))
            or "",
        )

    def _headers(self, given: tuple[Text, Node] | None) -> dict[str, str]:
        if given is None:
            return {}
        entries = document.fields(given[1], None, self._problems, "`header`").entries
        return {
            key.value: document.text(value, self._problems, f"`{key.value}`", empty=True) or ""
            for key, value in entries
        }

    def _text(self, given: _Given, key: str) -> str | None:
        return None if key not in given else document.text(given[key][1], self._problems, f"`{key}`")

    def _app(self, given: _Given) -> str | None:
        if "app" not in given:
            return None
        node = given["app"][1]
        if isinstance(node, Text) and not node.quoted and not node.value:
            return None  # `app: ~` takes back what is given around it
        name = document.text(node, self._problems, "`app`", empty=True)
        if name and name not in self._ground.apps:
            hint = document.nearest(name, self._ground.apps)
            self._problems.add(node.place, f"unknown app `{name}`{hint}", "unknown_app")
        return name

    def _at(self, given: _Given) -> float:
        zone = self._ground.zone
        text = self._text(given, "at") if "at" in given else DEFAULT_AT
        found = None if text is None else read_instant(text, zone)
        if found is None and text is not None:
            message = f"`at` should be a time such as `2026-11-23T19:00`, here is `{text}`"
            self._problems.add(given["at"][1].place, message, "not_a_time")
        return found or datetime(2026, 1, 14, tzinfo=UTC).timestamp()

    # what is expected

    def _expect(self, node: Node, kind: Kind | None, keys: tuple[str, ...]) -> Expect:
        problems = self._problems
        if isinstance(node, Text) and kind is not None:
            word = document.one_of(node, _VERDICTS, problems, "verdict")
            return Expect(place=node.place, verdict=None if word is None else Verdict(word))
        entries = document.fields(node, keys, problems, "`expect`")
        if isinstance(node, Fields) and not entries.entries:
            problems.add(node.place, "`expect` is empty, everything fits that", "empty_expect")
        verdict, answer, target = entries.get("verdict"), entries.get("answer"), entries.get("target")
        word = None if verdict is None else document.one_of(verdict, _VERDICTS, problems, "verdict")
        code, message, verbs = (None, None, None) if answer is None else self._answer(answer)
        reason = entries.get("reason")
        if target is not None:
            self._targets((target,))
        mirrors = entries.get("mirrors")
        if mirrors is not None:
            self._targets(mirrors.nodes if isinstance(mirrors, Items) else (mirrors,))
        return Expect(
            place=node.place,
            verdict=None if word is None else Verdict(word),
            reason=None if reason is None else document.text(reason, problems, "`reason`"),
            rules=self._rules(entries.get("rules"), "`rules`"),
            shadow=self._rules(entries.get("shadow"), "`shadow`"),
            parameters=self._after(entries.get("parameters")),
            target=None if target is None else document.text(target, problems, "`target`"),
            code=code,
            message=message,
            verbs=verbs,
            tags=self._texts(entries.get("tags"), "`tags`"),
            mirrors=self._texts(mirrors, "`mirrors`"),
            limited=self._rules(entries.get("limited"), "`limited`"),
        )

    def _targets(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            word = node.value if isinstance(node, Text) else ""
            if word and "/" not in word and word not in self._ground.targets:
                hint = document.nearest(word, self._ground.targets)
                self._problems.add(node.place, f"unknown target `{word}`{hint}", "unknown_target")

    def _texts(self, node: Node | None, what: str) -> tuple[str, ...] | None:
        if node is None:
            return None
        if isinstance(node, Items) and not node.nodes:
            return ()  # none at all
        return document.texts(node, self._problems, what)

    def _rules(self, node: Node | None, what: str) -> tuple[str, ...] | None:
        names = self._texts(node, what)
        nodes = node.nodes if isinstance(node, Items) else (node,)
        for entry in nodes:
            if isinstance(entry, Text) and entry.value and entry.value not in {*self._ground.rules, _DEFAULT_DENIES}:
                hint = document.nearest(entry.value, self._ground.rules)
                self._problems.add(entry.place, f"there is no rule `{entry.value}`{hint}", "unknown_rule")
        return names

    def _after(self, node: Node | None) -> dict[str, str | None] | None:
        if node is None:
            return None
        problems = self._problems
        found: dict[str, str | None] = {}
        for key, value in document.fields(node, None, problems, "`parameters`").entries:
            name = self._parameter_name(key)
            if isinstance(value, Fields):
                exists = document.fields(value, ("exists",), problems, f"`{name}`").get("exists")
                if exists is None or document.boolean(exists, problems, "`exists`") is not False:
                    message = f"`{name}` should be a text, or `{{exists: false}}` where it should not be there"
                    problems.add(value.place, message, "not_text")
                found[name] = None
            else:
                found[name] = document.text(value, problems, f"`{name}`", empty=True) or ""
                document.warn_unquoted(value, problems)
        return found

    def _answer(self, node: Node) -> tuple[int | None, str | None, tuple[Verb, ...] | None]:
        problems = self._problems
        if isinstance(node, Items):
            return None, None, read_verbs(node, knowledge.VERBS, problems)
        entries = document.fields(node, ("code", "message"), problems, "`answer`")
        code, message = entries.get("code"), entries.get("message")
        number = None if code is None else document.whole_number(code, problems, "`code`", least=100, most=9999)
        return number, None if message is None else document.text(message, problems, "`message`"), None
