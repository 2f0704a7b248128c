"""The parameters of a message: a query, a form, or both, read once and changed segment by segment.

Reading. Segments are split at ``&`` only, names from values at the first ``=``; ``+`` is a space and then ``%XX`` a
byte, once, never again (``%2526`` is ``%26``). An escape that is none stays as it is written.
Bytes that are not UTF-8 become the lone surrogates of ``surrogateescape``, which no rule can write and which turn back
into the same bytes. Names are compared decoded (``%44ialed`` is ``Dialed``) and without case, in ASCII only.

Ambiguity. What a rule sees must be what the PBX reads, so a message is ambiguous, naming the parameter, where we cannot
be sure of that:

* the same name twice, in any case, also once in the query and once in the body;
* two spellings of one parameter, such as ``Dialed`` and ``Dialled``;
* a name that is none of the PBX's but could be taken for one, such as ``Dialed%00``, ``+Dialed`` or one with a soft
  hyphen inside: .NET's culture compare passes over such characters;
* an escape of the form ``%u0030``, which .NET decodes and the rest of the world does not;
* a command's name with such characters, such as ``Call%00`` or ``Call+``;
* a path that holds a command before a query that may hold another.

Writing. A change touches the segments of its parameter, every other byte stays. A written value escapes everything but
letters, digits and ``-._~``, with ``+`` for a space.
"""

import re
from binascii import a2b_qp
from urllib.parse import quote_plus

from msgspec import Struct

from interceptor.values import Change, RemoveParameter, RenameParameter, ReplaceInParameter, SetParameter, bare_name
from interceptor.wire.knowledge import ALIASES, PARAMETER_NAMES, command, lower, parameter_name

_HEX = "0123456789abcdefABCDEF"
_BYTES = {high + low: chr(int(high + low, 16)) for high in _HEX for low in _HEX}
_MEMO_ENTRIES = 4096

# Senders write the same names again and again: names that mean what they say, to the same in lower case.
_plain_names: dict[str, str] = {}

# And the same ones in the same order, which are a form: to those in lower case.
_forms: dict[tuple[str, ...], tuple[str, ...]] = {}
_MEMO_FORMS = 512
_LONGEST_FORM = 32  # names

# What separates in a form, and what a text may not hold that is read at once: a NUL stands for "=" below, line breaks
# mean something in quoted-printable. That is the code of forms with "=" for "%", and is decoded in C.
_MARKS = b"=&\0\r\n" + bytes(range(0x80, 0x100))
_NO_MARKS = bytes(byte for byte in range(0x100) if byte not in _MARKS)
_MARKS_OF_FORMS = b"=&" * (_LONGEST_FORM - 1) + b"="
_AS_QUOTED_PRINTABLE = bytes.maketrans(b"=%+", b"\0= ")

_MESSAGE_NAMES = ("command", "notificationname")
_UNICODE_ESCAPE = re.compile(r"%u[0-9A-Fa-f]{4}")
_PLAIN_NAME = re.compile(r"[!-$'-*,-<>-~]{1,64}")  # visible ASCII without % & + =


class Parameters(Struct, frozen=True, gc=False):
    """What a message carries. Made by :func:`decode`, never by hand.

    ``values`` maps names in lower case to the decoded text of their first occurrence. ``ambiguous`` is the name, as
    written, of a parameter that others could read differently, else ``None``. ``query`` and ``body`` are the bytes as
    they came; ``body`` is ``None`` where the message has none.
    """

    values: dict[str, str]
    ambiguous: str | None
    query: bytes
    body: bytes | None

    def get(self, name: str) -> str | None:
        """The value of a parameter, its name in lower case."""
        return self.values.get(name)

    @property
    def items(self) -> tuple[tuple[str, str, str], ...]:
        """Every parameter in order as name, value and place (``query`` or ``body``), duplicates included."""
        return tuple(
            (_unescape(name), _unescape(value), place)
            for place, source in (("query", self.query), ("body", self.body or b""))
            for name, value in _segments(source)
        )

    def changed(self, changes: tuple[Change, ...]) -> "Parameters":
        """These parameters after the changes, one after another; itself where they change nothing.

        Setting a parameter that occurs more than once leaves one of it, removing it leaves none, so that no second
        occurrence can carry what a rule meant to replace. A parameter renamed to a name that is taken takes its place.
        """
        query, body = self.query.split(b"&"), self.body.split(b"&") if self.body is not None else None
        for change in changes:
            match change:
                case SetParameter(name=name, value=value):
                    _set(query, body, name, value)
                case RemoveParameter(name=name):
                    _drop(query, body, parameter_name(name))
                case RenameParameter(name=name, to=to):
                    _rename(query, body, name, to)
                case ReplaceInParameter():
                    _replace(query, body, change)
        new_query, new_body = b"&".join(query), b"&".join(body) if body is not None else None
        if new_query == self.query and new_body == self.body:
            return self
        return decode(new_query, new_body)


