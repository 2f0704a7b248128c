"""Texts that are tried for a test: at least one of them fits."""

import pytest

from interceptor.policy.analysis.samples import continued
from interceptor.policy.patterns import LinearPattern
from interceptor.policy.readings import Readings
from interceptor.policy.texts import TextContains, TextEnds, TextField, TextFits
from interceptor.values import Facts, Kind

FIELD = TextField("values", "message")


def fits(tests, text):
    facts = Facts(Kind.COMMAND, "Call", "", "", None, None, {"message": text}, {}, 0.0)
    return all(test.test(Readings())(facts) for test in tests)


@pytest.mark.parametrize(
    "pattern",
    [
        "(?i)lottery|you won", "^[0-9]{3,5}$", "a.c", "[^x]y", "[^a-z]{2}$", r"\d+\s\w", r"[\d]x?", "(a|b)+c*", "^$",
        "x{0,2}y", "[^ ]", r"[^\s\d]", "[b-d][^0-~]", r"\D",
    ],
)  # fmt: skip
def test_a_text_is_found_that_an_expression_fits(pattern):
    test = TextFits(FIELD, LinearPattern(pattern))
    assert any(fits([test], text) for text in continued("", [test]))


def test_several_tests_at_once():
    tests = [TextContains(FIELD, "b"), TextEnds(FIELD, ("zz", "yy")), TextFits(FIELD, LinearPattern("c{2}"))]
    assert any(text.startswith("a") and fits(tests, text) for text in continued("a", tests))


@pytest.mark.parametrize("pattern", [r"\pL+", r"\bword\b", "(?P<n>a)", r"\C"])
def test_what_python_reads_in_another_way_is_no_fault(pattern):
    test = TextFits(FIELD, LinearPattern(pattern))
    assert all(isinstance(text, str) for text in continued("", [test]))
