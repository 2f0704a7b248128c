r"""### Values from the message

Texts that actions write may hold placeholders, which the message fills: `"Nobody dials {{number}} here"`.

| placeholder | becomes |
| --- | --- |
| `{{number}}`, `{{caller}}` | the number dialled, the caller's, in canonical form |
| `{{class}}`, `{{country}}` | the class and the country of the number dialled |
| `{{app}}`, `{{source}}`, `{{name}}` | the app that asks, its address, the name of the message |
| `{{Dialed}}` | the parameter of that name as it arrived, letter case of the name aside |
| `{{other:x-tenant}}` | a parameter that the reference does not list |
| `{{Dialed\|nobody}}` | the same, or `nobody` where the message has none or an empty one; without it, nothing |

They stand in `set` of `rewrite`, in `message` of `deny` and `answer`, in the verbs of `answer`, and in the query of a
`url`. `\{{` writes `{{` itself. Passwords and other secrets cannot be put into a text.

A value stays a value wherever it is put: it is escaped for where it goes, so it never becomes markup, a verb, another
parameter or an address. In a `url`, and in attributes and texts of verbs that are addresses, files or queries (`Url`,
`AudioFile`, `SourceFile`, the text of `GoTo`, `Play`, `SQL`, …), placeholders stand only behind the `?` of a written
`http://` address: a message chooses no host, no path and no file. The PBX replaces `$name` in verbs; a `$` that comes
from a message is left out there, and none may stand right before a placeholder.

    - name: strangers-hear-their-own-number
      on: RoutingInterception
      when: {caller: {not: {country: HU}}}
      answer: [{Route: {Destination: "1099", CallerId: "{{caller|unknown}}"}}]
"""  # noqa: D400, D415 - a page of the manual

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from interceptor import document
from interceptor.document import Node
from interceptor.policy.grammar import Reading
from interceptor.values import Facts

_GAP: Final = re.compile(r"\\\{\{|\{\{([^{}]*)\}\}|\{\{")
_BEFORE_QUERY: Final = re.compile(r"http://[^/?#]+(/[^?#]*)?\?", re.IGNORECASE)
_VARIABLE: Final = re.compile(r"\$[\w.\[\]]*\Z")


def _number(facts: Facts) -> str:
    return "" if facts.number is None else facts.number.canonical


def _caller(facts: Facts) -> str:
    return "" if facts.caller is None else facts.caller.canonical


def _class(facts: Facts) -> str:
    return "" if facts.number is None else facts.number.number_class.value


def _country(facts: Facts) -> str:
    return "" if facts.number is None else facts.number.country


OF_FACTS: Final[dict[str, Callable[[Facts], str]]] = {
    "number": _number,
    "caller": _caller,
    "class": _class,
    "country": _country,
    "app": lambda facts: facts.app,
    "source": lambda facts: facts.source,
    "name": lambda facts: facts.name,
}
"""What a message says of itself beside its parameters, by the word that a rule uses for it; ``""`` where it does not.
"""


class Value(Struct, frozen=True):
    """One value of a message: of ``OF_FACTS``, or of a parameter, whose name is in lower case then."""

    name: str
    parameter: bool = False

    def of(self, facts: Facts) -> str:
        """The value, ``""`` where the message has none."""
        return facts.values.get(self.name, "") if self.parameter else OF_FACTS[self.name](facts)

    def reader(self) -> Callable[[Facts], str]:
        """What tells the value for a message."""
        name = self.name
        return (lambda facts: facts.values.get(name, "")) if self.parameter else OF_FACTS[name]


class Gap(Struct, frozen=True):
    """A placeholder: the value that fills it, and what stands there without one."""

    value: Value
    instead: str = ""


class Pattern(Struct, frozen=True):
    """A text with placeholders; ``address`` says that they stand in the query of an address."""

    pieces: tuple[str | Gap, ...]
    address: bool = False

    def whole(self, instead: str) -> str:
        """The text with ``instead`` in place of every value: what it is for every message."""
        return "".join(piece if isinstance(piece, str) else instead or piece.instead for piece in self.pieces)

    @property
    def written(self) -> str:
        """The text as a rule writes it, but for the spelling of parameters."""
        gaps = (
            f"{{{{{each.value.name}{'|' * bool(each.instead)}{each.instead}}}}}" if isinstance(each, Gap) else each
            for each in self.pieces
        )
        return "".join(gaps)

    def fill(self, facts: Facts, write: Callable[[str], str] = str) -> str:
        """The text for one message; ``write`` makes a message's value harmless for where it goes."""
        write = into_url if self.address else write
        return "".join(
            piece if isinstance(piece, str) else write(piece.value.of(facts)) or piece.instead for piece in self.pieces
        )


