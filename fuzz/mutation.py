"""What is done to a message: a few small changes, so that it stays nearly right."""

from collections.abc import Sequence
from random import Random

_LONGEST = 6000


def mutated(dice: Random, data: bytes, tokens: Sequence[bytes], others: Sequence[bytes]) -> bytes:
    """The message after one to five changes."""
    for _ in range(1 + int(dice.random() * dice.random() * 5)):
        data = _changed(dice, data, tokens, others)
    return data[:_LONGEST]


def _changed(dice: Random, data: bytes, tokens: Sequence[bytes], others: Sequence[bytes]) -> bytes:
    size = len(data)
    at = int(dice.random() * (size + 1))
    to = min(size, at + 1 + int(dice.random() ** 3 * 40))
    match int(dice.random() * 12):
        case 0:
            return data[:at] + bytes((dice.getrandbits(8),)) + data[at + 1 :]
        case 1:
            return data[:at] + data[to:]
        case 2:
            return data[:to] + data[at:]
        case 3 | 4 | 5:
            return data[:at] + _any(dice, tokens) + data[at:]
        case 6 | 7:
            return data[:at] + _any(dice, tokens) + data[to:]
        case 8:
            other = _any(dice, others)
            return data[:at] + other[int(dice.random() * (len(other) + 1)) :]
        case 9:
            return data[:at] + data[at:to].swapcase() + data[to:]
        case 10:
            return data[:at] + data[at:to] * int(dice.random() ** 4 * 60) + data[to:]
        case _:
            return _at_a_line_end(dice, data, _any(dice, tokens))


def _at_a_line_end(dice: Random, data: bytes, token: bytes) -> bytes:
    """The token as, or in, a line of its own."""
    at = data.find(b"\r\n", int(dice.random() * len(data)))
    return data[: at + 2] + token + data[at + 2 :] if at >= 0 else data + token


def _any(dice: Random, values: Sequence[bytes]) -> bytes:
    return values[int(dice.random() * len(values))]
