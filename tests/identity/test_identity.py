"""Which app asks: `interceptor.identity`."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor import identity
from interceptor.identity import Identifier, hash_password, read_scrypt
from interceptor.settings import App, PasswordCheck, Secret
from interceptor.values import Refusal

KEY = b"k" * 32
SALT = b"0123456789abcdef"
CHEAP = hash_password("right", SALT, log2_n=10)


def app(name, *sources, username=None, secret=None, scrypt=None):
    password = None
    if secret is not None:
        password = PasswordCheck(secret=Secret(secret))
    if scrypt is not None:
        password = PasswordCheck(scrypt=str(scrypt))
    return App(name, sources=tuple(map(ip_network, sources)), username=username, password=password)


def identifier(*apps, **options):
    return Identifier(apps, KEY, **options)


def code(answer):
    assert isinstance(answer, Refusal), answer
    return answer.code


@pytest.fixture
def hashings(monkeypatch):
    """How often scrypt was really computed."""
    counted = []
    original = identity._scrypt
    monkeypatch.setattr(identity, "_scrypt", lambda *arguments: counted.append(1) or original(*arguments))
    return counted


def test_an_app_without_a_user_name_is_known_by_its_address():
    asks = identifier(app("crm", "10.0.0.0/8"))
    assert asks.identify("10.1.2.3", None, None, 0) == "crm"
    assert code(asks.identify("192.0.2.1", None, None, 0)) == 307


def test_the_most_specific_network_wins_in_any_order():
    wide, narrow = app("office", "10.0.0.0/8"), app("crm", "10.1.0.0/16")
    for apps in ((wide, narrow), (narrow, wide)):
        asks = identifier(*apps)
        assert asks.identify("10.1.0.1", None, None, 0) == "crm"
        assert asks.identify("10.2.0.1", None, None, 0) == "office"


def test_an_ipv4_peer_of_a_listener_on_both_families_is_the_same_peer():
    assert identifier(app("crm", "10.0.0.0/8")).identify("::ffff:10.0.0.9", None, None, 0) == "crm"


def test_an_ipv6_peer_is_known_by_its_network():
    assert identifier(app("crm", "2001:db8::/32")).identify("2001:db8::5", None, None, 0) == "crm"


def test_credentials_that_are_no_app_of_ours_leave_an_app_known_by_address_as_it_is():
    assert identifier(app("crm", "10.0.0.0/8")).identify("10.0.0.1", "pbx-user", "pbx-password", 0) == "crm"


@pytest.mark.parametrize("stored", [{"secret": "right"}, {"scrypt": CHEAP}])
def test_a_user_name_with_its_password_names_the_app(stored):
    asks = identifier(app("crm", username="crm", **stored))
    for _ in range(3):
        assert asks.identify("192.0.2.1", "crm", "right", 0) == "crm"
        assert code(asks.identify("192.0.2.1", "crm", "wrong", 0)) == 305


def test_user_name_and_address_must_both_hold_where_both_are_given():
    asks = identifier(app("crm", "10.0.0.0/8", username="crm", secret="right"))
    assert asks.identify("10.0.0.1", "crm", "right", 0) == "crm"
    assert code(asks.identify("192.0.2.1", "crm", "right", 0)) == 307
    assert code(asks.identify("10.0.0.1", "crm", "wrong", 0)) == 305


def test_missing_credentials_are_304_where_some_app_could_ask_from_there():
    asks = identifier(app("crm", "10.0.0.0/8", username="crm", secret="right"))
    assert code(asks.identify("10.0.0.1", None, None, 0)) == 304
    assert code(asks.identify("10.0.0.1", "crm", None, 0)) == 304
    assert code(asks.identify("10.0.0.1", "nobody", None, 0)) == 304
    assert code(asks.identify("192.0.2.1", None, None, 0)) == 307
    assert code(asks.identify("192.0.2.1", "crm", None, 0)) == 307


def test_an_unknown_user_name_is_told_the_same_as_a_wrong_password():
    asks = identifier(app("crm", username="crm", secret="right"))
    assert asks.identify("10.0.0.1", "nobody", "x", 0) == asks.identify("10.0.0.1", "crm", "x", 0)


def test_a_wrong_password_never_falls_back_to_the_address():
    asks = identifier(app("office", "10.0.0.0/8"), app("crm", username="crm", secret="right"))
    assert asks.identify("10.0.0.1", None, None, 0) == "office"
    assert code(asks.identify("10.0.0.1", "crm", "wrong", 0)) == 305


def test_a_user_name_without_a_stored_password_lets_nobody_in():
    assert code(identifier(app("crm", username="crm")).identify("10.0.0.1", "crm", "", 0)) == 305


def test_no_apps_means_no_askers():
    assert code(identifier().identify("10.0.0.1", "crm", "x", 0)) == 307


def test_a_right_password_is_hashed_once(hashings):
    asks = identifier(app("crm", username="crm", scrypt=CHEAP))
    for source in ("10.0.0.1", "10.0.0.2", "10.0.0.1"):
        assert asks.identify(source, "crm", "right", 0) == "crm"
    assert len(hashings) == 1


def test_wrong_passwords_of_one_source_cannot_make_us_hash_all_day(hashings):
    asks = identifier(app("crm", username="crm", scrypt=CHEAP), attempts=3, window_seconds=60)
    for attempt in range(50):
        assert code(asks.identify("10.0.0.1", "crm", f"wrong{attempt}", attempt * 0.1)) == 305
    assert len(hashings) == 3
    assert asks.identify("10.0.0.2", "crm", "right", 5) == "crm"  # another source is not locked out
    assert asks.identify("10.0.0.1", "crm", "right", 5) == "crm"  # nor is a password seen to be right


def test_after_the_window_a_source_may_try_again():
    asks = identifier(app("crm", username="crm", scrypt=CHEAP), attempts=1, window_seconds=60)
    assert code(asks.identify("10.0.0.1", "crm", "wrong", 0)) == 305
    assert code(asks.identify("10.0.0.1", "crm", "right", 59)) == 305
    assert asks.identify("10.0.0.1", "crm", "right", 60) == "crm"


def test_a_clock_set_back_locks_nobody_out():
    asks = identifier(app("crm", username="crm", scrypt=CHEAP), attempts=1, window_seconds=60)
    assert code(asks.identify("10.0.0.1", "crm", "wrong", 1_000)) == 305
    assert asks.identify("10.0.0.1", "crm", "right", 10) == "crm"


def test_many_sources_together_have_a_bound_too(hashings):
    asks = identifier(app("crm", username="crm", scrypt=CHEAP), attempts=5, attempts_in_all=7)
    for host in range(40):
        asks.identify(f"10.0.0.{host}", "crm", "wrong", 0)
    assert len(hashings) == 7


def test_the_addresses_of_one_ipv6_network_count_as_one_source(hashings):
    asks = identifier(app("crm", username="crm", scrypt=CHEAP), attempts=3)
    for host in range(20):
        asks.identify(f"2001:db8::{host:x}", "crm", "wrong", 0)
    assert len(hashings) == 3


def test_guessing_user_names_takes_the_time_of_a_wrong_password_and_is_bounded(hashings):
    asks = identifier(app("crm", username="crm", scrypt=CHEAP), attempts=2)
    for attempt in range(10):
        assert code(asks.identify("10.0.0.1", f"name{attempt}", "x", 0)) == 305
    assert len(hashings) == 2


def test_what_is_remembered_of_sources_is_bounded():
    asks = identifier(
        app("all", "10.0.0.0/8"), app("crm", "10.0.0.0/8", username="crm", secret="right"), remembered_sources=4
    )
    for host in range(20):
        assert asks.identify(f"10.0.0.{host}", None, None, 0) == "all"
        assert asks.identify(f"10.0.0.{host}", "crm", "right", 0) == "crm"
    assert len(asks._apps_by_source) <= 4
    assert len(asks._users["crm"]._allowed) <= 4


def test_no_password_is_kept_after_it_was_right():
    asks = identifier(app("crm", username="crm", secret="tell-nobody"))
    asks.identify("10.0.0.1", "crm", "tell-nobody", 0)
    kept = [*vars(asks).values(), *(getattr(asks._users["crm"], name) for name in asks._users["crm"].__slots__)]
    assert "tell-nobody" not in repr(kept)


@given(st.text(), st.none() | st.text(), st.none() | st.text())
def test_any_text_is_an_app_or_a_refusal(source, username, password):
    asks = identifier(app("crm", "10.0.0.0/8", username="crm", secret="right"), app("office", "10.0.0.0/8"))
    answer = asks.identify(source, username, password, 0)
    assert answer in {"crm", "office"} or code(answer) in {304, 305, 307}


@given(st.text(st.characters(categories=["Cs", "L", "N", "P"])))
def test_any_password_is_right_only_as_itself(password):
    asks = identifier(app("crm", username="crm", secret=password))
    assert asks.identify("10.0.0.1", "crm", password, 0) == "crm"
    assert code(asks.identify("10.0.0.1", "crm", password + "x", 0)) == 305


def test_a_hash_reads_back_as_it_was_written():
    assert read_scrypt(str(CHEAP)) == CHEAP
    assert CHEAP.holds(b"right")
    assert not CHEAP.holds(b"wrong")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "right",
        "scrypt$14$8$1$c2FsdA",
        "bcrypt$14$8$1$MDEyMzQ1Njc4OWFiY2RlZg$MDEy",
        "scrypt$x$8$1$MDEyMzQ1Njc4OWFiY2RlZg$MDEy",
        "scrypt$31$8$1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE",
        "scrypt$14$8$1$?$MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE",
        "scrypt$14$8$1$MDEyMzQ1Njc4OWFiY2RlZg$MDEy",
    ],
)
def test_what_is_no_hash_is_told_in_a_sentence(text):
    assert isinstance(read_scrypt(text), str)
