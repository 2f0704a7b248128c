"""YAML read with places, every scalar as it was written.

PyYAML's own reading turns an unquoted ``+36201234567`` into a number without its plus, ``0612345`` into 201957 and
``no`` into false, and keeps the last of two equal keys. So only its event layer is used here: a scalar stays text,
everything knows its file, line and column, and what two readers could understand differently (equal keys, aliases,
anchors, tags, a second document) is a problem. :func:`read` raises nothing, whatever bytes it is given.

Below it stand the readers that turn a node into a value; each tells :class:`Problems` what is wrong and returns
``None``.
"""

import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any, Final, overload

import msgspec
import yaml
from msgspec import Struct

from interceptor.pacing import EVERY, Pace, unhurried
from interceptor.values import Place, Problem, Severity

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # pragma: no cover - PyYAML without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

DEEPEST: Final = 64
LONG: Final = 1000  # items of a list that is read one by one
_fold: Final = msgspec.msgpack.Encoder().encode
_unfold: Final = msgspec.msgpack.Decoder().decode
_MOST_NAMED: Final = 32
_LOOKED_THROUGH: Final = 1 << 16  # characters at a time
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Text(Struct, frozen=True, gc=False):
    """A scalar as it was written; empty and ``~`` are ``""`` without quotes."""

    value: str
    place: Place
    quoted: bool = False


class Items(Struct, frozen=True, gc=False):
    """A list."""

    nodes: "Sequence[Node]"
    place: Place


class Fields(Struct, frozen=True, gc=False):
    """A mapping; no two keys are equal."""

    entries: "tuple[tuple[Text, Node], ...]"
    place: Place

    def get(self, key: str) -> "Node | None":
        """The value that stands under ``key``."""
        for name, node in self.entries:
            if name.value == key:
                return node
        return None


Node = Text | Items | Fields


class Problems:
    """Collects what is wrong, in the order it was found.

    A place that ``known`` already complains about gets no second complaint, so that one slip is told once. It is true
    when there is an error; warnings and notes alone do not keep a file from being used.
    """

    __slots__ = ("_errors", "_found", "_told")

    def __init__(self, known: Iterable[Problem] = ()) -> None:
        self._found = list(known)
        self._told = {problem.place for problem in self._found}
        self._errors = any(problem.severity is Severity.ERROR for problem in self._found)

    def add(self, place: Place, message: str, code: str, severity: Severity = Severity.ERROR) -> None:
        """Something at ``place`` is wrong; ``code`` is stable, ``message`` is for the person who wrote the file."""
        if place not in self._told:
            self._found.append(Problem(place, message, code, severity))
            self._errors = self._errors or severity is Severity.ERROR

    def warn(self, place: Place, message: str, code: str) -> None:
        """Something at ``place`` can be used, but perhaps not as it was meant."""
        self.add(place, message, code, Severity.WARNING)

    @property
    def found(self) -> tuple[Problem, ...]:
        """Every problem so far; where there is an error, warnings of the same place are left out."""
        wrong = {problem.place for problem in self._found if problem.severity is Severity.ERROR}
        return tuple(each for each in self._found if each.severity is Severity.ERROR or each.place not in wrong)

    def __bool__(self) -> bool:
        return self._errors


def nearest(word: str, known: Iterable[str]) -> str:
    """``", did you mean `x`?"`` for the known word that looks most like ``word``, else ``""``."""
    spelled = {name.lower(): name for name in sorted(known, reverse=True)}
    close = get_close_matches(word.lower(), spelled, n=1, cutoff=0.6)
    return f", did you mean `{spelled[close[0]]}`?" if close else ""


def expected(word: str, known: Iterable[str], such_as: str = "") -> str:
    """What could have stood in place of ``word``: the nearest spelling, else all that is known, else an example."""
    names = sorted(known)
    hint = nearest(word, names)
    if hint or not names:
        return hint
    if len(names) <= _MOST_NAMED:
        return ", known are " + ", ".join(f"`{name}`" for name in names)
    return f", write one such as `{such_as or names[0]}`"


# --- reading bytes ------------------------------------------------------------------------------------------------


# The reader's own form of a node, until it is asked for: ``(value, line, column, quoted)`` is a scalar,
# ``(nodes, line, column)`` a list and ``((key, value, key, value, …), line, column, None)`` a mapping.
_Raw = tuple[Any, ...]


def _nodes(file: str) -> Callable[[_Raw], Node]:
    """A function that makes nodes of what the reader has read in ``file``."""

    def node(raw: _Raw) -> Node:
        if len(raw) == 3:
            nodes, line, column = raw
            return Items(nodes if isinstance(nodes, Folded) else tuple(map(node, nodes)), Place(file, line, column))
        content, line, column, quoted = raw
        if quoted is not None:
            return Text(content, Place(file, line, column), quoted)
        each = iter(content)
        entries = [(Text(key[0], Place(file, key[1], key[2]), key[3]), node(next(each))) for key in each]
        return Fields(tuple(entries), Place(file, line, column))

    return node


