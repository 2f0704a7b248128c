"""Verbs: read from what apps answer, written for what rules answer."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.values import Verb
from interceptor.wire.ozml import decode_verbs, encode_verbs, values_of

MENU = b"""
<?xml version="1.0"?>
<Response xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <UserInput Timeout="8" ForwardToUrl="http://app.test/dtmf?a=1&amp;b=2">
    <InitialCommands><Speak Language="en-UK">Enter your code.</Speak></InitialCommands>
    <Inputs>
      <Input Key="0"><GoTo>http://app.test/menu</GoTo></Input>
      stray text
    </Inputs>
  </UserInput>
  and more of it
  <hangup/>
</Response>"""


def test_a_menu_is_read_with_everything_inside():
    speak = Verb("Speak", (("Language", "en-UK"),), "Enter your code.")
    choice = Verb("Input", (("Key", "0"),), "", (Verb("GoTo", (), "http://app.test/menu"),))
    verbs = decode_verbs(MENU)
    assert verbs is not None
    menu, hangup = verbs
    assert (
        menu.name,
        menu.attributes,
        menu.text,
    ) == ("UserInput", (("Timeout", "8"), ("ForwardToUrl", "http://app.test/dtmf?a=1&b=2")), "")
    initial, inputs = menu.children
    assert Verb("InitialCommands", (), "", (speak,)) == initial
    assert (choice,) == inputs.children
    assert inputs.text.strip() == "stray text"
    assert Verb("hangup") == hangup


@pytest.mark.parametrize("root", ["Response", "response", "OzML", "Request", "x:Response xmlns:x='urn:x'"])
def test_every_root_of_the_reference_is_read(root: str):
    assert (Verb("Hangup"),) == decode_verbs(f"<{root}><Hangup/></{root.split(maxsplit=1)[0]}>".encode())


@pytest.mark.parametrize("body", [b"", b"\r\n ", b"\xef\xbb\xbf", b"<Response/>", b"<Response>text only</Response>"])
def test_an_answer_without_verbs_is_read_as_none_of_them(body: bytes):
    assert decode_verbs(body) == ()


@pytest.mark.parametrize(
    "body",
    [
        b"<html/>",
        b"<Response><Speak></Response>",
        b"<Response><Input Key=1/></Response>",
        b"<!DOCTYPE Response [<!ENTITY e '9'>]><Response><Call Dialled='+36&e;1'/></Response>",
        b"rubbish",
        b"<Response>" + b"<a>" * 70 + b"</a>" * 70 + b"</Response>",
    ],
)
def test_what_cannot_be_read_is_told(body: bytes):
    assert decode_verbs(body) is None


def test_caps_are_kept():
    assert decode_verbs(b" " * 100, max_bytes=10) is None
    assert decode_verbs(b"<Response><a><b/></a></Response>", max_depth=2) is None


def test_a_text_may_not_hide_behind_an_element():
    assert (Verb("GoTo", (), "http://a.test/", (Verb("x"),)),) == decode_verbs(
        b"<Response><GoTo><x/>http://a.test/</GoTo></Response>"
    )


def test_verbs_are_written_as_a_whole_document():
    verbs = (Verb("Route", (("Destination", "1099"), ("RingTime", "30"))), Verb("Speak", (), "a < b"))
    assert encode_verbs(verbs) == (
        b'<?xml version="1.0" encoding="utf-8"?>\r\n'
        b'<Response><Route Destination="1099" RingTime="30"/><Speak>a &lt; b</Speak></Response>'
    )


def test_no_verbs_are_no_opinion():
    assert encode_verbs(()).endswith(b"<Response></Response>")


@pytest.mark.parametrize(
    "each",
    [
        Verb("a b"),
        Verb(""),
        Verb("1"),
        Verb("Call", (("x='1'/><Hangup", "1"),)),
        Verb("A", (), "", (Verb("<"),)),
        Verb("A\n"),
    ],
)
def test_a_name_that_xml_cannot_hold_is_refused(each: Verb):
    with pytest.raises(ValueError, match="no name that OzML can hold"):
        encode_verbs((each,))


NAMES = st.builds(
    str.__add__,
    st.sampled_from(string.ascii_letters + "_"),
    st.text(string.ascii_letters + string.digits + "_.-", max_size=8),
)
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\r\n<>&\"'"),
    max_size=20,
)
ATTRIBUTES = st.dictionaries(NAMES, TEXTS, max_size=3).map(lambda entries: tuple(entries.items()))
LEAVES = st.builds(Verb, NAMES, ATTRIBUTES, TEXTS)
VERBS = st.lists(
    st.recursive(
        LEAVES,
        lambda inside: st.builds(
            Verb, NAMES, ATTRIBUTES, st.just("") | TEXTS.filter(str.strip), st.lists(inside, max_size=3).map(tuple)
        ),
        max_leaves=8,
    ),
    max_size=4,
).map(tuple)


@given(verbs=VERBS)
def test_reading_undoes_writing(verbs: tuple[Verb, ...]):
    assert verbs == decode_verbs(encode_verbs(verbs))


@given(body=st.binary(max_size=100) | st.text("<>/Response Speak&;=\"'", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes):
    for document in (body, b"<Response>" + body + b"</Response>"):
        verbs = decode_verbs(document)
        assert verbs is None or all(isinstance(each, Verb) for each in verbs)


def test_the_values_of_a_verb_are_its_attributes_and_its_text():
    assert values_of(Verb("speak", (("Language", "en"),), " Hello\n")) == ({"language": "en", "text": "Hello"}, None)
    assert values_of(Verb("GoTo", (), "http://a.test/")) == ({"url": "http://a.test/"}, None)
    assert values_of(Verb("GoTo", (("URL", "http://a.test/"),))) == ({"url": "http://a.test/"}, None)
    assert values_of(Verb("Unknown", (), "text")) == ({}, None)
    assert values_of(Verb("Hangup", (), "text")) == ({}, None)


@pytest.mark.parametrize(
    ("each", "name"),
    [
        (Verb("Call", (("Url", "a"), ("url", "b"))), "url"),
        (Verb("GoTo", (("Url", "a"),), "b"), "url"),
        (Verb("Call", (("Dialed", "1"), ("Dialled", "2"))), "Dialled"),
        (Verb("Call", (("Dialed", "1"),), "2"), "dialed"),
        (Verb("X", (("a", "1"), ("A", "2"), ("b", "1"), ("B", "2"))), "A"),
    ],
)
def test_a_verb_that_says_one_thing_twice_is_ambiguous(each: Verb, name: str):
    assert name == values_of(each)[1]
