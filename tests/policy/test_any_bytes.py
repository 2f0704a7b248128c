"""Any bytes as a rules file or as a table: a policy, or problems with a place in that file. Never an exception."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.policy import Source, compile_policy
from interceptor.policy.actions import ACTIONS
from interceptor.policy.matchers import MATCHERS
from interceptor.values import ProblemsError, Severity

ROOT = Path(__file__).parents[2]
GOOD = [path.read_bytes() for path in sorted((ROOT / "rules").glob("**/*.yaml"))]
TABLES = [b"number,tier\n+36201234567,gold\n+3630*,silver\n", b"+3690*\n112 # all\n", b'tenant;plan\n"a b";"c;""d"\n']
FILES = ["any.yaml", "tables/any.csv", "tables/any.txt"]


def told(file, data, context):
    """The problems, each of which stands in the file; a set that compiles has no errors."""
    try:
        found = compile_policy([Source(file, data)], context).warnings
    except ProblemsError as error:
        found = error.problems
        assert any(problem.severity is Severity.ERROR for problem in found)
    else:
        assert not any(problem.severity is Severity.ERROR for problem in found)
    breaks = (b"\n", b"\r", b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9", b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e")
    lines = sum(data.count(each) for each in breaks) + 2
    for problem in found:
        assert problem.place.file == file
        assert 1 <= problem.place.line <= lines
        assert problem.place.column >= 1
        assert problem.message.isprintable()
        assert problem.message.strip()
        assert problem.code.replace("_", "").isalnum()
    return found


@pytest.mark.fuzz
@pytest.mark.parametrize("file", FILES)
@given(data=st.binary(max_size=300))
def test_any_bytes(file, data, context):
    told(file, data, context)


@pytest.mark.fuzz
@pytest.mark.parametrize("file", FILES)
@given(data=st.text(alphabet="{}[]:,-'\"\n\r \t#&*!|>%@`?~.;+0aé\x00\u2028\x85\ufeff", max_size=80))
def test_any_punctuation(file, data, context):
    told(file, data.encode(), context)


@pytest.mark.fuzz
@pytest.mark.parametrize("file", FILES)
@given(data=st.data())
def test_a_good_file_with_any_part_replaced(file, data, context):
    good = data.draw(st.sampled_from(GOOD if file == "any.yaml" else TABLES))
    begin = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(begin, min(len(good), begin + 40)))
    inner = data.draw(st.one_of(st.binary(max_size=12), st.text(max_size=12).map(str.encode)))
    told(file, good[:begin] + inner + good[end:], context)


WORDS = (
    *("name", "on", "when", "mode", "any", "all", "not", *ACTIONS, *MATCHERS, "prefix", "class", "country", "exists"),
    *("type", "length", "range", "table", "column", "is", "days", "hours", "dates", "holidays", "zone", "otherwise"),
    *("set", "remove", "rename", "replace", "digits", "regex", "with", "code", "message", "cluster", "url", "key"),
    *("rate", "burst", "concurrent", "Call", "Dialed", "crm", "mon", "08:00-18:00", "true", "10.0.0.0/8", "+36"),
    *("1001", "premium", "HU", "UTC", "pbx-main", "Route", "do", "text", "*", "~", "", "5/s", "10%", "{{number}}"),
)
words = st.sampled_from(WORDS)
trees = st.recursive(
    words,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=4)),
    max_leaves=12,
)


@pytest.mark.fuzz
@given(rule=st.dictionaries(st.sampled_from(("name", "on", "when", "mode", *ACTIONS)), trees, min_size=1))
def test_any_tree_of_known_words_as_a_rule(rule, context):
    told("any.yaml", json.dumps({"rules": [rule]}).encode(), context)


@pytest.mark.fuzz
@given(trees=st.dictionaries(st.sampled_from((*MATCHERS, *ACTIONS)), trees, min_size=1, max_size=2))
def test_any_tree_under_every_matcher_and_action(trees, context):
    rule = {"name": "it", "on": "Call"}
    for key, tree in trees.items():
        if key in MATCHERS:
            rule.setdefault("when", {})[key] = tree
        else:
            rule[key] = tree
    told("any.yaml", json.dumps({"rules": [rule]}).encode(), context)
