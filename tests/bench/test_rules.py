"""One policy, told to each proxy in its own language, means the same to all."""

import pytest

from bench.rules import (
    ALLOWED_PREFIXES,
    NUMBERS,
    allowed_numbers,
    as_interceptor,
    as_keys,
    denied_numbers,
    deny_rules,
    in_window,
)
from interceptor import document


@pytest.mark.parametrize("count", [10, 1_000])
def test_no_rule_of_any_set_denies_an_allowed_number(count):
    prefixes = tuple(rule.prefix for rule in deny_rules(count))

    assert not [number for number in allowed_numbers() if number.startswith(prefixes)]
    assert all(number.startswith(ALLOWED_PREFIXES) for number in allowed_numbers())


@pytest.mark.parametrize("count", [10, 1_000])
def test_every_set_denies_every_denied_number_to_every_app_at_any_time(count):
    general = tuple(
        rule.prefix for rule in deny_rules(count) if (rule.command, rule.app, rule.window) == ("Call", "", "")
    )

    assert all(number.startswith(general) for number in denied_numbers(NUMBERS))


def test_a_smaller_set_is_the_beginning_of_a_greater_one():
    assert deny_rules(10) == deny_rules(1_000)[:10]


def test_interceptor_gets_as_many_rules_as_asked_and_can_read_them():
    tree, problems = document.read(as_interceptor(100).encode(), "10-dialling.yaml")

    assert problems == ()
    assert len(tree.get("rules").nodes) == 100


def test_an_exact_map_has_a_rule_without_app_once_for_each_app():
    rules = deny_rules(99)

    assert sum(1 if rule.app else 4 for rule in rules) == len(as_keys(100))


@pytest.mark.parametrize(
    ("window", "hour", "open_"),
    [
        ("", 3, True),
        ("night", 23, True),
        ("night", 5, True),
        ("night", 6, False),
        ("office", 8, True),
        ("office", 18, False),
    ],
)
def test_a_window_may_pass_midnight_and_its_end_is_not_in_it(window, hour, open_):
    assert open_ == in_window(window, hour)