class Folded(Sequence[Node]):
    """The nodes of a very long list, each put away in a tenth of its room until it is looked at."""

    __slots__ = ("_data", "_ends", "_node")

    def __init__(self, file: str) -> None:
        self._data = bytearray()
        self._ends = array("I", (0,))
        self._node = _nodes(file)

    def append(self, raw: _Raw) -> None:
        self._data += _fold(raw)
        self._ends.append(len(self._data))

    def raw(self) -> list[_Raw]:
        return [self._raw(at) for at in range(len(self))]

    def _raw(self, at: int) -> Any:
        return _unfold(memoryview(self._data)[self._ends[at] : self._ends[at + 1]])

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, at: int) -> Node: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Node, ...]: ...
    def __getitem__(self, at: int | slice) -> Node | tuple[Node, ...]:
        if isinstance(at, slice):
            return tuple(self._node(self._raw(each)) for each in range(*at.indices(len(self))))
        return self._node(self._raw(range(len(self))[at]))


class _Open:
    """A list or mapping whose end has not come yet."""

    __slots__ = ("column", "key", "keys", "line", "nodes")

    def __init__(self, line: int, column: int, nodes: "list[_Raw] | Folded", *, mapping: bool) -> None:
        self.line = line
        self.column = column
        self.nodes = nodes
        self.keys: dict[str, int] | None = {} if mapping else None  # each with its line
        self.key: _Raw | None = None


class _Reader:
    """Builds one tree out of PyYAML's events."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems = Problems()
        self.root: _Raw | None = None
        self.open: list[_Open] = []
        self.documents = 0

    def place(self, mark: Any) -> Place:
        return Place(self.file, mark.line + 1, mark.column + 1)

    def run(self, source: str, pace: Pace) -> bool:
        """Build the tree; false means that reading stopped before the end."""
        loader = _Loader(source)
        next_event, put, left = loader.get_event, self.put, EVERY
        try:
            while True:
                left -= 1
                if not left:
                    left = EVERY
                    pace()
                event: Any = next_event()
                kind = type(event)
                if kind is yaml.ScalarEvent:  # three events of four
                    mark, value, quoted = event.start_mark, event.value, bool(event.style)
                    if event.anchor is not None or event.tag is not None:
                        self.decorations(event)
                    if value == "~" and not quoted:
                        value = ""
                    put((value, mark.line + 1, mark.column + 1, quoted))
                elif kind is yaml.StreamEndEvent:
                    return True
                elif not self.structure(event, kind):
                    return False
        finally:
            loader.dispose()

    def structure(self, event: Any, kind: type) -> bool:
        """Use one event that is no scalar; false means that reading further makes no sense."""
        if kind is yaml.MappingEndEvent:
            done = self.open.pop()
            self.put((done.nodes, done.line, done.column, None))
        elif kind is yaml.SequenceEndEvent:
            done = self.open.pop()
            nodes = done.nodes
            if isinstance(nodes, Folded) and len(nodes) < LONG:
                nodes = nodes.raw()
            self.put((nodes, done.line, done.column))
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self.decorations(event)
            if len(self.open) >= DEEPEST:
                self.problems.add(self.place(event.start_mark), f"nested more than {DEEPEST} deep", "too_deep")
                return False
            line, column = event.start_mark.line + 1, event.start_mark.column + 1
            if kind is yaml.MappingStartEvent:
                self.open.append(_Open(line, column, [], mapping=True))
            else:  # a list right below the top may be a list of a hundred thousand rules
                nodes = Folded(self.file) if len(self.open) == 1 else []
                self.open.append(_Open(line, column, nodes, mapping=False))
        elif kind is yaml.AliasEvent:
            place = self.place(event.start_mark)
            self.problems.add(place, f"an alias (`*{event.anchor}`) is not read here, write it out", "alias")
            self.put(("", place.line, place.column, False))
        elif kind is yaml.DocumentStartEvent:
            self.documents += 1
            if self.documents > 1:
                self.problems.add(self.place(event.start_mark), "a second document in one file", "second_document")
                return False
        return True

    def decorations(self, event: Any) -> None:
        if event.anchor is not None:
            place = self.place(event.start_mark)
            self.problems.add(place, f"an anchor (`&{event.anchor}`) is not read here", "anchor")
        if event.tag is not None:
            place = self.place(event.start_mark)
            self.problems.add(place, f"a tag (`{event.tag}`) is not read here, everything is text", "tag")

    def put(self, node: _Raw) -> None:
        """Give a finished node to what is open around it."""
        if not self.open:
            self.root = node
            return
        around = self.open[-1]
        keys, key = around.keys, around.key
        if keys is None:
            around.nodes.append(node)
        elif key is None:
            if len(node) == 3 or node[3] is None:
                place = Place(self.file, node[1], node[2])
                self.problems.add(place, "a key is one word, not a list or a mapping", "complex_key")
                node = ("", place.line, place.column, False)
            around.key = node
        else:
            around.key = None
            first = keys.setdefault(key[0], key[1])
            if len(keys) * 2 > len(around.nodes):
                around.nodes.append(key)
                around.nodes.append(node)
            else:
                message = f"`{key[0]}` stands here a second time, the first is in line {first}"
                self.problems.add(Place(self.file, key[1], key[2]), message, "duplicate_key")


def decoded(data: bytes, file: str, pace: Pace = unhurried) -> tuple[str | None, tuple[Problem, ...]]:
    """``data`` as text, or the problem that it is none."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        before = data[: fault.start].decode("utf-8-sig", "replace")
        return None, (Problem(_end_of(before, file), "not UTF-8 text", "not_utf8"),)
    for begin in range(0, len(text), _LOOKED_THROUGH):
        odd = _UNPRINTABLE.search(text, begin, begin + _LOOKED_THROUGH)
        if odd is not None:
            break
        pace()
    else:
        return text, ()
    message = f"the character U+{ord(odd.group()):04X} has no place here"
    return None, (Problem(_end_of(text[: odd.start()], file), message, "control"),)


