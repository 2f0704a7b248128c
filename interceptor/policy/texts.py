"""### Tests on text

Parameters and headers are text as it arrived, decoded once. A parameter that the reference spells in two ways (`Dialed`
and `Dialled`) is one, whichever of them the rule or the message has. A plain value means *equals*; a list means *equals one of
them*; a mapping may name other tests, and all that it names must hold:

| test | holds when the text |
| --- | --- |
| `exact` | is this, letter case included |
| `prefix`, `suffix`, `contains` | begins with, ends with, has inside this |
| `regex` | has a part that fits ([RE2](https://github.com/google/re2/wiki/Syntax)); `^` and `$` mean begin and end |
| `range` | is a decimal number in this span: `1..100`, `0.5..` (at least), `..-1` (at most), `7` |
| `length` | has so many characters: `4`, `3..6`, `12..` (at least), `..6` (at most) |
| `table` | stands in this table; in a table of numbers, it is a number that stands there or begins with an entry that stands for beginnings; with `column` and `is`: in a row that has this value, or one of a list, in that column |
| `exists` | `true`: is there, even if empty; `false`: is not there |
| `not`, `any`, `all` | see above |

Each takes one value or a list, and a list means *any of*. A text that is not there equals nothing: every test but
`exists: false` fails, and so `not: {prefix: "1"}` holds for it.

    when:
      Recipient: {prefix: "+3620", not: {suffix: ["00", "99"]}}
      Message: {regex: "(?i)lottery|you won", length: 1..160}
      parameters: {RingTime: {range: 5..60}}
"""  # noqa: D400, D415, E501 - a page of the manual

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from interceptor import document
from interceptor.document import Fields, Node, Text
from interceptor.policy.condition import (
    Condition,
    Not,
    Offer,
    Positions,
    Probe,
    Test,
    any_word,
    either,
    joined,
    membership,
    quoted,
)
from interceptor.policy.grammar import Grammar, Reading
from interceptor.policy.members import KEYS, KeyOf, Rows, read_rows, rows_shape, table_lookup
from interceptor.policy.patterns import LinearPattern, read_pattern
from interceptor.policy.readings import Readings
from interceptor.policy.shapes import TEXT, TRUTH, Shape, Shapes, named
from interceptor.policy.spans import Span, any_span, decimal, read_spans
from interceptor.values import Facts, Number

Part = Literal["values", "headers"]


class TextField(Struct, frozen=True, eq=False):
    """Where a text stands: a parameter or a header, by its name in lower case. ``secret``: its value is not told.

    ``written`` is how the rule spells the name; fields that differ in nothing else are equal.
    """

    part: Part
    name: str
    written: str = ""
    secret: bool = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TextField) and (self.part, self.name) == (other.part, other.name)

    def __hash__(self) -> int:
        return hash((self.part, self.name))

    def told(self) -> str:
        """What to call it."""
        return f"{'header' if self.part == 'headers' else 'parameter'} {self.written or self.name}"

    def text_of(self) -> KeyOf:
        """What reads it out of a message."""
        name = self.name
        if self.part == "headers":
            return lambda facts: facts.headers.get(name)
        return lambda facts: facts.values.get(name)

    def wants(self, test: str, values: tuple[str, ...]) -> str:
        """What a test on it expects."""
        words = "a value that is not shown" if self.secret else any_word([quoted(value) for value in values])
        return f"{self.told()} {test}{' ' if test else ''}{words}"

    def sees(self, facts: Facts) -> str:
        """The text that the message has there."""
        value = (facts.headers if self.part == "headers" else facts.values).get(self.name)
        if value is None:
            return f"no {self.told()}"
        return f"{self.told()} {'that is not shown' if self.secret else quoted(value)}"


class TextLookup(Struct, frozen=True):
    """Rules by the value of one parameter or header, or by what it begins with."""

    field: TextField
    by: Literal["exact", "prefix"]

    @property
    def rank(self) -> int:
        return 3 if self.by == "exact" else 5

    def probe(self, table: Mapping[Any, Positions], _readings: Readings) -> Probe:
        name, headers = self.field.name, self.field.part == "headers"
        if self.by == "exact":

            def find(facts: Facts, hits: list[int]) -> None:
                value = (facts.headers if headers else facts.values).get(name)
                if value is not None:
                    hits.extend(table.get(value, ()))

            return find
        lengths = by_length(table)

        def find_prefixes(facts: Facts, hits: list[int]) -> None:
            value = (facts.headers if headers else facts.values).get(name)
            if value is not None:
                for length, prefixes in lengths:
                    hits.extend(prefixes.get(value[:length], ()))

        return find_prefixes


def by_length(table: Mapping[str, Positions]) -> tuple[tuple[int, dict[str, Positions]], ...]:
    """The table cut into one per length of key, shortest first."""
    lengths: dict[int, dict[str, Positions]] = {}
    for prefix, positions in table.items():
        lengths.setdefault(len(prefix), {})[prefix] = positions
    return tuple(sorted(lengths.items(), key=lambda entry: entry[0]))