Wording = str | Pattern
"""What a rule writes where a text goes: the text, or what becomes one for each message."""


def filled(wording: Wording, facts: Facts, write: Callable[[str], str] = str) -> str:
    """The text that ``wording`` is for this message."""
    return wording if isinstance(wording, str) else wording.fill(facts, write)


def into_url(value: str) -> str:
    """A value as it may stand in the query of an address: nothing but letters, digits, ``-._~`` and escapes."""
    return quote(value, safe="", errors="replace")


def into_verb(value: str) -> str:
    """A value as it may stand in a verb: without the sign that makes a variable of the PBX; markup is the writer's."""
    return value.replace("$", "")


def read_wording(node: Node, reading: Reading, what: str, *, empty: bool = False) -> Wording | None:
    """A text that may have placeholders, or ``None`` after a problem."""
    text = document.text(node, reading.problems, what, empty=empty)
    document.warn_unquoted(node, reading.problems)
    return text if text is None or "{{" not in text else _split(text, node, reading, what)


def read_address(node: Node, reading: Reading, what: str) -> Wording | None:
    """An address that may have placeholders in its query; what is no address is not looked at here."""
    wording = read_wording(node, reading, what)
    return _in_query(wording, node, reading, what) if isinstance(wording, Pattern) else wording


def read_verb_text(node: Node, reading: Reading, what: str, *, address: bool) -> Wording | None:
    """A text in a verb; ``address`` says that it names a place, a file or a query, which no message may choose."""
    wording = read_wording(node, reading, what, empty=True)
    if not isinstance(wording, Pattern):
        return wording
    for before, piece in zip(wording.pieces, wording.pieces[1:], strict=False):
        if isinstance(piece, Gap) and isinstance(before, str) and _VARIABLE.search(before):
            message = f"a placeholder right after `$` in {what} would let the message choose a variable of the PBX"
            reading.problems.add(node.place, message, "unsafe_placeholder")
            return None
    return _in_query(wording, node, reading, what) if address else wording


def read_value(node: Node, reading: Reading, what: str) -> Value | None:
    """The value that a word names (``number``, ``Dialed``, ``other:x``), or ``None`` after a problem."""
    word = document.text(node, reading.problems, what)
    return None if word is None else _value(word, node, reading, what)


def _split(text: str, node: Node, reading: Reading, what: str) -> Wording | None:
    pieces: list[str | Gap] = []
    literal, end, good = "", 0, True
    for found in _GAP.finditer(text):
        literal += text[end : found.start()]
        end = found.end()
        inside = found[1]
        if inside is None:
            if found[0] == "{{":
                message = f"`{{{{` in {what} has no `}}}}`; `\\{{{{` stands for the two braces themselves"
                reading.problems.add(node.place, message, "bad_placeholder")
                good = False
            literal += "{{"
            continue
        word, _, instead = inside.partition("|")
        value = _value(word.strip(), node, reading, f"`{found[0]}`")
        if value is None:
            good = False
            continue
        if literal:
            pieces.append(literal)
        literal = ""
        pieces.append(Gap(value, instead))
    literal += text[end:]
    if not good:
        return None
    if not pieces:
        return literal
    return Pattern((*pieces, literal) if literal else tuple(pieces))


def _value(word: str, node: Node, reading: Reading, what: str) -> Value | None:
    problems, context = reading.problems, reading.context
    if word in OF_FACTS:
        return Value(word)
    prefix, colon, other = word.partition(":")
    name = context.parameter(other.strip() if colon and prefix == "other" else word)
    if any(secret in name for secret in context.secrets):
        problems.add(node.place, f"{what} would show a secret", "secret_placeholder")
        return None
    if colon and prefix == "other" and name:
        return Value(name, parameter=True)
    known = {context.parameter(parameter) for parameter in context.parameters}
    if word[:1].isupper() and (not known or name in known):
        return Value(name, parameter=True)
    hint = document.nearest(word, (*OF_FACTS, *sorted(context.parameters)))
    hint = hint or "; a parameter that the reference does not list is written `other:Name`"
    problems.add(node.place, f"{what} names nothing that a message has{hint}", "unknown_placeholder")
    return None


def _in_query(wording: Pattern, node: Node, reading: Reading, what: str) -> Pattern | None:
    first = wording.pieces[0]
    if isinstance(first, str) and _BEFORE_QUERY.match(first):
        return Pattern(wording.pieces, address=True)
    message = f"in {what} a placeholder stands only behind the `?` of an `http://` address"
    reading.problems.add(node.place, message, "unsafe_placeholder")
    return None