def decode(query: bytes, body: bytes | None = None, path: bytes = b"/") -> Parameters:
    """Read a query and a form body; never raises. A ``path`` with a command inside makes the message ambiguous."""
    written = query
    if body:
        written = query + b"&" + body if query else body
    ambiguous: str | None = None
    values = _read_at_once(written)
    if values is None:
        values, ambiguous = _read_each(written.decode("latin-1"))
    if ambiguous is None and path.count(b"="):  # `in` would try whether it is a number first, and be ten times slower
        ambiguous = _hidden_in(path)
    if ambiguous is None:
        named = values.get("command", "x")
        if not (named.isascii() and named.isalnum()) and _is_disguised(named):
            ambiguous = "command"
    return Parameters(values, ambiguous, query, body)


def _read_at_once(written: bytes) -> dict[str, str] | None:
    """The parameters of a text without anything odd in it, as :func:`_read_each` reads them; else ``None``.

    Most messages are of this sort, and are decoded in one piece: the names of a form that was seen before, each with a
    value that holds no ``=``, and escapes that are all escapes.
    """
    marks = written.translate(None, _NO_MARKS)
    if marks != _MARKS_OF_FORMS[: len(marks) | 1]:  # one more than an even number of them: the last name has no value
        return None
    data = written.translate(_AS_QUOTED_PRINTABLE)
    escapes = written.count(b"%")
    if escapes:
        data = a2b_qp(data)
        if len(data) + 2 * escapes != len(written):  # an escape that is none stays longer
            return None
    pieces = data.replace(b"\0", b"&").decode("utf-8", "surrogateescape").split("&")
    if len(pieces) != len(marks) + 1:  # an escape was one of the two
        return None
    form = tuple(pieces[::2])
    names = _forms.get(form) or _read_form(form)
    return None if names is None else {name: value for name, value in zip(names, pieces[1::2])}  # noqa: B905, C416 - a third faster


def _read_form(form: tuple[str, ...]) -> tuple[str, ...] | None:
    """The names in lower case, where each of them was seen before and occurs once."""
    names = tuple(known for each in form if (known := _plain_names.get(each)) is not None)
    if len(names) != len(form) or len(set(names)) != len(names):
        return None
    if len(_forms) >= _MEMO_FORMS:
        _forms.clear()
    _forms[form] = names
    return names


def _read_each(text: str) -> tuple[dict[str, str], str | None]:
    """The parameters, and the name as written of one that others could read differently."""
    values: dict[str, str] = {}
    ambiguous: str | None = None
    for segment in text.split("&"):
        if not segment:
            continue
        raw_name, equals, value = segment.partition("=")
        name, suspect = _read_name(raw_name, keep=bool(equals))
        name = ALIASES.get(name, name)
        if name not in values:
            values[name] = _unescape(value)
        elif name:
            ambiguous = ambiguous or _unescape(raw_name)
        ambiguous = ambiguous or suspect
    if ambiguous is None and "%u" in text:
        ambiguous = _unicode_escaped(text)
    return values, ambiguous


def split_target(target: bytes) -> tuple[bytes, bytes, bool]:
    """A request target as path, query, and whether a ``?`` stood between them; never raises.

    ``/command=ListActiveCalls`` is the form without ``?``: what follows the last ``/`` before the first ``=`` is the
    query, if one of its names is ``command``. Give the path to :func:`decode` too: a target with a command before the
    ``?`` is ambiguous.
    """
    path, mark, query = target.partition(b"?")
    if mark or b"=" not in path:
        return path, query, bool(mark)
    cut = path.rfind(b"/", 0, path.index(b"=")) + 1
    if any(_name(segment) == "command" for segment in path[cut:].split(b"&")):
        return path[:cut], path[cut:], False
    return path, b"", False


def join_target(path: bytes, query: bytes, question_mark: bool) -> bytes:
    """The target that :func:`split_target` took apart, with a query that may have been changed."""
    return path + b"?" + query if question_mark else path + query


def encode(text: str) -> bytes:
    """A name or value as it is written into a query or a form; :func:`decode` reads back the same text."""
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that no bytes could have made: a rule's, not a message's
        raw = text.encode("utf-8", "replace")
    return quote_plus(raw).encode("ascii")


def _unescape(text: str) -> str:
    """Text that holds one byte a character, decoded once."""
    if "+" in text:
        text = text.replace("+", " ")
    if "%" in text:
        return _decode_escapes(text)
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "surrogateescape")


