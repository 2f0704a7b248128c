"""OzML with places: one verb changes, every other byte stays."""

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.values import Verb
from interceptor.wire.markup import Element, Markup, read_markup
from interceptor.wire.ozml import decode_verbs, encode_fragment

MENU = (
    b'\xef\xbb\xbf\r\n<?xml version="1.0"?>\n<!-- a > menu -->\n'
    b'<Response xmlns:x="http://x.test/"><UserInput  Timeout=\'8\'\n ForwardToUrl="http://app.test/dtmf?a=1&amp;b=2" >'
    b"<Inputs><Input Key='0'><GoTo>\n http://app.test/menu \n</GoTo></Input></Inputs></UserInput>"
    b"<x:Speak><![CDATA[2 < 3]]> so<!-- not this --> it is</x:Speak><Hangup/></Response>\n"
)


def read(body: bytes) -> Markup:
    markup = read_markup(body)
    assert markup is not None
    return markup


def element(markup: Markup, name: str) -> Element:
    return next(each for each in markup.root.descendants() if each.name == name)


def test_a_document_without_an_edit_is_the_one_that_came():
    markup = read(MENU)
    assert (markup.edited, markup.written()) == (False, MENU)


def test_everything_has_its_place():
    markup = read(MENU)
    user_input, go_to, speak = (element(markup, name) for name in ("UserInput", "GoTo", "Speak"))
    url = user_input.attribute("forwardtourl")
    assert url is not None
    assert MENU[url.value_start : url.value_end] == b"http://app.test/dtmf?a=1&amp;b=2"
    assert url.value == "http://app.test/dtmf?a=1&b=2"
    assert MENU[go_to.start : go_to.end] == b"<GoTo>\n http://app.test/menu \n</GoTo>"
    assert [MENU[start:end] for start, end in speak.texts] == [b"<![CDATA[2 < 3]]>", b" so", b" it is"]
    assert speak.verb == Verb("Speak", (), "2 < 3 so it is")
    assert [each.name for each in markup.root.children] == ["UserInput", "Speak", "Hangup"]
    assert go_to.depth == 4


def test_an_element_knows_what_it_stands_in():
    markup = read(MENU)
    assert (markup.root.depth, markup.root.around) == (0, ())
    assert [each.name for each in element(markup, "GoTo").around] == ["Response", "UserInput", "Inputs", "Input"]
    assert element(markup, "Hangup").depth == 1