def shortest(prefixes: tuple[str, ...]) -> tuple[str, ...]:
    """The prefixes without those that another one covers, in order."""
    kept: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    return tuple(kept)


class TextIn(Struct, frozen=True):
    """The text is one of ``values``."""

    field: TextField
    values: tuple[str, ...]

    def test(self, _readings: Readings) -> Test:
        name, values = self.field.name, membership(self.values)
        if self.field.part == "headers":
            return lambda facts: facts.headers.get(name) in values
        return lambda facts: facts.values.get(name) in values

    def offer(self) -> Offer | None:
        lookup = TextLookup(self.field, "exact")
        return Offer(tuple((lookup, value) for value in self.values))

    def expects(self) -> str:
        return self.field.wants("", self.values)

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return self.field.sees(facts)


class TextStarts(Struct, frozen=True):
    """The text begins with one of ``prefixes``."""

    field: TextField
    prefixes: tuple[str, ...]

    def test(self, _readings: Readings) -> Test:
        name, prefixes = self.field.name, self.prefixes
        if self.field.part == "headers":
            return lambda facts: (value := facts.headers.get(name)) is not None and value.startswith(prefixes)
        return lambda facts: (value := facts.values.get(name)) is not None and value.startswith(prefixes)

    def offer(self) -> Offer | None:
        lookup = TextLookup(self.field, "prefix")
        return Offer(tuple((lookup, prefix) for prefix in self.prefixes))

    def expects(self) -> str:
        return self.field.wants("prefix", self.prefixes)

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return self.field.sees(facts)


class TextEnds(Struct, frozen=True):
    """The text ends with one of ``suffixes``."""

    field: TextField
    suffixes: tuple[str, ...]

    def test(self, _readings: Readings) -> Test:
        name, suffixes = self.field.name, self.suffixes
        if self.field.part == "headers":
            return lambda facts: (value := facts.headers.get(name)) is not None and value.endswith(suffixes)
        return lambda facts: (value := facts.values.get(name)) is not None and value.endswith(suffixes)

    def offer(self) -> Offer | None:
        return None

    def expects(self) -> str:
        return self.field.wants("suffix", self.suffixes)

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return self.field.sees(facts)


class TextContains(Struct, frozen=True):
    """The text has ``inner`` inside."""

    field: TextField
    inner: str

    def test(self, _readings: Readings) -> Test:
        name, inner = self.field.name, self.inner
        if self.field.part == "headers":
            return lambda facts: (value := facts.headers.get(name)) is not None and inner in value
        return lambda facts: (value := facts.values.get(name)) is not None and inner in value

    def offer(self) -> Offer | None:
        return None

    def expects(self) -> str:
        return self.field.wants("contains", (self.inner,))

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return self.field.sees(facts)


class TextFits(Struct, frozen=True):
    """A regular expression fits some part of the text."""

    field: TextField
    pattern: LinearPattern

    def test(self, _readings: Readings) -> Test:
        name, found_in = self.field.name, self.pattern.found_in
        if self.field.part == "headers":
            return lambda facts: (value := facts.headers.get(name)) is not None and found_in(value)
        return lambda facts: (value := facts.values.get(name)) is not None and found_in(value)

    def offer(self) -> Offer | None:
        return None

    def expects(self) -> str:
        return self.field.wants("regex", (self.pattern.source,))

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return self.field.sees(facts)


class TextRange(Struct, frozen=True):
    """The text is a decimal number that lies in one of ``spans``."""

    field: TextField
    spans: tuple[Span, ...]

    def test(self, _readings: Readings) -> Test:
        text_of, spans = self.field.text_of(), self.spans

        def fits(facts: Facts) -> bool:
            number = decimal(text_of(facts) or "")
            return number is not None and any(span.holds(number) for span in spans)

        return fits

    def offer(self) -> Offer | None:
        return None

    def expects(self) -> str:
        return f"{self.field.told()} range {any_span(self.spans)}"

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return self.field.sees(facts)


class TextLength(Struct, frozen=True):
    """The length of the text, in characters, lies in one of ``spans``."""

    field: TextField
    spans: tuple[Span, ...]

    def test(self, _readings: Readings) -> Test:
        text_of, spans = self.field.text_of(), self.spans

        def fits(facts: Facts) -> bool:
            text = text_of(facts)
            return text is not None and any(span.holds(len(text)) for span in spans)

        return fits

    def offer(self) -> Offer | None:
        return None

    def expects(self) -> str:
        return f"{self.field.told()} length {any_span(self.spans)}"

    def sees(self, facts: Facts, _readings: Readings) -> str:
        text = self.field.text_of()(facts)
        return (
            self.field.sees(facts) if text is None or self.field.secret else f"{self.field.told()} length {len(text)}"
        )


