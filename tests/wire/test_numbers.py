"""Numbers: what people and machines dial, read to one canonical form and a class."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interceptor.values import Kind, NumberClass
from interceptor.wire import knowledge
from interceptor.wire.numbers import NumberReader


@pytest.fixture(scope="module")
def hungary() -> NumberReader:
    return NumberReader("HU", ("1xxx", "2xxx", "112", "6X"))


def read(reader: NumberReader, text: str) -> tuple[str, str, str]:
    number = reader.read(text)
    assert text == number.written
    return number.canonical, number.country, number.number_class.value


@pytest.mark.parametrize(
    "text",
    [
        "+36201234567",
        "0036201234567",
        "06201234567",
        "06 20 123 4567",
        "06-20/123.4567",
        "(06 20) 123-4567",
        "+36 (20) 123\u20134567",
        "+36\u00a020\u00a01234567",
        "36201234567",
        " 36201234567",  # a plus that was not escaped
        " +36201234567\r\n",
        "201234567",
        "\uff0b\uff13\uff16201234567",
    ],
)
def test_one_number_has_one_canonical_form_however_it_is_written(hungary: NumberReader, text: str):
    assert read(hungary, text) == ("+36201234567", "HU", "mobile")


@pytest.mark.parametrize(
    ("text", "canonical", "country", "number_class"),
    [
        ("+36 1 234 5678", "+3612345678", "HU", "fixed"),
        ("0690123456", "+3690123456", "HU", "premium"),
        ("06 80 123 456", "+3680123456", "HU", "toll_free"),
        ("+39 848 123456", "+39848123456", "IT", "shared_cost"),
        ("+49 (0)30 123456", "+4930123456", "DE", "fixed"),
        ("+12025550123", "+12025550123", "US", "fixed"),
        ("+447012345678", "+447012345678", "GB", "premium"),
        ("+870773123456", "+870773123456", "", "satellite"),
        ("00881612345678", "+881612345678", "", "satellite"),
        ("+8821612345678", "+8821612345678", "", "satellite"),
        ("+883510012345", "+883510012345", "", "satellite"),
        ("+8701", "+8701", "", "satellite"),
        ("+870", "+870", "", "satellite"),
        ("+979123456789", "+979123456789", "", "premium"),
        ("+80812345678", "+80812345678", "", "shared_cost"),
        ("+80012345678", "+80012345678", "", "toll_free"),
        ("116111", "116111", "HU", "toll_free"),
        ("3620", "3620", "", "other"),
        ("1234567", "1234567", "", "other"),
        ("+999123456789", "+999123456789", "", "other"),
        ("+36", "+36", "", "other"),
        ("+", "+", "", "other"),
        ("00", "00", "", "other"),
        ("000", "000", "", "other"),
        ("+0036201234567x", "+0036201234567x", "", "other"),
        ("06201234567999", "06201234567999", "", "other"),
        ("+36201234567999", "+36201234567999", "HU", "other"),  # a digit too many: no permission by class fits
        ("0", "0", "", "other"),
        ("", "", "", "other"),
        ("   ", "   ", "", "other"),
        ("anonymous", "anonymous", "", "other"),
        ("crm@app.test", "crm@app.test", "", "other"),
        ("1099;1098", "1099;1098", "", "other"),
        ("\udcff", "\udcff", "", "other"),
    ],
)
def test_numbers_have_a_class(hungary: NumberReader, text: str, canonical: str, country: str, number_class: str):
    assert (canonical, country, number_class) == read(hungary, text)


@pytest.mark.parametrize(
    ("text", "number_type"),
    [
        ("06201234567", "mobile"),
        ("+3612345678", "fixed_line"),
        ("+12025550123", "fixed_line_or_mobile"),
        ("0690123456", "premium_rate"),
        ("0680123456", "toll_free"),
        ("+36212345678", "voip"),
        ("1099", "extension"),
        ("112", "emergency"),
        ("116111", "short"),
        ("sip:0690123456@trunk", "unknown"),
        ("+99912345678", "unknown"),
    ],
)
def test_numbers_have_the_type_that_their_plan_gives(hungary: NumberReader, text: str, number_type: str):
    assert hungary.read(text).number_type.value == number_type


@pytest.mark.parametrize("text", ["112", "1-1-2", " 112 ", "+36112", "0036 112", "\uff11\uff11\uff12"])
def test_an_emergency_number_is_one_before_it_is_anything_else(hungary: NumberReader, text: str):
    assert read(hungary, text) == ("112", "HU", "emergency")


@pytest.mark.parametrize(
    ("country", "text"), [("HU", "104"), ("HU", "107"), ("US", "911"), ("DE", "110"), ("GB", "999")]
)
def test_emergency_numbers_are_those_of_the_country(country: str, text: str):
    assert (text, country, "emergency") == read(NumberReader(country), text)


@pytest.mark.parametrize("text", ["911", "1121", "112,1", "112x", "06112"])
def test_what_is_not_exactly_an_emergency_number_is_none(hungary: NumberReader, text: str):
    assert NumberClass.EMERGENCY is not hungary.read(text).number_class


def test_extensions_are_those_of_the_plan(hungary: NumberReader):
    assert read(hungary, "10 99") == ("1099", "", "internal")
    assert read(hungary, "67") == ("67", "", "internal")
    assert read(hungary, "10991")[2] != "internal"
    assert read(NumberReader("HU"), "1099")[2] != "internal"


def test_the_country_of_the_reader_decides():
    assert read(NumberReader("de"), "030 123456") == ("+4930123456", "DE", "fixed")
    america = NumberReader("US")
    assert read(america, "(202) 555-0123") == ("+12025550123", "US", "fixed")
    assert read(america, "011 36 20 123 4567") == ("+36201234567", "HU", "mobile")
    assert read(america, "00 36 20 123 4567") == ("+36201234567", "HU", "mobile")
    assert read(america, "011870773123456") == ("+870773123456", "", "satellite")
    assert read(NumberReader("IT"), "333 1234567") == ("+393331234567", "IT", "mobile")


def test_digits_outside_the_plan_are_no_number_of_the_country():
    assert read(NumberReader("DE"), "4000") == ("4000", "", "other")
    assert read(NumberReader("DE"), "11880") == ("11880", "DE", "other")  # a short number whose price nobody says


def test_a_country_that_does_not_exist_still_reads_what_is_international():
    nowhere = NumberReader("XX")
    assert read(nowhere, "+36201234567") == ("+36201234567", "HU", "mobile")
    assert read(nowhere, "06201234567") == ("06201234567", "", "other")
    assert read(nowhere, "112") == ("112", "", "other")


@pytest.mark.parametrize(
    ("text", "number_class"),
    [
        ("sip:0690123456@trunk", "premium"),
        ("tel:+8821612345678", "satellite"),
        ("0690123456,1", "premium"),
        ("0690123456\0", "premium"),
        ("*31#0690123456", "premium"),
        ("06201234567;+39848123456;0690123456", "premium"),
        ("8821612345678", "satellite"),
        (" 8821612345678", "satellite"),
        ("000690123456", "premium"),
        ("+0690123456", "premium"),
        ("+3690123456999", "premium"),
        ("0690123456" + "1" * 30, "premium"),
        ("+3690123456" + "1" * 30, "premium"),
        ("0690123456" + "1" * 80, "premium"),
        ("979123456789", "premium"),
        ("1,2,3,4,5,6,7,8,9,0690123456", "premium"),
        ("a".join(f"{run}111111" for run in range(1, 9)) + " <sip:0690123456@trunk>", "premium"),
        ("a".join(f"{run}11111" for run in range(10, 50)), "premium"),  # who would read them all?
        (",".join(f"+3620123456{last}" for last in range(10)), "other"),
        ("1001,1002,1003,1004", "other"),
        ("sip:0690123456@trunk;x=" + "a" * 1024, "premium"),
        ("sip:06%390123456@trunk", "premium"),
        ("06_90_123_456", "premium"),
        ("06\u00b790\u00b712\u00b734\u00b756", "premium"),
        ("sip:1001@192.168.0.1", "other"),
        ("sip:8816@192.168.0.1", "other"),
        ("06201234567,1", "other"),
        ("881234567", "other"),
    ],
)
def test_a_costly_number_cannot_be_dressed_up(hungary: NumberReader, text: str, number_class: str):
    assert number_class == hungary.read(text).number_class.value


def test_a_dressed_up_number_keeps_its_text_so_that_no_permission_by_number_fits_it(hungary: NumberReader):
    assert hungary.read("sip:+3690123456@x").canonical == "sip:+3690123456@x"
    assert hungary.read("8821612345678").canonical == "8821612345678"
    assert hungary.read("+3690123456" + "1" * 30).canonical == "+3690123456" + "1" * 30


def test_a_text_beyond_all_measure_may_hold_the_costliest_number(hungary: NumberReader):
    text = "0" * 100_000
    assert (text, "", "premium") == read(hungary, text)


@pytest.mark.parametrize(
    ("country", "text", "canonical", "number_class"),
    [
        ("AU", "0011 44 20 7946 0018", "+442079460018", "fixed"),
        ("AU", "0011 8816 3155 1234", "+881631551234", "satellite"),
        ("CO", "009 8816 3155 1234", "+881631551234", "satellite"),
        ("KR", "002 44 20 7946 0018", "+442079460018", "fixed"),
        ("BR", "0015 44 20 7946 0018", "+442079460018", "fixed"),
        ("US", "011 44 20 7946 0018", "+442079460018", "fixed"),
        ("US", "00 44 20 7946 0018", "+442079460018", "fixed"),
        ("", "00 44 20 7946 0018", "+442079460018", "fixed"),
    ],
)
def test_a_number_abroad_begins_after_the_whole_prefix_of_the_country(
    country: str, text: str, canonical: str, number_class: str
):
    number = NumberReader(country).read(text)
    assert (number.canonical, number.number_class.value) == (canonical, number_class)


@pytest.mark.parametrize("around", ["\u202a{}\u202c", "\u2066{}\u2069", "\u061c{}", "\u200e{}\u200f"])
def test_marks_that_are_not_to_be_seen_and_come_with_a_copied_number_mean_nothing(hungary: NumberReader, around: str):
    assert hungary.read(around.format("112")).number_class.value == "emergency"
    assert hungary.read(around.format("+36 20 123 4567")).canonical == "+36201234567"


def test_what_was_read_is_kept_and_bounded():
    reader = NumberReader("HU", ("1xxx",), cache_size=8)
    assert reader.read("1000") is reader.read("1000")
    for number in range(1000, 1100):
        reader.read(str(number))
        assert len(reader._young) + len(reader._old) <= 8
    long = "1" * 65
    assert reader.read(long) is not reader.read(long)


def test_a_number_read_again_and_again_outlives_the_others():
    reader = NumberReader("HU", ("1xxx",), cache_size=8)
    kept = reader.read("1000")
    for number in range(1001, 1100):
        reader.read(str(number))
        assert reader.read("1000") is kept


def test_a_message_is_judged_by_the_number_it_dials(hungary: NumberReader):
    call, route = knowledge.command("Call"), knowledge.verb("Route")
    assert hungary.dialled(call, {"dialed": "06201234567"}).canonical == "+36201234567"
    assert hungary.dialled(route, {"destination": "1099", "dialednumber": ""}).canonical == "1099"
    assert hungary.dialled(route, {"destination": "Line 1", "dialednumber": "06201234567"}).canonical == "+36201234567"
    assert hungary.dialled(call, {}) is None
    assert hungary.dialled(knowledge.command("Hangup"), {"dialed": "1"}) is None


def test_a_costlier_number_in_another_parameter_counts(hungary: NumberReader):
    unknown = knowledge.unknown(Kind.COMMAND)
    harmless, shared, premium = "1099", "+39848123456", "0690123456"
    assert hungary.dialled(unknown, {"dialed": harmless, "target": premium}).number_class.value == "premium"
    assert hungary.dialled(unknown, {"dialed": shared, "target": premium}).number_class.value == "premium"
    assert hungary.dialled(unknown, {"dialed": premium, "target": shared}).number_class.value == "premium"
    assert hungary.dialled(unknown, {"dialed": harmless, "target": "06201234567"}).canonical == "1099"


def test_the_caller_of_a_call_is_what_is_shown_or_else_its_extension(hungary: NumberReader):
    call = knowledge.command("Call")
    assert hungary.calling(call, {"callerid": "+3612345678", "apiextension": "1099"}).canonical == "+3612345678"
    assert hungary.calling(call, {"callerid": "", "apiextension": "1099"}).canonical == "1099"
    assert hungary.calling(call, {}) is None


@given(text=st.text(max_size=40) | st.text("+0123456789 -()/.*#,;@x\u0663\uff0b", max_size=30))
def test_any_text_is_read(text: str):
    for reader in (ANYWHERE, NOWHERE):
        number = reader.read(text)
        assert text == number.written
        assert number.number_class in NumberClass


@given(digits=st.from_regex(r"\+?[0-9]{1,20}", fullmatch=True))
def test_what_stands_between_digits_means_nothing(digits: str):
    plain, spaced = ANYWHERE.read(digits), ANYWHERE.read("-".join(digits))
    assert (plain.country, plain.number_class) == (spaced.country, spaced.number_class)


@given(digits=st.from_regex(r"\+?[0-9]{1,17}", fullmatch=True))
@example("+310000000")
def test_a_public_number_in_canonical_form_is_read_as_itself(digits: str):
    number = ANYWHERE.read(digits)
    if number.country and number.canonical.startswith("+"):
        again = ANYWHERE.read(number.canonical)
        assert (number.canonical, number.country) == (again.canonical, again.country)


ANYWHERE = NumberReader("HU", ("1xxx",))
NOWHERE = NumberReader("", ())
