"""Every callback becomes a token of ours, and nothing else changes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from interceptor.callbacks import Callback
from interceptor.values import Kind
from interceptor.wire import knowledge
from interceptor.wire.knowledge import CALLBACK_PLACES
from interceptor.wire.parameters import decode, encode
from tests.firewall.conftest import HERE, KEYS, PUBLIC, answered, command

TOKEN = re.compile(re.escape(PUBLIC) + r"/cb/([\w-]+)")


def opened(text: str) -> list[str]:
    """The addresses behind the tokens in a text, in order."""
    found = [KEYS.open(token, 2000.0) for token in TOKEN.findall(text)]
    return [each.url.decode() if isinstance(each, Callback) else each.value for each in found]


def captured(body: bytes) -> tuple[bytes, int]:
    judged = answered(body)
    assert (judged.over, judged.refused) == ("", 0)
    return judged.body or body, judged.captured.count


def restored(body: bytes) -> bytes:
    return TOKEN.sub(lambda found: opened(found[0])[0].replace("&", "&amp;"), body.decode()).encode()


def test_a_token_says_where_its_callback_came_from():
    message = knowledge.command("Call")
    (change,), judged = command(message, {"command": "Call", "url": "http://app.test/x"})
    done = judged.captured
    assert change.value.startswith(PUBLIC + "/cb/")
    found = KEYS.open(change.value.removeprefix(PUBLIC + "/cb/"), 4599.0)
    assert isinstance(found, Callback)
    assert found == Callback(b"http://app.test/x", "crm", HERE.exchange, "", found.revision, 4600)
    assert (change.name, done.count, done.longest) == ("url", 1, len(change.value) - len(PUBLIC) - 4)


def test_a_token_out_of_an_answer_says_which_call_it_was_answered_in():
    there = replace(HERE, call="7Kq2pX" + "x" * 100)
    judged = answered(b"<Response><GoTo>http://app.test/m</GoTo></Response>", here=there)
    assert judged.body is not None
    found = KEYS.open(TOKEN.findall(judged.body.decode())[0].rpartition("/")[2], 4599.0)
    assert isinstance(found, Callback)
    assert found.call == there.call[:40]


@pytest.mark.parametrize(
    "place", CALLBACK_PLACES, ids=lambda each: f"{each.kind.value}-{each.message}-{each.parameter}"
)
def test_every_callback_place_of_the_reference_is_captured(place: knowledge.CallbackPlace):
    url = "http://app.test/cb?a=1&b=%2526"
    inner = f"<Response><GoTo>{url.replace('&', '&amp;')}</GoTo></Response>"
    value = inner if place.holds_verbs else url
    if place.kind is Kind.COMMAND:
        message = knowledge.command(place.message)
        changes, _ = command(message, {place.parameter.lower(): value})
        assert [opened(change.value) for change in changes] == [[url]]
        return
    escaped = value.replace("&", "&amp;").replace("<", "&lt;")
    for name in (place.parameter, place.parameter.upper()):
        body = f'<OzML><Inputs><x><{place.message} {name}="{escaped}"/></x></Inputs></OzML>'.encode()
        assert opened(captured(body)[0].decode()) == [url]


@pytest.mark.parametrize(
    "body",
    [
        b"<Response><GoTo>menu.php?x=1</GoTo></Response>",
        b"<Response><GoTo>$next</GoTo></Response>",
        b"<Response><GoTo>http://$host/x</GoTo></Response>",
        b"<Response><GoTo> -- SELECT url FROM menus WHERE x='http://app.test/'</GoTo></Response>",
        b"<Response><GoTo>ftp://app.test/x</GoTo></Response>",
        b"<Response><Play AudioFile='http://app.test/a.wav'/><Speak>http://app.test/</Speak></Response>",
        b"<Response><GoTo/><UserInput ForwardToUrl=''/></Response>",
    ],
)
def test_what_is_no_callback_stays_byte_for_byte(body: bytes):
    assert captured(body) == (body, 0)


def test_blanks_around_an_address_and_variables_in_its_query_stay():
    body = b"<Response><GoTo>\n  http://app.test/m?digit=$d&amp;x=1 </GoTo></Response>"
    written, count = captured(body)
    assert count == 1
    assert re.fullmatch(
        rb"<Response><GoTo>\n  " + re.escape(PUBLIC).encode() + rb"/cb/[\w-]+\?digit=\$d&amp;x=1 </GoTo></Response>",
        written,
    )
    assert opened(written.decode()) == ["http://app.test/m"]


def test_what_was_captured_is_not_captured_again():
    once, _ = captured(b"<Response><GoTo>http://app.test/m</GoTo></Response>")
    assert captured(once) == (once, 0)


def test_an_address_that_the_app_may_not_use_is_refused():
    body = b"<Response><GoTo>http://app.test/</GoTo><GoTo>http://10.0.0.1/</GoTo><Hangup/></Response>"
    judged = answered(body)
    assert (judged.refused, judged.captured.count) == (1, 1)
    assert judged.records[1].reason == "callback_forbidden"
    assert judged.body is not None
    assert judged.body.endswith(b"</GoTo><Speak>This is not possible.</Speak><Hangup/><Hangup/></Response>")
    changes, judged = command(knowledge.command("Call"), {"errorurl": "http://[::1]/"})
    assert (changes, judged.captured.refused) == ((), "callbacks to ::1 are not allowed for this app")


def test_a_call_for_help_is_never_refused_for_its_callback_which_leads_nowhere_instead():
    judged = answered(b"<Response><BlindTransfer FinishedUrl='http://10.0.0.1/'>112</BlindTransfer></Response>")
    assert (judged.refused, judged.captured.count) == (0, 1)
    judged = answered(b"<Response><BlindTransfer FinishedUrl='http://10.0.0.1/'>1099</BlindTransfer></Response>")
    assert (judged.refused, judged.captured.count) == (1, 0)


URLS = st.builds(
    lambda host, path, query: f"http://{host}{path}{query}",
    st.sampled_from(["app.test", "app2.test:8080", "APP.test"]),
    st.text("abz%/.~é", max_size=12).map(lambda text: "/" + text),
    st.text("ab=&%25+;", max_size=12).map(lambda text: "?" + text if text else ""),
)


@given(URLS, st.sampled_from(["Url", "ErrorURL", "url", "ERRORURL"]))
def test_restoring_what_a_command_captured_is_the_identity(url: str, name: str):
    query = b"command=Call&Dialed=%2B361&" + name.encode() + b"=" + encode(url) + b"&x=http%3a%2f%2fapp.test"
    parameters = decode(query)
    changes, _ = command(knowledge.command("Call"), parameters.values)
    after = parameters.changed(changes)
    assert opened(after.values[name.lower()]) == [url]
    back = [type(change)(change.name, opened(change.value)[0]) for change in changes]
    assert after.changed(tuple(back)).query == query


@given(st.lists(URLS, min_size=1, max_size=4))
def test_restoring_what_an_answer_captured_is_the_identity(urls: list[str]):
    inside = "".join(f"<Input Key='1'><GoTo> {url.replace('&', '&amp;')}</GoTo></Input><Hangup/>" for url in urls)
    body = f"<Response><UserInput><Inputs>{inside}</Inputs></UserInput><!-- http://app.test/ --></Response>".encode()
    written, count = captured(body)
    assert (opened(written.decode()), count) == (urls, len(urls))
    assert restored(written) == body