def test_a_document_is_gone_with_its_last_reader_and_waits_for_no_collector():
    def documents() -> int:
        return sum(isinstance(each, Element) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = documents()
        read(MENU)
        assert documents() == before
    finally:
        gc.enable()


def test_an_attribute_changes_in_place():
    markup = read(MENU)
    markup.set_attribute(element(markup, "UserInput"), "forwardTOurl", 'http://p/cb?x="1"&y=é')
    old, new = b"http://app.test/dtmf?a=1&amp;b=2", b"http://p/cb?x=&quot;1&quot;&amp;y=&#233;"
    assert markup.written() == MENU.replace(old, new)


def test_an_attribute_is_added_renamed_and_removed():
    markup = read(b"<Response><Call Dialled='1' X='2' />t</Response>")
    call = element(markup, "Call")
    markup.set_attribute(call, "RingTime", "30")
    markup.rename_attribute(call, "dialled", "Dialed")
    markup.remove_attribute(call, "x")
    assert markup.written() == b"""<Response><Call RingTime="30" Dialed='1' />t</Response>"""


def test_what_is_added_where_something_is_taken_out_stays():
    markup = read(b"<Response><Speak Language='en'>a</Speak><Call Dialled='1'/></Response>")
    speak, call = element(markup, "Speak"), element(markup, "Call")
    markup.remove_attribute(speak, "language")
    markup.set_attribute(speak, "Voice", "x")
    markup.set_attribute(call, "RingTime", "5")
    markup.remove_attribute(call, "dialled")
    assert markup.written() == b"""<Response><Speak Voice="x">a</Speak><Call RingTime="5"/></Response>"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"<GoTo>\n http://a/ \n</GoTo>", b"<GoTo>\n new \n</GoTo>"),
        (b"<GoTo> <!--c-->http://<b/>a/</GoTo>", b"<GoTo> <!--c-->new<b/></GoTo>"),
        (b"<GoTo><![CDATA[http://a/]]></GoTo>", b"<GoTo>new</GoTo>"),
        (b"<GoTo/>", b"<GoTo>new</GoTo>"),
        (b"<GoTo a='/' />", b"<GoTo a='/' >new</GoTo>"),
        (b"<GoTo></GoTo>", b"<GoTo>new</GoTo>"),
    ],
)
def test_a_text_changes_in_place(before: bytes, after: bytes):
    markup = read(b"<OzML>" + before + b"</OzML>")
    markup.set_text(element(markup, "GoTo"), "new")
    assert markup.written() == b"<OzML>" + after + b"</OzML>"


def test_what_stands_in_an_element_that_is_taken_out_goes_with_it():
    markup = read(b"<Response> <Inputs><Input Key='1'><Call Dialled='1'/></Input></Inputs> <Hangup/></Response>")
    markup.set_attribute(element(markup, "Call"), "Dialled", "2")
    markup.remove(element(markup, "Inputs"))
    markup.replace(element(markup, "Hangup"), encode_fragment((Verb("Speak", (), "Sör & more"), Verb("Hangup"))))
    assert markup.written() == b"<Response>  <Speak>S&#246;r &amp; more</Speak><Hangup/></Response>"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html/>",
        b"<Response><a></Response>",
        b'<!DOCTYPE Response [<!ENTITY a "1">]><Response>&a;</Response>',
        "<Response><Szép/></Response>".encode(),
        b"<Response/>" * 2,
    ],
)
def test_what_cannot_be_read_has_no_places(body: bytes):
    assert read_markup(body) is None


def test_utf_16_is_edited_in_utf_8():
    markup = read(
        '<?xml version="1.0" encoding="utf-16"?><Response><Speak>á</Speak><Hangup/></Response>'.encode("utf-16")
    )
    markup.remove(element(markup, "Hangup"))
    assert markup.written() == "<Response><Speak>á</Speak></Response>".encode()


NAMES = st.sampled_from(["Call", "GoTo", "Speak", "x:Play", "UserInput"])
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), max_size=6)
SPACES = st.sampled_from(["", " ", "\n\t", "<!-- > -->", "<?p <a> ?>", "<![CDATA[<a b='1'>]]>"])


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> str:
    name = draw(NAMES)
    attributes = draw(
        st.lists(st.tuples(st.sampled_from(["a", "B", "x:c"]), TEXTS), unique_by=lambda pair: pair[0], max_size=3)
    )
    quote = draw(st.sampled_from("\"'"))
    written = "".join(
        f"{draw(st.sampled_from([' ', '  ', '\n']))}{key}={quote}{_escaped(value)}{quote}" for key, value in attributes
    )
    inside = draw(st.lists(elements(depth=depth - 1) | SPACES | TEXTS.map(_escaped), max_size=3)) if depth else []
    if not inside and draw(st.booleans()):
        return f"<{name}{written}/>"
    return f"<{name}{written}>{''.join(inside)}</{name}>"


def _escaped(text: str) -> str:
    for raw, reference in (("&", "&amp;"), ("<", "&lt;"), ('"', "&quot;"), ("'", "&#39;"), ("]]>", "]]&gt;")):
        text = text.replace(raw, reference)
    return text


DOCUMENTS = st.lists(elements() | SPACES, max_size=4).map(
    lambda inside: f'<Response xmlns:x="urn:x">{"".join(inside)}</Response>'.encode()
)


@given(DOCUMENTS, st.data())
def test_one_edit_changes_one_thing(body: bytes, data: st.DataObject):
    markup = read(body)
    assert markup.written() == body
    verbs = [each.verb for each in markup.root.children]
    assert tuple(verbs) == decode_verbs(body)
    if not markup.root.children:
        return
    chosen = data.draw(st.integers(0, len(verbs) - 1))
    target = markup.root.children[chosen]
    match data.draw(st.sampled_from(["remove", "attribute", "replace"])):
        case "remove":
            markup.remove(target)
            expected = verbs[:chosen] + verbs[chosen + 1 :]
        case "replace":
            markup.replace(target, encode_fragment((Verb("Hangup"),)))
            expected = [*verbs[:chosen], Verb("Hangup"), *verbs[chosen + 1 :]]
        case _:
            value = data.draw(TEXTS)
            markup.set_attribute(target, "new", value)
            old = verbs[chosen]
            changed = Verb(old.name, (("new", value), *old.attributes), old.text, old.children)
            expected = [*verbs[:chosen], changed, *verbs[chosen + 1 :]]
    assert decode_verbs(markup.written()) == tuple(expected)
    assert markup.written()[: target.start] == body[: target.start]
    assert markup.written().endswith(body[target.end :])


@given(st.binary(max_size=60) | DOCUMENTS.flatmap(lambda body: st.integers(0, len(body)).map(lambda cut: body[:cut])))
def test_any_bytes_are_read_or_not_and_never_raise(body: bytes):
    markup = read_markup(body)
    assert markup is None or markup.written() == body
