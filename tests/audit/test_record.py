import time
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.audit.masking import SECRET_WORDS
from interceptor.audit.record import ChangedParameter, Instants, Recorder, readable
from interceptor.settings import Masking
from interceptor.values import Decision, Facts, Kind, Number, NumberClass, Refusal, Reply, Verb, Verdict

SECRETS = frozenset({"password", "configxml"})
DTMF = frozenset({"keys", "dtmfdigits"})
NUMBERS = frozenset({"dialed", "callerid"})
ALLOW = Decision(Verdict.ALLOW, "rule", "abcdef123456", "day", ("rules/a.yaml:3 day",))


def facts(values, number=None, caller=None, kind=Kind.COMMAND, name="Call"):
    return Facts(kind, name, "crm", "10.0.0.9", number, caller, values, {"authorization": "Basic c2VjcmV0"}, 0.0)


def decided(values, decision=ALLOW, masking=None, number=None, caller=None, **more):
    recorder = Recorder("w1", masking or Masking())
    return recorder.decision(
        "e1",
        1_700_000_000.5,
        "commands",
        facts(values, number, caller),
        decision,
        **{"secrets": SECRETS, "dtmf": DTMF, "numbers": NUMBERS, **more},
    )


def shown(record):
    return msgspec.json.decode(msgspec.json.encode(record))


def test_a_decision_record_says_who_asked_what_and_why_it_was_decided():
    number = Number("06201234567", "+36201234567", "HU", NumberClass.MOBILE)
    values = {"command": "Call", "dialed": "06201234567"}
    record = decided(values, number=number, method="GET", path="/?command=Call&dialed=06201234567", target="pbx-main")
    record.sequence = 7
    assert shown(record) == {
        "event": "decision",
        "sequence": 7,
        "at": "2023-11-14T22:13:20.500000Z",
        "exchange": "e1",
        "worker": "w1",
        "listener": "commands",
        "kind": "command",
        "name": "Call",
        "app": "crm",
        "source": "10.0.0.9",
        "method": "GET",
        "path": "/",
        "verdict": "allow",
        "reason": "rule",
        "revision": "abcdef123456",
        "rule": "day",
        "rules": ["rules/a.yaml:3 day"],
        "number": "+36201234567",
        "number_class": "mobile",
        "target": "pbx-main",
        "parameters": {"command": "Call", "dialed": "06201234567"},
    }


def test_parameters_without_anything_to_hide_are_not_copied():
    values = {"command": "Hangup", "callid": "a1B2c3"}
    assert decided(values).parameters is values


def test_the_parameters_of_the_message_itself_stay_as_they_are():
    values = {"command": "Call", "password": "hunter2hunter2"}
    decided(values)
    assert values == {"command": "Call", "password": "hunter2hunter2"}


def test_a_password_is_hidden_and_named_as_masked():
    record = decided({"command": "Call", "username": "crm", "password": "x"})
    assert record.parameters == {"command": "Call", "username": "crm", "password": "***"}
    assert record.masked == ("password",)


@pytest.mark.parametrize(
    "name", ["userpassword", "api_key", "authtoken", "clientsecret", "pwd", "pass", "pass\0word", "\uff50assword"]
)
def test_a_name_that_nobody_listed_but_says_secret_is_hidden_too(name):
    record = decided({"command": "Call", name: "hunter2"}, secrets=frozenset())
    assert record.parameters[name] == "***"


def test_a_name_that_holds_a_whole_assignment_is_hidden_with_its_value():
    record = decided({"command": "Call", "password=hunter2": ""}, secrets=frozenset())
    assert (record.parameters, record.masked) == ({"command": "Call", "***": "***"}, ("***",))


def test_dtmf_digits_are_hidden_unless_configured_otherwise():
    values = {"command": "SendDTMF", "keys": "4711"}
    assert decided(values).parameters["keys"] == "***"
    assert decided(values, masking=Masking(dtmf=False)).parameters["keys"] == "4711"