def read(data: bytes, file: str, pace: Pace = unhurried) -> tuple[Node | None, tuple[Problem, ...]]:
    """The tree that ``data`` holds (``None`` for an empty file) and every problem of its form.

    After a problem the tree is what could be read, so that the problems of its meaning can be told as well; after a
    fault of syntax there is no tree. ``pace`` is called now and then meanwhile.
    """
    text, problems = decoded(data, file, pace)
    if text is None:
        return None, problems
    reader = _Reader(file)
    try:
        if not reader.run(text, pace):
            return None, reader.problems.found
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        end = _end_of(text, file)  # libyaml puts the end of a text without a last line break one line too low
        place = end if mark is None or mark.line >= end.line else reader.place(mark)
        message = ", ".join(part for part in (fault.problem, fault.context) if part)
        reader.problems.add(place, f"not YAML: {message or 'cannot be read'}", "syntax")
        return None, reader.problems.found
    except (yaml.YAMLError, ValueError, RecursionError):  # pragma: no cover - what is left of PyYAML's placeless errors
        reader.problems.add(Place(file, 1, 1), "not YAML: cannot be read", "syntax")
        return None, reader.problems.found
    root = None if reader.root is None else _nodes(file)(reader.root)
    if isinstance(root, Text) and root.value == "" and not root.quoted:
        root = None
    return root, reader.problems.found


def _end_of(text: str, file: str) -> Place:
    return Place(file, text.count("\n") + 1, len(text) - text.rfind("\n"))


# --- reading nodes ------------------------------------------------------------------------------------------------

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")
_AMOUNT: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")
_SECONDS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: Final = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_TRUTH: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def describe(node: Node) -> str:
    """What a node is, in the reader's words."""
    if isinstance(node, Items):
        return "a list"
    if isinstance(node, Fields):
        return "a mapping"
    return f"`{node.value}`" if node.value or node.quoted else "nothing"


def text(node: Node, problems: Problems, what: str, *, empty: bool = False) -> str | None:
    """One scalar as text; nothing at all is a problem unless ``empty`` or written as ``""``."""
    if isinstance(node, Text) and (node.value or node.quoted or empty):
        return node.value
    problems.add(node.place, f"{what} should be text, here is {describe(node)}", "not_text")
    return None


_NUMBER: Final = re.compile(  # what YAML 1.1 or 1.2 takes for a number
    r"""[+-]?(?: 0[xX][0-9a-fA-F_]+ | 0o[0-7]+ | 0b[01_]+
               | [0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?
               | (?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)(?:[eE][+-]?[0-9]+)?
               | \.(?:inf|Inf|INF|nan|NaN|NAN) )""",
    re.VERBOSE,
)
_SAME: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]*[1-9])?")  # the same as a number and as text
_BOOLEANS: Final = re.compile("yes|no|on|off|true|false")