class TextInTable(Struct, frozen=True):
    """The text leads to one of ``rows`` of a table; in a table of numbers, the number that it is."""

    field: TextField
    rows: Rows
    number: Callable[[str], Number]

    def test(self, _readings: Readings) -> Test:
        key_of, hold = self._key_of(), self.rows.hold
        return lambda facts: (key := key_of(facts)) is not None and hold(key)

    def offer(self) -> Offer | None:
        lookup = table_lookup(self.field, self.rows, self._key_of())
        return Offer(tuple((lookup, key) for key in self.rows.found_by()))

    def expects(self) -> str:
        return f"{self.field.told()} {self.rows.expects()}"

    def sees(self, facts: Facts, _readings: Readings) -> str:
        key = self._key_of()(facts)
        there = self.field.sees(facts)
        return there if key is None or self.field.secret else f"{there} ({self.rows.seen(key)})"

    def _key_of(self) -> KeyOf:
        text_of, number = self.field.text_of(), self.number
        if not self.rows.table.numbers:
            return text_of
        return lambda facts: None if (text := text_of(facts)) is None else number(text).canonical


class TextExists(Struct, frozen=True):
    """The text is there."""

    field: TextField

    def test(self, _readings: Readings) -> Test:
        name = self.field.name
        if self.field.part == "headers":
            return lambda facts: name in facts.headers
        return lambda facts: name in facts.values

    def offer(self) -> Offer | None:
        return None

    def expects(self) -> str:
        return f"a {self.field.told()}"

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return self.field.sees(facts)


def text_field(part: Part, written: str, reading: Reading) -> TextField:
    """The parameter or header that a rule spells so."""
    name = written.lower() if part == "headers" else reading.context.parameter(written)
    return TextField(part, name, written, name in reading.context.secrets)


def read_fields(node: Node, reading: Reading, part: Part, what: str) -> Condition | None:
    """The tests on several parameters or headers, each under its name."""
    entries = document.fields(node, None, reading.problems, what).entries
    if isinstance(node, Fields) and not entries:
        reading.problems.add(node.place, f"{what} should not be an empty mapping", "empty_mapping")
    parts = [
        read_text_test(value, reading, text_field(part, key.value, reading), f"`{key.value}` of {what}")
        for key, value in entries
    ]
    found = tuple(condition for condition in parts if condition is not None)
    return joined(found) if found and len(found) == len(parts) else None


TESTS: Final = ("exact", "prefix", "suffix", "contains", "regex", "range", "length", "exists")


def read_text_test(node: Node, reading: Reading, field: TextField, what: str) -> Condition | None:
    """The tests on one parameter or header."""

    def values(nodes: tuple[Text, ...], _reading: Reading) -> Condition | None:
        return TextIn(field, tuple(dict.fromkeys(node.value for node in nodes)))

    def named(name: str) -> Grammar:
        return _grammar_of(name, field, f"`{name}` of {what}")

    def table(node: Fields, reading: Reading) -> Condition | None:
        rows = read_rows(node, reading, what, numbers=False)
        number = reading.context.number
        return either(tuple(TextInTable(field, each, number) for each in rows)) if rows else None

    tests = {name: named(name).read for name in (*TESTS, *KEYS)}
    return Grammar(what, values, tests, table, together=KEYS).read(node, reading)


def _grammar_of(test: str, field: TextField, what: str) -> Grammar:
    def values(nodes: tuple[Text, ...], reading: Reading) -> Condition | None:
        problems = reading.problems
        words = tuple(node.value for node in nodes)
        if test == "exact":
            return TextIn(field, tuple(dict.fromkeys(words)))
        if test == "exists":
            there = [document.boolean(node, problems, what) for node in nodes]
            if len(there) > 1:
                problems.add(nodes[1].place, f"{what} takes one value", "one_value")
            return TextExists(field) if there[0] else Not(TextExists(field))
        if test in ("range", "length"):
            spans = read_spans(nodes, reading, what, counts=test == "length")
            return (TextRange if test == "range" else TextLength)(field, spans) if spans else None
        if "" in words:
            problems.add(nodes[words.index("")].place, f"{what} is empty, every text fits that", "empty_test")
            return None
        if test == "prefix":
            return TextStarts(field, shortest(words))
        if test == "suffix":
            return TextEnds(field, words)
        if test == "contains":
            return either(tuple(TextContains(field, word) for word in words))
        patterns = [read_pattern(node, problems, what, secret=field.secret) for node in nodes]
        return either(tuple(TextFits(field, pattern) for pattern in patterns if pattern is not None))

    return Grammar(what, values, {}, plain=test != "exists")


def text_shape(shapes: Shapes) -> Shape:
    """What can be written where a text is tested."""
    tests = {name: TRUTH if name == "exists" else TEXT for name in TESTS}
    page = __doc__ or ""
    return shapes.grammar("text", TEXT, {**shapes.tests("text", tests, page), **rows_shape(shapes, page)})


def fields_shape(shapes: Shapes) -> Shape:
    """What can be written where several texts are tested, each under its name."""
    return {**named(text_shape(shapes)), "minProperties": 1}