@pytest.mark.parametrize(
    ("digits", "written", "expected"),
    [
        (4, "+36201234567", "*******4567"),
        (0, "+36201234567", "***********"),
        (4, "1099", "1099"),
        (2, "1099", "**99"),
        (4, "sip:anna@example.test", "***"),
        (4, "", ""),
    ],
)
def test_of_a_number_only_the_last_digits_are_shown(digits, written, expected):
    number = Number(written, written, "HU", NumberClass.MOBILE)
    masking = Masking(numbers=digits)
    record = decided({"command": "Call", "dialed": written}, masking=masking, number=number, caller=number)
    assert record.parameters["dialed"] == expected
    assert record.number == record.caller == expected
    assert "dialed" in record.masked


def test_a_hidden_number_is_hidden_wherever_else_it_stands():
    record = decided(
        {"command": "Call", "dialed": "+36201234567", "url": "http://app.test/cb/36201234567"},
        masking=Masking(numbers=3),
        path="/hooks/36201234567",
        changes=(ChangedParameter("dialed", "+36201234567", "36201234567"),),
        decision=Decision(Verdict.DENY, "rule", "r", refusal=Refusal(306, "36201234567 is not dialled")),
    )
    assert "36201234567" not in msgspec.json.encode(record).decode()
    assert record.masked == ("dialed", "url")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("/api?command=Call&password=x", "/api"),
        ("/command=Call&Password=x", "/"),
        ("/api/command=Call", "/api/"),
        ("/api%3fpassword%3dx", "/"),
        ("/hooks/menu", "/hooks/menu"),
        ("//user:secret@host/x", "//***@host/x"),
        ("/a#password=x", "/a"),
    ],
)
def test_a_query_never_stands_in_the_path(path, expected):
    assert decided({}, path=path).path == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("http://app.test/cb?step=2", "http://app.test/cb?step=2"),
        ("http://anna:hunter2@app.test/cb", "http://***@app.test/cb"),
        ("http://app.test/cb?token=hunter2&step=2", "http://app.test/cb?token=***&step=2"),
        ("http://app.test/cb?step=2&Password=hunter2", "http://app.test/cb?step=2&Password=***"),
        ("http://a:b:c@app.test?x=1@2", "http://***@app.test?x=1@2"),
    ],
)
def test_an_address_is_kept_without_the_secrets_in_it(written, expected):
    record = decided({"command": "Call", "url": written}, target=written)
    assert record.parameters["url"] == expected
    assert record.target == expected
    assert record.masked == (() if written == expected else ("url",))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"command": "Call;password=hunter2"}, {"command": "Call;password=***"}),
        ({'{"password": "hunter2"}': ""}, {"***": "***"}),
        ({"url": "http://a.test/?to=http%3A%2F%2Fb.test%2F%3Ftoken%3Dhunter2%26step%3D2"}, None),
        ({"url": "http://a.test/cb%3fPassword%3dhunter2"}, {"url": "http://a.test/cb%3fPassword%3d***"}),
        ({"text": "your password=hunter2 is new"}, {"text": "your password=*** is new"}),
    ],
)
def test_a_secret_in_what_was_not_taken_apart_is_hidden(values, expected):
    record = decided(values)
    assert "hunter2" not in msgspec.json.encode(record).decode()
    assert expected is None or record.parameters == expected


@pytest.mark.parametrize(
    "hostile",
    ["pwd" * 300_000 + "&a=1", "?," * 400_000 + "=", "//@" * 300_000, "password=" * 100_000, "%3F%3D" * 150_000],
    ids=["names", "marks", "addresses", "assignments", "escapes"],
)
def test_a_hostile_text_of_a_megabyte_is_masked_in_linear_time(hostile):
    began = time.process_time()
    decided({"command": "Call", "text": hostile, "password": "hunter2"})
    assert time.process_time() - began < 3.0, "quadratic time would be minutes"


def test_a_command_that_swallowed_a_password_does_not_name_it():
    recorder = Recorder("w1", Masking())
    record = recorder.decision("e1", 0.0, "commands", facts({}, name="Call;password=hunter2"), ALLOW)
    assert record.name == "Call;password=***"


