"""Spans of numbers as rules write them: one number, or two with dots between them of which one may be missing.

``4`` is itself, ``3..6`` goes from 3 to 6, both included, ``12..`` has no end and ``..6`` no begin.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct

from interceptor.document import Text
from interceptor.policy.condition import any_word
from interceptor.policy.grammar import Reading

_NUMBER: Final = r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,9})?"
_ONE: Final = re.compile(_NUMBER)
_SPAN: Final = re.compile(rf"({_NUMBER})?\s*(?:(\.\.)\s*({_NUMBER})?)?")
_DASHED: Final = re.compile(rf"({_NUMBER})\s*-\s*({_NUMBER})")
_COUNT: Final = re.compile(r"[0-9]{1,4}")


class Span(Struct, frozen=True):
    """The numbers from ``least`` to ``most``, both included; ``None`` where there is no such end."""

    least: Decimal | None
    most: Decimal | None

    def holds(self, number: Decimal | int) -> bool:
        """The number lies in it."""
        return (self.least is None or self.least <= number) and (self.most is None or number <= self.most)

    def __str__(self) -> str:
        if self.least == self.most:
            return str(self.least)
        return f"{'' if self.least is None else self.least}..{'' if self.most is None else self.most}"


def decimal(text: str) -> Decimal | None:
    """The number that a text is, ``None`` where it is none."""
    return Decimal(text) if _ONE.fullmatch(text) else None


def any_span(spans: Sequence[Span]) -> str:
    """Several spans of which one is meant."""
    return any_word([str(span) for span in spans])


def read_spans(nodes: tuple[Text, ...], reading: Reading, what: str, *, counts: bool = False) -> tuple[Span, ...]:
    """The spans that ``nodes`` write; with ``counts`` whole numbers from 0 on."""
    spans = (_span(node, reading, what, counts=counts) for node in nodes)
    return tuple(dict.fromkeys(span for span in spans if span is not None))


def _span(node: Text, reading: Reading, what: str, *, counts: bool) -> Span | None:
    written = node.value.strip()
    found = _SPAN.fullmatch(written)
    ends = [] if found is None else [end for end in (found[1], found[3]) if end is not None]
    if found is None or not ends or (counts and not all(_COUNT.fullmatch(end) for end in ends)):
        examples = "`4`, `3..6`, `12..` or `..6`" if counts else "`1..100`, `0.5..`, `..-1` or `7`"
        dashed = _DASHED.fullmatch(written)
        hint = f", did you mean `{dashed[1]}..{dashed[2]}`?" if dashed else ""
        message = f"{what} should be a number or a span such as {examples}, here is `{node.value}`{hint}"
        reading.problems.add(node.place, message, "not_a_span")
        return None
    least = None if found[1] is None else Decimal(found[1])
    most = least if found[2] is None else None if found[3] is None else Decimal(found[3])
    if least is not None and most is not None and least > most:
        message = f"{what} ends before it begins, did you mean `{found[3]}..{found[1]}`?"
        reading.problems.add(node.place, message, "not_a_span")
        return None
    return Span(least, most)
