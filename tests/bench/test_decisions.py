"""Decisions beside other engines: the work they are given, and what is made of their figures."""

import sys

import pytest

from bench import decisions, report, rules
from bench.decide import measure, rules_text
from bench.deciding import House
from bench.results import Decided, Results
from interceptor.policy import Source


def decided(turn, engine, policy, size, p50, **more):
    given = {"table": "", "decisions": 9, "p99": 2 * p50, "load": 1.0, "cpu": 0.5, "memory": 3.0}
    return Decided(round=turn, engine=engine, policy=policy, rules=size, p50=p50, **(given | more))


@pytest.fixture
def results():
    found = Results(at="now", machine={}, versions={}, settings={})
    for turn in (0, 1):
        found.decisions += [
            decided(turn, "interceptor", "grown", 100, 2.0),
            decided(turn, "interceptor", "grown", 100_000, 5.0 + turn),
            decided(turn, "interceptor", "grown", 1_000, 3.0, table="numbers"),
            decided(turn, "interceptor", "shared", 10_000, 4.0),
            decided(turn, "cedarpy", "shared", 10_000, 9_000.0),
            decided(turn, "zen-engine", "shared", 10_000, 6_000.0 + 2_000 * turn),
        ]
    return found


def test_figures_are_compared_round_by_round(results):
    assert decisions.growth(results, 100_000, 100).median == 2.75
    ahead = decisions.ahead(results, 10_000)
    assert (ahead.median, ahead.least, ahead.greatest) == (1_750, 1_500, 2_000)
    assert decisions.ahead(results, 10) is None
    assert decisions.figure(results, 1_000, lambda each: each.cpu, table="numbers").median == 0.5


def test_the_page_has_every_engine_and_size(results):
    grown, shared = report.decided(results)
    assert "| 1,000 rules, a list of 1,000,000 numbers | 3.0 | 6.0 | 0.0 | 1.00 (0.50) | 3.0 | 0.0 |" in grown
    assert "| **interceptor** | – | – | – | 4.0 (8.0) | 0.50 | 3.0 |" in shared
    assert "| zen-engine | – | – | – | 7,000.0 (14,000.0) | 0.50 | 3.0 |" in shared
    assert report.decided(Results(at="", machine={}, versions={}, settings={})) == []


def test_interceptor_means_what_the_others_are_checked_against(monkeypatch):
    monkeypatch.syspath_prepend("bench/engines")
    work = decisions._work(50, 1.0)
    sys.modules.pop("interceptor_engine", None)
    decide = __import__("interceptor_engine").load(work)
    found = [decide(tuple(message)) for message in work["messages"][:100]]
    assert found == work["verdicts"]
    assert {True, False} == set(found)
    assert len(work["rules"]) == 49
    assert {app for _, app, *_ in work["rules"]} <= {"", *rules.APPS}


def test_the_grown_policy_compiles_at_the_size_it_is_said_to_have():
    import random

    text = rules_text(30, random.Random(1))
    assert len(House().compile([Source("a.yaml", text.encode())]).rules) == 30


def test_a_row_has_every_figure(monkeypatch):
    monkeypatch.setattr("bench.decide.DECISIONS", 50)
    monkeypatch.setattr("bench.decide.UNSEEN", 5)
    monkeypatch.setattr("bench.decide.ENTRIES", 100)
    for kind in ("", *decisions.TABLES):
        row = measure(10, kind)
        assert set(row) == {"p50", "p99", "unseen", "load", "cpu", "memory", "peak", "decisions"}
        assert row["p50"] > 0
