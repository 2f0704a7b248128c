"""Texts that a test on a text may hold for: guesses, which whoever asks has to try."""

import re
from collections.abc import Iterator
from itertools import islice, product
from typing import Any, Final

from interceptor.policy.texts import TextContains, TextEnds, TextFits

_MOST: Final = 6
_VARIANTS: Final = 3


def pieces(test: Any) -> tuple[str, ...]:
    """Texts that may make a test hold when they stand in another, or at its end."""
    match test:
        case TextContains():
            return (test.inner,)
        case TextEnds():
            return test.suffixes[:_MOST]
        case TextFits():
            return tuple(islice(_fitting(test.pattern.source), _MOST))
        case _:
            return ()


def continued(prefix: str, tests: list[Any]) -> Iterator[str]:
    """Texts that begin with ``prefix`` and may make some of these tests hold."""
    ordered = sorted(tests, key=lambda test: isinstance(test, TextEnds))  # an end stands at the end
    middles = [("", *pieces(test)) for test in ordered[:4]]
    fillers = ("", "x", "0", "~~")
    for chosen in islice(product(*middles), 200):
        for filler in fillers:
            yield prefix + filler + "".join(chosen)
            if filler:
                yield prefix + "".join(chosen) + filler


def _fitting(source: str) -> Iterator[str]:
    try:
        tree = re._parser.parse(source)  # type: ignore[attr-defined]  # noqa: SLF001 - there is no public one
    except (re.error, RecursionError, OverflowError):
        return
    for variant in range(_VARIANTS):
        try:
            yield "".join(_written(tree, variant))
        except (NotImplementedError, RecursionError):
            return


def _written(tree: Any, variant: int) -> Iterator[str]:
    for operator, argument in tree:
        match str(operator):
            case "LITERAL":
                yield chr(argument)
            case "NOT_LITERAL":
                yield "x" if argument != ord("x") else "y"
            case "ANY":
                yield "x"
            case "IN":
                yield _one_of(argument, variant)
            case "BRANCH":
                branches = argument[1]
                yield from _written(branches[variant % len(branches)], variant)
            case "SUBPATTERN":
                yield from _written(argument[-1], variant)
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, inner = argument
                times = min(max(least, 1 if variant else 0), int(most), 100)
                yield "".join(_written(inner, variant)) * times
            case "AT":
                pass
            case _:
                raise NotImplementedError


def _one_of(parts: Any, variant: int) -> str:
    negated = bool(parts) and str(parts[0][0]) == "NEGATE"
    if negated:
        allowed = re.compile("[^" + "".join(_class_text(part) for part in parts[1:]) + "]")
        return next((each for each in "x0 -~aZ" if allowed.match(each)), "\u20ac")
    operator, argument = parts[variant % len(parts)]
    match str(operator):
        case "LITERAL":
            return chr(argument)
        case "RANGE":
            return chr(argument[0])
        case "CATEGORY":
            return {"CATEGORY_DIGIT": "0", "CATEGORY_WORD": "x", "CATEGORY_SPACE": " "}.get(str(argument), "-")
        case _:
            raise NotImplementedError


def _class_text(part: Any) -> str:
    operator, argument = part
    match str(operator):
        case "LITERAL":
            return re.escape(chr(argument))
        case "RANGE":
            return f"{re.escape(chr(argument[0]))}-{re.escape(chr(argument[1]))}"
        case "CATEGORY":
            return {"CATEGORY_DIGIT": r"\d", "CATEGORY_WORD": r"\w", "CATEGORY_SPACE": r"\s"}.get(str(argument), "")
        case _:
            raise NotImplementedError