def _decode_escapes(text: str) -> str:
    if text.isascii() and text.isprintable() and "=" not in text:
        # Quoted-printable is the same code with "=" for "%", and is decoded in C. An escape that is none stays longer.
        data = a2b_qp(text.replace("%", "="))
        if len(data) + 2 * text.count("%") == len(text):
            return data.decode("utf-8", "surrogateescape")
    first, *rest = text.split("%")
    decoded = ((_BYTES.get(piece[:2]), piece) for piece in rest)
    text = first + "".join("%" + piece if byte is None else byte + piece[2:] for byte, piece in decoded)
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "surrogateescape")


def _read_name(raw_name: str, *, keep: bool) -> tuple[str, str | None]:
    """A parameter's name in lower case, and as written if that could be taken for another.

    To ``keep`` is what is a name; text without ``=`` may be anything, a secret too.
    """
    known = PARAMETER_NAMES.get(raw_name)
    written = raw_name if known is not None else _unescape(raw_name)
    name = known or lower(written)
    if name not in PARAMETER_NAMES and _could_be_taken_for_known(name):
        return name, written
    # One with an escape, a blank or another spelling needs the longer way; what decodes to it must not take its place.
    if keep and _PLAIN_NAME.fullmatch(raw_name) and name not in ALIASES:
        if len(_plain_names) >= _MEMO_ENTRIES:
            _plain_names.clear()
        _plain_names[raw_name] = name
    return name, None


def _segments(source: bytes) -> list[tuple[str, str]]:
    split = (segment.partition("=") for segment in source.decode("latin-1").split("&") if segment)
    return [(name, value) for name, _, value in split]


def _name(segment: bytes) -> str:
    return lower(_unescape(segment.partition(b"=")[0].decode("latin-1")))


def _could_be_taken_for_known(name: str) -> bool:
    if name.isascii() and name.isprintable() and " " not in name:
        return False
    return lower(bare_name(name)) in PARAMETER_NAMES


def _is_disguised(name: str) -> bool:
    bare = bare_name(name)
    return bare != name and command(bare) is not None


def _unicode_escaped(text: str) -> str | None:
    for segment in text.split("&"):
        if _UNICODE_ESCAPE.search(segment):
            return _unescape(segment.partition("=")[0])
    return None


def _hidden_in(path: bytes) -> str | None:
    for segment in re.split(rb"[/&]", path):
        if b"=" in segment and _name(segment) == "command":
            return _unescape(segment.partition(b"=")[0].decode("latin-1"))
    return None


def _parts(query: list[bytes], body: list[bytes] | None) -> tuple[list[bytes], ...]:
    return (query,) if body is None else (query, body)


def _home(query: list[bytes], body: list[bytes] | None) -> list[bytes]:
    """The part that a new parameter goes to: the one that says what the message is."""
    if body is not None and any(_name(segment) in _MESSAGE_NAMES for segment in body):
        return body
    return query


def _drop(query: list[bytes], body: list[bytes] | None, same: str) -> None:
    for part in _parts(query, body):
        part[:] = [segment for segment in part if not segment or parameter_name(_name(segment)) != same]


def _set(query: list[bytes], body: list[bytes] | None, name: str, value: str) -> None:
    same, found = parameter_name(name), False
    for part in _parts(query, body):
        kept: list[bytes] = []
        for segment in part:
            if not segment or parameter_name(_name(segment)) != same:
                kept.append(segment)
            elif not found:
                found = True
                raw_name, _, raw_value = segment.partition(b"=")
                already = _unescape(raw_value.decode("latin-1")) == value
                kept.append(segment if already else raw_name + b"=" + encode(value))
        part[:] = kept
    if not found:
        home = _home(query, body)
        if home == [b""]:
            home.clear()
        home.append(encode(name) + b"=" + encode(value))


def _rename(query: list[bytes], body: list[bytes] | None, name: str, to: str) -> None:
    same, taken = parameter_name(name), parameter_name(to)
    parts = _parts(query, body)
    if not any(segment and parameter_name(_name(segment)) == same for part in parts for segment in part):
        return
    if taken != same:
        _drop(query, body, taken)
    for part in parts:
        for at, segment in enumerate(part):
            if segment and parameter_name(_name(segment)) == same:
                _, equals, raw_value = segment.partition(b"=")
                part[at] = encode(to) + equals + raw_value


def _replace(query: list[bytes], body: list[bytes] | None, change: ReplaceInParameter) -> None:
    same = parameter_name(change.name)
    for part in _parts(query, body):
        for at, segment in enumerate(part):
            if not segment or parameter_name(_name(segment)) != same:
                continue
            raw_name, _, raw_value = segment.partition(b"=")
            # Bytes that are not UTF-8 are to a pattern what they are to the PBX: the replacement character.
            value = _unescape(raw_value.decode("latin-1")).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            replaced = change.pattern.sub(change.replacement, value)
            if replaced != value:
                part[at] = raw_name + b"=" + encode(replaced)