def test_changes_hide_what_the_parameters_hide():
    record = decided(
        {"command": "Call", "password": "short", "username": "crm", "pin": "abcdefgh"},
        changes=(
            ChangedParameter("Password", "short", "the-pbx-password"),
            ChangedParameter("Username", "crm", "interceptor"),
            ChangedParameter("Url", None, "http://u:p@app.test/"),
        ),
    )
    assert record.changes == (
        ChangedParameter("Password", "***", "***"),
        ChangedParameter("Username", "crm", "interceptor"),
        ChangedParameter("Url", None, "http://***@app.test/"),
    )


def test_a_secret_that_a_rule_renamed_stays_hidden():
    record = decided(
        {"command": "Call", "password": "hunter2hunter2"},
        changes=(ChangedParameter("password", "hunter2hunter2", None), ChangedParameter("pin", None, "hunter2hunter2")),
    )
    assert "hunter2" not in msgspec.json.encode(record).decode()


def test_a_refusal_and_an_answer_are_recorded():
    refused = decided({}, Decision(Verdict.DENY, "default", "r", refusal=Refusal(306, "no")))
    assert shown(refused)["refusal"] == {"code": 306, "message": "no"}
    answered = decided({}, Decision(Verdict.ANSWER, "rule", "r", reply=Reply((Verb("Route"), Verb("Speak")))))
    assert shown(answered)["reply_verbs"] == ["Route", "Speak"]


def test_a_settlement_says_how_it_ended():
    record = Recorder("w1", Masking()).settlement(
        "e1",
        1_700_000_000.0,
        outcome="answered",
        endpoint="127.0.0.1:9780",
        code=200,
        http_status=200,
        attempts=1,
        upstream_seconds=0.0021,
        total_seconds=0.0022,
        rule="day",
    )
    record.sequence = 8
    assert shown(record) == {
        "event": "settlement",
        "sequence": 8,
        "at": "2023-11-14T22:13:20.000000Z",
        "exchange": "e1",
        "worker": "w1",
        "outcome": "answered",
        "endpoint": "127.0.0.1:9780",
        "code": 200,
        "http_status": 200,
        "attempts": 1,
        "upstream_microseconds": 2100,
        "total_microseconds": 2200,
        "rule": "day",
    }


def test_a_gap_says_how_many_are_missing_since_when_and_why():
    record = Recorder("w1", Masking()).gap(1.0, reason="not_written", lost=3, since=0.5, detail="File too large")
    assert shown(record) == {
        "event": "audit.gap",
        "sequence": 0,
        "at": "1970-01-01T00:00:01.000000Z",
        "worker": "w1",
        "reason": "not_written",
        "lost": 3,
        "since": "1970-01-01T00:00:00.500000Z",
        "detail": "File too large",
    }


@given(st.lists(st.floats(min_value=0, max_value=4e9), min_size=1))
def test_a_time_is_written_as_the_library_would_write_it(times):
    instants = Instants()
    for at in times:
        written = instants.text(at)
        assert written.endswith("Z")
        assert abs(datetime.fromisoformat(written).timestamp() - at) < 2e-6


def test_the_time_now_reads_back():
    now = time.time()
    assert abs((datetime.fromisoformat(Instants().text(now)) - datetime.fromtimestamp(now, UTC)).total_seconds()) < 2e-6


def test_stray_bytes_become_readable():
    record = decided(
        {"command": "Call", "text\udcff": "a\udcfeb"},
        Decision(Verdict.DENY, "rule", "r", refusal=Refusal(302, "\udcff")),
        changes=(ChangedParameter("text\udcff", "\udcfe", None),),
    )
    with pytest.raises(UnicodeEncodeError):
        msgspec.json.encode(record)
    line = shown(readable(record))
    assert line["parameters"] == {"command": "Call", "text\\udcff": "a\\udcfeb"}
    assert line["changes"] == [{"name": "text\\udcff", "before": "\\udcfe", "after": None}]
    assert line["refusal"] == {"code": 302, "message": "\\udcff"}
    assert line["kind"] == "command"


