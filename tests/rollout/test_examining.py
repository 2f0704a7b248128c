"""A policy is examined, in this process or in one of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.policy import Source, compile_policy
from interceptor.policy.tables import table_key
from interceptor.rollout.examining import (
    ExaminationError,
    Examiner,
    examine,
    pack_tables,
    summaries,
    unpack_tables,
)
from tests.gateway.harness import settings_for
from tests.policy.conftest import CONTEXT

RULES = """\
# comment
rules:
  - name: one
    on: Call
    deny: true

  # about two
  - name: two
    on: Call
    mode: shadow
    rewrite: {set: {CallerId: "1"}}
    allow: true
"""


@pytest.fixture
def settings(tmp_path):
    return settings_for(tmp_path, [9])


def source(text, file="rules/a.yaml"):
    return Source(file, text.encode())


def large_table(rows=6000):
    return source(
        "number,cluster\n" + "".join(f"+3620{row:07d},pbx-{row % 3}\n" for row in range(rows)), "tables/lcr.csv"
    )


def told(text):
    sources = (source(text),)
    return {rule.name: rule for rule in summaries(sources, compile_policy(sources, CONTEXT).rules)}


def test_what_is_told_of_a_rule():
    rules = told(RULES)
    assert [(rule.name, rule.place, rule.mode, rule.actions) for rule in rules.values()] == [
        ("one", "rules/a.yaml:3", "enforce", ("deny",)),
        ("two", "rules/a.yaml:8", "shadow", ("rewrite", "allow")),
    ]


def test_the_digest_of_a_rule_changes_with_its_text_or_mode_and_not_with_what_stands_around_it():
    before = told(RULES)
    moved = told(RULES.replace("# comment\n", "\n\n").replace("  # about two\n", "").replace("deny: true", "deny: yes"))
    assert moved["two"].digest == before["two"].digest
    assert moved["one"].digest != before["one"].digest
    off = told("mode: off\n" + RULES)
    assert off["one"].digest != before["one"].digest
    flow = "rules: [{name: a, on: Call, deny: true}, {name: b, on: Call, allow: true}]\n"
    assert told(flow)["a"].digest == told(flow.replace("allow: true", "deny: true"))["a"].digest
    assert told(flow)["b"].digest != told(flow.replace("allow: true", "deny: true"))["b"].digest


@given(rows=st.integers(0, 40), seed=st.integers(0, 9))
def test_a_table_that_was_packed_answers_as_before(rows, seed):
    head = "number,plan".ljust(1 << 16) + "\n"  # large enough to be packed
    text = head + "".join(f"+36{20 + (row * 7 + seed) % 50}{row:04d}*,p{row % 4}\n" for row in range(rows))
    sources = (source(RULES), Source("tables/t.csv", text.encode()))
    rules = compile_policy(sources, CONTEXT)
    unpacked = unpack_tables(pack_tables(sources, rules))
    before, after = rules.tables["t"], unpacked[table_key(sources[1])]
    assert list(before.entries()) == list(after.entries())
    for number in ("+3620", "+36200000", "+362500011", "+49", ""):
        assert after.find(number) == before.find(number)
        row = before.find(number)
        assert row < 0 or after.value(row, "plan") == before.value(row, "plan")


def test_a_table_that_was_made_of_the_same_text_is_not_made_again():
    table = large_table()
    rules = source(RULES)
    first = compile_policy((rules, table), CONTEXT)
    made = {table_key(table): first.tables["lcr"]}
    assert compile_policy((rules, table), CONTEXT, made).tables["lcr"] is first.tables["lcr"]
    other = Source(table.file, table.data + b"+36,pbx-9\n")
    assert compile_policy((rules, other), CONTEXT, made).tables["lcr"] is not first.tables["lcr"]
    small = (rules, source("+3612345678\n", "tables/few.txt"))
    assert pack_tables(small, compile_policy(small, CONTEXT)) == ()


def test_another_process_finds_the_same_and_sends_large_tables_along(settings):
    sources = (source(RULES), large_table())
    here, rules = examine(sources, (), settings)
    there = Examiner().examine(sources, (), settings)
    assert (there.revision, there.rules, there.problems) == (here.revision, here.rules, here.problems)
    assert unpack_tables(there.tables)[table_key(sources[1])].find("+36200000077") == rules.tables["lcr"].find(
        "+36200000077"
    )
    broken = Examiner().examine((source("rules: [{}]\n"),), (), settings)
    assert broken == examine((source("rules: [{}]\n"),), (), settings)[0]
    assert not broken.good


def test_what_a_policy_would_change_is_told_by_rule_and_by_message(settings):
    after = RULES.replace("deny: true", "allow: true").replace("name: two", "name: three")
    preview = Examiner().compare((source(RULES),), (source(after),), (), settings)
    assert (preview.added, preview.removed, preview.changed) == (("three",), ("two",), ("one",))
    assert {(change.before, change.after) for change in preview.difference.changes} == {("deny 306", "allow")}
    assert Examiner().compare((source(RULES),), (source("rules: [{}]\n"),), (), settings).difference is None


def test_a_fault_in_the_other_process_is_an_error_here(settings):
    with pytest.raises(ExaminationError, match="it failed: AttributeError"):
        Examiner().examine((source(RULES),), (), None)


def test_what_is_stopped_raises(settings):
    examiner = Examiner()
    examiner.stop()
    with pytest.raises(ExaminationError, match=r"its process ended with -9"):
        examiner.examine((source(RULES),), (), settings)
