"""Number classes of one's own: what rules files declare, and what they may not take away."""

from pathlib import Path

import msgspec
import pytest

from interceptor.loading import policy_context
from interceptor.policy import Source, compile_policy
from interceptor.values import Number, NumberClass, NumberType
from interceptor.wire.numbers import NumberReader
from tests.gateway.harness import settings_for

CLASSES = """
classes:
  premium: [{table: blocked}, {prefix: +4930}]
  internal: {length: 5}
  mobile: {prefix: ["+36", "1"]}
  satellite: {table: customers, column: tier, is: silver}
"""


@pytest.fixture(scope="module")
def class_of(compiled, context):
    classify = compiled(CLASSES, "classes: {emergency: '1222', premium: {prefix: '11'}}").classify
    return lambda text: classify(context.number(text)).number_class.value


@pytest.mark.parametrize(
    ("text", "number_class"),
    [
        ("+3690123", "premium"),
        ("1002", "premium"),
        ("+4930123", "premium"),
        ("+4940123", "fixed"),
        ("12345", "internal"),
        ("+3630222", "mobile"),
        ("1001", "mobile"),
        ("2001", "internal"),
        ("1222", "mobile"),  # the file that comes first counts
        ("112", "emergency"),
        ("+499", "fixed"),
    ],
)
def test_the_first_class_that_fits_counts(class_of, text, number_class):
    assert class_of(text) == number_class


def test_more_emergency_numbers_may_be_added(compiled, context):
    classify = compiled("classes: {emergency: '2999', premium: {prefix: '2'}}").classify
    assert classify(context.number("2999")).number_class is NumberClass.EMERGENCY


def test_without_classes_there_is_nothing_to_ask(compiled):
    policy = compiled("rules:\n")
    assert (policy.classify, policy.classes) == (None, ())


def test_what_is_asked_again_and_again_is_remembered_and_bounded(compiled):
    classify = compiled(CLASSES).classify
    for at in range(33_000):
        number = Number(f"+36200{at:05}", f"+36200{at:05}", "HU", NumberClass.OTHER)
        assert classify(number).number_class is NumberClass.MOBILE
    assert classify(number) is classify(number)


HUNGARY = NumberReader("HU", ("1xxx",))


@pytest.fixture(scope="module")
def hungarian(context):
    """Classes over numbers as they are really read; `+3655` is made premium."""
    wide = msgspec.structs.replace(context, number=HUNGARY.read, inside=HUNGARY.inside)
    source = Source("c.yaml", b'classes: {premium: {prefix: ["+3655", "+49555"]}, fixed: {prefix: "+3690"}}')
    classify = compile_policy([source], wide).classify
    return lambda text: classify(HUNGARY.read(text))


@pytest.mark.parametrize(
    "text",
    ["+3655123456", "06 55 123 456", "sip:0655123456@trunk", "0655123456,,1", "4955512345678", "x" * 9 + "+3655123456"],
)
def test_a_number_of_a_costly_class_cannot_be_dressed_up(hungarian, text):
    assert hungarian(text).number_class is NumberClass.PREMIUM


@pytest.mark.parametrize("text", ["x" * 2000, "call 12", "0620", "+", "", "0612345678,,1"])
def test_what_has_no_costly_number_inside_stays_what_it_is(hungarian, text):
    assert hungarian(text) == HUNGARY.read(text)


def test_a_class_may_be_taken_from_a_clean_number_and_stays_with_one_in_disguise(hungarian):
    assert hungarian("0690123456").number_class is NumberClass.FIXED
    assert hungarian("sip:0690123456@trunk").number_class is NumberClass.PREMIUM
    assert hungarian("0690123456").number_type is NumberType.PREMIUM_RATE


def test_the_rules_of_a_configuration_see_the_numbers_inside_a_text():
    context = policy_context(settings_for(Path("/nowhere"), [9780], app=8001))
    assert [number.canonical for number in context.inside("sip:+36201234567@trunk")] == ["+36201234567"]