# The promise.

names = st.sampled_from(["password", "Password", "PASSWORD", "ConfigXML", "keys", "dtmfdigits", "user_password"])
# The sign in front keeps a secret apart from the record's own words.
secret_texts = st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=5, max_size=40).map("§".__add__)
other_texts = st.text(max_size=20)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), name=names, secret=secret_texts, others=st.dictionaries(other_texts, other_texts, max_size=5))
def test_no_secret_is_in_any_record(data, name, secret, others):
    """Wherever a secret parameter's text was copied to: other parameters, the path, an address, a change, a refusal."""
    places = data.draw(st.sets(st.sampled_from(["path", "url", "query", "rename", "refusal", "target", "copy"])))
    values = {key: value for key, value in others.items() if secret not in key + value}
    values |= {"command": "Call", name.lower(): secret}
    if "url" in places:
        values["url"] = f"http://{secret}@app.test/"
    if "query" in places:
        values["forwardtourl"] = f"http://app.test/?password={secret}"
    if "copy" in places:
        values["text"] = f"it is {secret}!"
    changes = (ChangedParameter(name, secret, None), ChangedParameter("x", None, f"<{secret}>"))
    record = decided(
        values,
        Decision(Verdict.DENY, "rule", "r", refusal=Refusal(302, secret if "refusal" in places else "no")),
        masking=data.draw(st.builds(Masking, numbers=st.none() | st.integers(0, 4))),
        path=f"/x/{secret}" if "path" in places else f"/?password={secret}",
        target=f"http://app.test/{secret}" if "target" in places else "",
        changes=changes if "rename" in places else (),
        method="GET",
    )
    assert secret not in _texts(msgspec.json.decode(msgspec.json.encode(readable(record))))


def _texts(value):
    if isinstance(value, dict):
        return "\n".join(f"{key}\n{_texts(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "\n".join(map(_texts, value))
    return str(value)


def test_what_is_remembered_of_names_is_bounded():
    recorder = Recorder("w1", Masking())
    for number in range(3000):
        for names in ({f"n{number}": ""}, {f"n{number}" + "x" * 10_000: ""}):
            recorder.decision("e1", 0.0, "commands", facts(names), ALLOW, secrets=SECRETS)
    masks = recorder._masker._masks
    assert len(masks) <= 1024
    assert sum(len(name) for key in masks for name in key[3:]) < 100_000


def test_a_number_that_a_rule_puts_into_texts_in_canonical_form_is_hidden_there_too():
    number = Number("06 20 123 4567", "+36201234567", "HU", NumberClass.MOBILE)
    refusal = Refusal(306, "Nobody dials +36201234567 here")
    values = {"dialed": "06 20 123 4567"}
    denied = Decision(Verdict.DENY, "rule", "abcdef123456", refusal=refusal)
    record = decided(values, denied, Masking(numbers=3), number=number)
    assert record.refusal.message == "Nobody dials +********567 here"
    told = decided(values, masking=Masking(numbers=3), number=number, target="http://crm/?of=%2B36201234567")
    assert told.target == "http://crm/?of=%2B********567"
    copied = (ChangedParameter("Message", None, "for +36201234567"),)
    assert decided(values, masking=Masking(numbers=3), number=number, changes=copied).changes == (
        ChangedParameter("Message", None, "for +********567"),
    )
    assert decided(values, denied, Masking(), number=number).refusal.message == refusal.message


@pytest.mark.parametrize("word", SECRET_WORDS)
def test_a_value_behind_any_word_for_a_secret_is_hidden_inside_an_address(word):
    record = decided({"url": f"http://app.test/?id=1&My{word.title()}=hunter2&x=y"})
    assert record.parameters == {"url": f"http://app.test/?id=1&My{word.title()}=***&x=y"}
    assert record.masked == ("url",)