def warn_unquoted(node: Node, problems: Problems) -> None:
    """Warn of a value without quotes that stays the text it is, where other readers of YAML make something else of it.

    For values that are meant as text: numbers to dial, parameters, headers. Not for what is read as a number or as
    true and false, and not for `1099`, which is the same to everybody.
    """
    if not isinstance(node, Text) or node.quoted:
        return
    value = node.value
    if value[:1] in "+-.0123456789":
        if not value or _SAME.fullmatch(value) or not _NUMBER.fullmatch(value):
            return
        what, code = "a number", "unquoted_number"
    elif value not in (value.lower(), value.upper(), value.capitalize()):
        return
    elif _BOOLEANS.fullmatch(value.lower()):
        what, code = "true or false", "unquoted_boolean"
    elif value.lower() == "null":
        what, code = "nothing", "unquoted_null"
    else:
        return
    message = f"`{value}` is read as the text it is, though YAML takes it for {what}; write it in quotes"
    problems.warn(node.place, message, code)


def whole_number(
    node: Node, problems: Problems, what: str, *, least: int | None = None, most: int | None = None
) -> int | None:
    """A whole number between ``least`` and ``most``, both included."""
    if not isinstance(node, Text) or not _WHOLE.fullmatch(node.value):
        problems.add(node.place, f"{what} should be a whole number, here is {describe(node)}", "not_a_number")
        return None
    number = int(node.value)
    if node.value.lstrip("+-").startswith("0") and number:
        message = f"`{node.value}` is read as {number}, though YAML takes it for octal; write it without the zero"
        problems.warn(node.place, message, "leading_zero")
    if least is not None and number < least:
        problems.add(node.place, f"{what} should be at least {least}, here is `{node.value}`", "too_small")
        return None
    if most is not None and number > most:
        problems.add(node.place, f"{what} should be at most {most}, here is `{node.value}`", "too_large")
        return None
    return number


def duration_seconds(node: Node, problems: Problems, what: str) -> float | None:
    """A span of time in seconds: ``500ms``, ``3s``, ``2m``, ``1h``, ``1d``; without a unit it is seconds."""
    found = _AMOUNT.fullmatch(node.value.strip()) if isinstance(node, Text) else None
    if found is None or found[2] not in _SECONDS:
        message = f"{what} should be a duration such as `500ms`, `3s`, `2m`, here is {describe(node)}"
        problems.add(node.place, message, "not_a_duration")
        return None
    return float(found[1]) * _SECONDS[found[2]]


def byte_size(node: Node, problems: Problems, what: str) -> int | None:
    """A size in bytes: ``64KiB``, ``1MiB``, ``1GB``; without a unit it is bytes."""
    found = _AMOUNT.fullmatch(node.value.strip()) if isinstance(node, Text) else None
    if found is None or found[2].lower() not in _BYTES or ("." in found[1] and not found[2]):
        message = f"{what} should be a size such as `64KiB` or `1MiB`, here is {describe(node)}"
        problems.add(node.place, message, "not_a_size")
        return None
    return (
        int(float(found[1]) * _BYTES[found[2].lower()]) if "." in found[1] else int(found[1]) * _BYTES[found[2].lower()]
    )


def boolean(node: Node, problems: Problems, what: str) -> bool | None:
    """``true`` or ``false``; also ``yes``, ``no``, ``on``, ``off``."""
    found = _TRUTH.get(node.value.lower()) if isinstance(node, Text) else None
    if found is None:
        problems.add(node.place, f"{what} should be `true` or `false`, here is {describe(node)}", "not_a_boolean")
    return found


def one_of(node: Node, choices: Sequence[str], problems: Problems, what: str) -> str | None:
    """One of a few words, spelled exactly."""
    word = text(node, problems, what)
    if word is None or word in choices:
        return word
    known = ", ".join(f"`{choice}`" for choice in choices)
    problems.add(
        node.place, f"unknown {what} `{word}`{nearest(word, choices) or f', known are {known}'}", "unknown_choice"
    )
    return None


def fields(node: Node, known_keys: Iterable[str] | None, problems: Problems, what: str) -> Fields:
    """A mapping. A key that is not known is a problem; ``None`` knows every key. After a fault it is empty."""
    if not isinstance(node, Fields):
        problems.add(
            node.place, f"{what} should be a mapping of keys to values, here is {describe(node)}", "not_a_mapping"
        )
        return Fields((), node.place)
    if known_keys is not None:
        known = tuple(known_keys)
        for key, _ in node.entries:
            if key.value not in known:
                message = f"unknown key `{key.value}` in {what}{expected(key.value, known)}"
                problems.add(key.place, message, "unknown_key")
    return node


def items(node: Node, problems: Problems, what: str) -> Sequence[Node]:
    """A list; one thing alone stands for a list of one. An empty list is a problem."""
    if not isinstance(node, Items):
        return (node,)
    if not node.nodes:
        problems.add(node.place, f"{what} should not be an empty list", "empty_list")
    return node.nodes


def texts(node: Node, problems: Problems, what: str) -> tuple[str, ...]:
    """A list of texts, or one text alone; those that are no text are told and left out."""
    found = (text(entry, problems, what) for entry in items(node, problems, what))
    return tuple(entry for entry in found if entry is not None)
