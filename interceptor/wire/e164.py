"""Tells of a text, without reading it, that it is a number in canonical form already.

A table of a million numbers is nearly always written as ``+36201234567``, and reading such a number costs a hundred
times as much as this look at it. Reading changes a number after ``+`` in three cases only, so all others are canonical:

* the digits do not begin with a country code, so they are no international number after all;
* so few digits follow the code that it may be an emergency number with the country code before it;
* they begin with what people of that country dial before a national number (``+3606201234567``), which is taken out.
"""

import re
from collections.abc import Callable, Iterable
from functools import cache

import phonenumbers

_LEAST_AFTER_CODE = 7  # emergency numbers have six digits at most
_MOST_AFTER_CODE = 12  # fifteen digits together, as E.164 has it, after the longest code


@cache
def canonical_test() -> Callable[[str], object]:
    """A function whose truth means that every :class:`~interceptor.wire.numbers.NumberReader` leaves the text as it is.

    Where it does not hold, nothing is known.
    """
    codes = {str(code): _no_national_prefix(code) for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE}
    after = f"[0-9]{{{_LEAST_AFTER_CODE},{_MOST_AFTER_CODE}}}"
    return re.compile(rf"\+(?:{_any_of(codes, codes, 0)}){after}\Z").match


def _any_of(codes: dict[str, str], among: Iterable[str], depth: int) -> str:
    """The codes as alternatives, digit by digit, so that each digit is looked at once; none begins another."""
    by_digit: dict[str, list[str]] = {}
    for code in among:
        by_digit.setdefault(code[depth], []).append(code)
    branches = []
    for digit, several in sorted(by_digit.items()):
        whole = len(several[0]) == depth + 1
        branches.append(digit + (codes[several[0]] if whole else f"(?:{_any_of(codes, several, depth + 1)})"))
    return "|".join(branches)


def _no_national_prefix(code: int) -> str:
    """What fits where no national prefix follows the code; one that may be empty does not follow when it is."""
    region = phonenumbers.region_code_for_country_code(code)
    metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    prefix = metadata.national_prefix_for_parsing if metadata is not None else None
    return rf"(?!(?:{prefix})(?<!\+{code}))" if prefix else ""
