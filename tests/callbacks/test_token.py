"""Tokens open to what was sealed, and to nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.callbacks import Callback, Keyring, Unusable

OLD, NEW, OTHER = (bytes([each]) * 32 for each in (1, 2, 3))
CALLBACK = Callback(b"http://app.test/connected?id=4711", "crm", "ab12cd34-w0-1f", "", "0123456789ab", 1000)


def test_a_token_opens_to_what_was_sealed_until_it_expires():
    keys = Keyring([NEW])
    token = keys.seal(CALLBACK)
    assert keys.open(token, 999.9) == CALLBACK
    assert keys.open(token, 1000.0) is Unusable.EXPIRED
    assert len(token) < 140


def test_a_key_that_was_replaced_still_opens_and_no_longer_seals():
    before, after, later = Keyring([OLD]), Keyring([NEW, OLD]), Keyring([NEW])
    token = before.seal(CALLBACK)
    assert after.open(token, 0) == CALLBACK
    assert after.seal(CALLBACK) == later.seal(CALLBACK)
    assert later.open(token, 0) is Unusable.FORGED


def test_every_worker_with_the_keys_makes_and_opens_the_same_token():
    assert Keyring([NEW]).seal(CALLBACK) == Keyring([NEW, OTHER]).seal(CALLBACK)


@pytest.mark.parametrize("keys", [[], [b"short"], [NEW, b"x" * 33]])
def test_a_key_of_another_length_is_refused(keys: list[bytes]):
    with pytest.raises(ValueError, match="32, 48 or 64 bytes"):
        Keyring(keys)


@given(st.data())
def test_a_token_that_was_changed_anywhere_is_forged(data: st.DataObject):
    keys = Keyring([NEW])
    token = keys.seal(CALLBACK)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("Aa0_-=. é").filter(lambda each: each != token[at]))
    for forged in (token[:at] + other + token[at + 1 :], token[:at], token + other):
        assert keys.open(forged, 0) is Unusable.FORGED


@given(st.text(max_size=200) | st.text("ABCabc012-_=", max_size=200))
def test_any_text_is_opened_or_forged_and_never_raises(text: str):
    assert Keyring([NEW, OLD]).open(text, 0) is Unusable.FORGED


@given(st.binary(max_size=300), st.text(max_size=20), st.integers(1, 2**40))
def test_sealing_and_opening_is_the_identity(url: bytes, app: str, expires: int):
    callback = Callback(url, app, "e", "call", "r", expires)
    keys = Keyring([NEW])
    assert keys.open(keys.seal(callback), 0) == callback
