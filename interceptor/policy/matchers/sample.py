"""### `sample`

A part of all calls, in percent: `10%`, `0.5%`. Chosen by the call's id where a message has one, else by the exchange;
not by chance, so every message of a call gets the same answer, today and tomorrow, in every worker. A larger part has
the smaller ones in it: who was among the `10%` is among the `20%` as well, in every rule.

    when: {sample: 10%}
    when: {number: {country: HU}, not: {sample: 50%}}
"""  # noqa: D400, D415 - a page of the manual

import re
from decimal import Decimal
from hashlib import blake2b
from typing import Final

from msgspec import Struct

from interceptor import document
from interceptor.document import Node
from interceptor.policy.condition import Condition, Offer, Test, quoted
from interceptor.policy.grammar import Reading
from interceptor.policy.readings import Readings
from interceptor.policy.shapes import Shape, Shapes
from interceptor.values import Facts

KEY: Final = "sample"
_BITS: Final = 64
_PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%")
_BARE: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6})?")


class Sampled(Struct, frozen=True):
    """The call is among the first ``percent`` of all; ``calls`` are the parameters, in lower case, that may name it."""

    percent: Decimal
    calls: tuple[str, ...]

    def test(self, _readings: Readings) -> Test:
        calls, below = self.calls, self.below
        return lambda facts: place(_identity(facts, calls)) < below

    @property
    def below(self) -> int:
        """The calls whose :func:`place` is below this are in."""
        return int(self.percent * (1 << _BITS) / 100)

    def offer(self) -> Offer | None:
        return None

    def expects(self) -> str:
        return f"sample {self.percent}%"

    def sees(self, facts: Facts, _readings: Readings) -> str:
        identity = _identity(facts, self.calls)
        percent = Decimal(place(identity) * 100) / (1 << _BITS)
        return f"{quoted(identity)} at {percent:.6f}%" if identity else f"no call and no exchange, at {percent:.6f}%"


def _identity(facts: Facts, calls: tuple[str, ...]) -> str:
    """The call's id, else the exchange's."""
    for name in calls:
        call = facts.values.get(name)
        if call:
            return call
    return facts.exchange


def place(identity: str) -> int:
    """Where among all calls this one stands, below 2**64: always the same for it, evenly spread over all of them."""
    digest = blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=_BITS // 8).digest()
    return int.from_bytes(digest)


def read(node: Node, reading: Reading) -> Condition | None:
    """The condition under ``sample``."""
    problems = reading.problems
    written = document.text(node, problems, f"`{KEY}`")
    if written is None:
        return None
    found = _PERCENT.fullmatch(written.strip())
    percent = Decimal(found[1]) if found is not None else None
    if percent is None or not 0 < percent <= 100:
        hint = f", did you mean `{written}%`?" if _BARE.fullmatch(written) else ""
        message = (
            f"`{KEY}` should be a part such as `10%` or `0.5%`, above 0% and up to 100%, here is `{written}`{hint}"
        )
        problems.add(node.place, message, "not_a_percentage")
        return None
    return Sampled(percent, reading.context.calls)


def shape(_shapes: Shapes) -> Shape:
    """What can be written under ``sample``."""
    return {"type": "string", "pattern": r"^\s*[0-9]{1,3}(\.[0-9]+)?\s*%\s*$"}
