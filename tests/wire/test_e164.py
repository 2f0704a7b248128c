"""The quick look at a number in canonical form says what reading it says."""

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from phonenumbers import PhoneMetadata, PhoneNumberType

from interceptor.wire.e164 import canonical_test
from interceptor.wire.numbers import NumberReader

is_canonical = canonical_test()
CODES = sorted(map(str, phonenumbers.COUNTRY_CODE_TO_REGION_CODE))
READERS = [
    NumberReader(country, ("1xxx", "3xxxxxxxxxx")) for country in ("HU", "US", "CA", "AR", "BR", "RU", "IT", "SM", "")
]
digits = st.text(alphabet="0123456789", max_size=16)
# what is dialled before a national number, somewhere in the world, so that it is there often enough
national = st.sampled_from(
    ("", "0", "1", "8", "06", "80", "90", "15", "1001", "1980", "911", "9", "00", "13212", "0549")
)
numbers = st.builds(
    lambda code, prefix, rest: f"+{code}{prefix}{rest}",
    st.one_of(st.sampled_from(CODES), st.text(alphabet="0123456789", max_size=3)),
    national,
    digits,
)


@given(text=st.one_of(numbers, st.text(max_size=20), st.text(alphabet="+0123456789 \n", max_size=18)))
@example("+3606201234567")
@example("+541115" + "2345678")
@example("+5409112345678")
@example("+36112")
@example("+36201234567\n")
@example("+99912345678")
def test_what_looks_canonical_is_left_as_it_is(text):
    if is_canonical(text):
        assert [text] * len(READERS) == [reader._read_new(text).canonical for reader in READERS]


def valid_numbers():
    types = (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE, PhoneNumberType.TOLL_FREE, PhoneNumberType.VOIP)
    for region in sorted(PhoneMetadata._region_available):
        for number_type in types:
            found = phonenumbers.example_number_for_type(region, number_type)
            if found is not None:
                yield phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)


def test_nearly_all_valid_numbers_look_canonical():
    valid = sorted(set(valid_numbers()))
    slow = [number for number in valid if not is_canonical(number)]
    assert len(valid) > 600
    assert len(slow) < len(valid) * 0.1, slow


@pytest.mark.parametrize("text", ["+3606201234567", "06201234567", "+36 20 123 4567", "+36112", "1099", "+99912345678"])
def test_what_reading_changes_or_may_change_does_not_look_canonical(text):
    assert not is_canonical(text)
