"""What callers hear in place of an app: by notification, with values from the message, from files."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.config import read_config
from interceptor.fallbacks import Fallbacks
from interceptor.settings import App, Settings
from interceptor.values import Facts, Kind, ProblemsError, Verb
from interceptor.wire.ozml import decode_verbs
from tests.gateway.harness import Backend, Proxy, Script, free_port, hanging
from tests.gateway.misbehaving import counted

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

CONFIG = """\
country: HU
time_zone: Europe/Budapest
listeners:
  notifications: {kind: notification, address: "127.0.0.1:0"}
clusters:
  pbx: {endpoints: ["http://127.0.0.1:9780"]}
apps:
  crm:
    url: "http://127.0.0.1:9/pbx"
    fallback: FALLBACK
"""


def configured(folder: Path, fallback: str) -> Settings:
    """The settings of a file whose app has this fallback."""
    data = CONFIG.replace("FALLBACK", fallback).encode()
    return read_config(data, "config.yaml", base=folder, environment={})


def running_with(proxy: Start, folder: Path, fallback: str, port: int | None = None, **changes: object) -> Proxy:
    app = configured(folder, fallback).apps["crm"]
    return proxy(9, free_port() if port is None else port, apps={"crm": app}, **changes)


def test_each_notification_has_its_own_fallback_and_the_others_the_default(proxy: Start, tmp_path: Path) -> None:
    running = running_with(
        proxy, tmp_path, '{incomingcall: [{Speak: "Welcome"}], default: [{Speak: "Sorry"}], GoTo: [Hangup]}'
    )
    heard = {
        name: running.notify(f"NotificationName={name}").body for name in ("IncomingCall", "CallConnected", "GoTo")
    }
    assert b"<Response><Speak>Welcome</Speak></Response>" in heard["IncomingCall"]
    assert b"<Response><Speak>Sorry</Speak></Response>" in heard["CallConnected"]
    assert b"<Response><Hangup/></Response>" in heard["GoTo"]
    assert counted(running, "interceptor_calls_saved_total", app="crm") == 3


def test_routing_has_a_fallback_only_where_one_is_named_for_it(proxy: Start, tmp_path: Path) -> None:
    routing = "NotificationName=RoutingInterception&CallerID=2301&OriginalDialedNumber=2405"
    running = running_with(
        proxy, tmp_path, '{RoutingInterception: [{Route: {Destination: "1099", CallerId: "{{caller}}"}}]}'
    )
    assert b'<Route Destination="1099" CallerId="2301"/>' in running.notify(routing).body
    assert running.settled(1)[0].outcome == "fallback"
    running.stop()
    other = running_with(proxy, tmp_path, '{default: [{Speak: "Sorry"}]}')
    assert b"Speak" not in other.notify(routing).body
    assert other.settled(1)[0].outcome == "dial_plan"


def test_a_fallback_says_what_the_message_carries(proxy: Start, backend: StartBackend, tmp_path: Path) -> None:
    spoken = '[{Speak: "{{Dialed|nobody}} from {{caller|unknown}} by {{app}}"}]'
    running = running_with(proxy, tmp_path, spoken, backend(hanging).port)
    answer = running.notify("NotificationName=IncomingCall&Dialed=%2B3612345678&CallerId=%2B36209998877")
    assert b"<Speak>+3612345678 from +36209998877 by crm</Speak>" in answer.body
    assert b"<Speak>nobody from unknown by crm</Speak>" in running.notify("NotificationName=IncomingCall").body


def test_a_caller_cannot_put_verbs_or_variables_into_a_fallback(proxy: Start, tmp_path: Path) -> None:
    running = running_with(proxy, tmp_path, '[{Speak: {Text: "{{Dialed}}", Language: en-UK}}]')
    answer = running.notify("NotificationName=IncomingCall&Dialed=%22%2F%3E%3CHangup%2F%3E%24password%00%FF")
    verbs = decode_verbs(answer.body)
    assert verbs is not None
    assert [each.name for each in verbs] == ["Speak"]
    assert dict(verbs[0].attributes)["Text"].startswith('"/><Hangup/>password')


def test_a_fallback_stands_in_a_file_of_its_own(proxy: Start, tmp_path: Path) -> None:
    (tmp_path / "sorry.xml").write_text(
        '<?xml version="1.0"?>\n<Response>\n  <Speak>Dear {{caller|caller}}</Speak>\n  <!-- the operator -->\n'
        '  <BlindTransfer Target="1099"/>\n</Response>\n'
    )
    for fallback in ("{file: sorry.xml}", "{default: {file: sorry.xml}, GoTo: [Hangup]}"):
        running = running_with(proxy, tmp_path, fallback)
        answer = running.notify("NotificationName=IncomingCall&CallerId=2301")
        assert b'<Speak>Dear 2301</Speak><BlindTransfer Target="1099"/>' in answer.body
        running.stop()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("<Response><Speak>", "cannot be read as OzML"),
        ("<Response/>", "holds no verb"),
        ("<Response><Speek>x</Speek></Response>", "did you mean `Speak`?"),
        ("<Response><Speak>{{Password}}</Speak></Response>", "would show a secret"),
        ("<Response><Play>http://{{Dialed}}/</Play></Response>", "only behind the `?`"),
        ("<Response><Speak>" + "x" * (1 << 20) + "</Speak></Response>", "cannot be read as OzML"),
    ],
)
def test_a_file_that_can_be_no_fallback_is_told_at_the_start(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "sorry.xml").write_text(content)
    with pytest.raises(ProblemsError) as caught:
        configured(tmp_path, "{file: sorry.xml}")
    assert len(caught.value.problems) == 1
    assert told in str(caught.value.problems[0])


def test_a_fault_of_ours_fills_a_fallback_with_what_is_known(
    proxy: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = running_with(proxy, tmp_path, '{IncomingCall: [{Speak: "{{name}} of {{Dialed|somebody}}"}]}')
    monkeypatch.setattr("interceptor.pipeline.decode", _faulty)
    assert b"<Speak>IncomingCall of somebody</Speak>" in running.notify("NotificationName=IncomingCall&Dialed=1").body


def _faulty(*_: object) -> None:
    raise RuntimeError("a fault of ours")


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_whatever_a_message_carries_a_fallback_keeps_its_shape(text: str) -> None:
    verbs = (Verb("Speak", (("Language", "{{Dialed}}"),), "a{{Dialed}}b"), Verb("Hangup"))
    fallbacks = Fallbacks({"crm": App("crm", fallback=verbs)})
    facts = Facts(Kind.NOTIFICATION, "IncomingCall", "crm", "", None, None, {"dialed": text}, {}, 0.0)
    answer = fallbacks.answer(facts)
    assert answer is not None
    found = decode_verbs(answer)
    assert found is not None
    assert [(each.name, len(each.attributes), len(each.children)) for each in found] == [
        ("Speak", 1, 0),
        ("Hangup", 0, 0),
    ]
