"""Lists of several PBXs as one: what every other byte stays, order, counts, namespaces, encodings."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from interceptor.simulator.answers import Answer, Element, encode
from interceptor.wire.listings import Listing, Page, call_ids, merged, read_listing

HEAD = (
    b'<?xml version="1.0"?>\r\n'
    b'<Response xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\r\n'
    b"  <Code>200</Code>\r\n  <Message>Command successfully executed</Message>\r\n"
)


def entry(call: str, start: str = "", name: str = "CallInfo") -> Element:
    began = (Element("StartTime", start),) if start else ()
    return Element(name, children=(Element("CallId", call), *began))


def active(*calls: Element) -> bytes:
    return encode(Answer(payload=(Element("ActiveCalls", children=calls),)))


def history(count: int, *calls: Element) -> bytes:
    return encode(Answer(payload=(Element("NumberOfCalls", str(count)), Element("Calls", children=calls))))


def extensions(*ids: str) -> bytes:
    found = (Element("ExtensionSummary", children=(Element("Id", each), Element("Type", "SIP"))) for each in ids)
    return encode(Answer(payload=(Element("Extensions", children=tuple(found)),)))


def read(body: bytes) -> Listing:
    found = read_listing(body)
    assert found is not None
    return found


def together(*bodies: bytes, page: Page | None = None) -> bytes:
    return merged([read(each) for each in bodies], page)


def at(minute: int) -> str:
    return f"2026-03-02T10:{minute:02d}:00.1250+01:00"


def test_two_lists_are_the_list_that_one_pbx_would_have_answered() -> None:
    first, second = active(entry("a", at(1)), entry("c", at(3))), active(entry("b", at(2)))
    assert active(entry("a", at(1)), entry("b", at(2)), entry("c", at(3))) == together(first, second)
    assert active(entry("a", at(1)), entry("b", at(2)), entry("c", at(3))) == together(second, first)


def test_history_is_newest_first_and_its_count_is_the_sum() -> None:
    first = history(7, entry("a", "2026-03-02 10:05:00"), entry("b", "2026-03-02 10:01:00"))
    second = history(5, entry("c", "2026-03-02 10:03:00"))
    whole = [entry("a", "2026-03-02 10:05:00"), entry("c", "2026-03-02 10:03:00"), entry("b", "2026-03-02 10:01:00")]
    assert history(12, *whole) == together(first, second)
    assert history(2, whole[0], whole[1]) == together(history(1, whole[0]), history(1, whole[1]))


def test_a_page_is_cut_out_of_the_whole() -> None:
    first = history(3, *(entry(f"a{each}", f"2026-03-02 10:0{each}:00") for each in (5, 3, 1)))
    second = history(2, *(entry(f"b{each}", f"2026-03-02 10:0{each}:00") for each in (4, 2)))
    assert list(call_ids(together(first, second, page=Page(0, 2)))) == ["a5", "b4"]
    assert list(call_ids(together(first, second, page=Page(1, 2)))) == ["a3", "b2"]
    last = together(first, second, page=Page(2, 2))
    assert list(call_ids(last)) == ["a1"]
    assert b"<NumberOfCalls>5</NumberOfCalls>" in last
    beyond = together(first, second, page=Page(9, 2))
    assert call_ids(beyond) == ()
    assert b"<NumberOfCalls>5</NumberOfCalls>" in beyond
    assert read_listing(beyond) is not None


def test_what_is_not_sorted_stays_in_the_order_of_the_pbxs() -> None:
    first, second = active(entry("a", at(3)), entry("b", at(1)), entry("c", at(2))), active(entry("d", at(0)))
    assert call_ids(together(first, second)) == ("a", "b", "c", "d")
    untimed = active(entry("a")), active(entry("b", at(1)))
    assert call_ids(together(*untimed)) == ("a", "b")
    mixed = active(entry("a", at(1))), active(entry("b", "2026-03-02 09:00:00", "Call"))
    assert call_ids(together(*mixed)) == ("a", "b")  # with a zone and without: nobody can tell
    wrong = active(entry("a", "yesterday")), active(entry("b", at(1)))
    assert call_ids(together(*wrong)) == ("a", "b")


def test_extensions_that_are_alike_stand_once() -> None:
    assert extensions("2301", "1099", "2405") == together(extensions("2301", "1099"), extensions("1099", "2405"))


def test_an_empty_list_adds_nothing_and_takes_nothing() -> None:
    full, empty = active(entry("a", at(1))), active()
    assert full == together(empty, full) == together(full, empty)
    assert empty == together(empty, empty)


def test_every_byte_that_is_not_an_item_stays() -> None:
    first = (
        b"<Response>\n<!-- the > first --><ActiveCalls note='a > b'>\n\t<CallInfo><CallId>a</CallId></CallInfo>\n"
        b"</ActiveCalls>\n<Code>200</Code><Message>done</Message>\n</Response>\n"
    )
    second = active(entry("b"))
    item = read(second).items[0].written
    assert first.replace(b"</CallInfo>\n", b"</CallInfo>\n\t" + item + b"\n") == together(first, second)


def test_prefixes_mean_in_the_whole_what_they_meant_before() -> None:
    first = b'<Response xmlns:x="urn:one"><Calls><Call x:n="1"/></Calls></Response>'
    second = (
        b'<Response xmlns:x="urn:two" xmlns:y="urn:y"><Calls><Call x:n="2" y:m="3"><x:Id/></Call></Calls></Response>'
    )
    both = etree.fromstring(together(first, second))
    assert [dict(each.attrib) for each in both[0]] == [{"{urn:one}n": "1"}, {"{urn:two}n": "2", "{urn:y}m": "3"}]
    assert both[0][1][0].tag == "{urn:two}Id"


def test_elements_stay_in_the_namespace_they_were_in() -> None:
    spaced = b'<Response xmlns="urn:pbx"><Calls><Call><CallId>a</CallId></Call></Calls></Response>'
    bare = b"<Response><Calls><Call><CallId>b</CallId></Call></Calls></Response>"
    tags = [each.tag for each in etree.fromstring(together(spaced, bare))[0]]
    assert tags == ["{urn:pbx}Call", "Call"]
    tags = [each.tag for each in etree.fromstring(together(bare, spaced))[0]]
    assert tags == ["Call", "{urn:pbx}Call"]
    own = b'<Response xmlns="urn:pbx"><Calls><Call xmlns="urn:own"/></Calls></Response>'
    assert [each.tag for each in etree.fromstring(together(bare, own))[0]] == ["Call", "{urn:own}Call"]


def test_encodings_are_told_apart() -> None:
    text = '<?xml version="1.0" encoding="{}"?><Response><Calls><Call><Source>{}</Source></Call></Calls></Response>'
    latin, utf8 = text.format("iso-8859-2", "Kovács Győző"), text.format("utf-8", "Őry ☎")
    bodies = latin.encode("iso-8859-2"), utf8.encode()
    for one, other in (bodies, bodies[::-1]):
        names = {each.text for each in etree.fromstring(together(one, other)).iter("Source")}
        assert names == {"Kovács Győző", "Őry ☎"}


def test_code_and_message_can_be_told_anew() -> None:
    whole = merged([read(active(entry("a")))], outcome=(907, "Not <all>"))
    root = etree.fromstring(whole)
    assert (root.findtext("Code"), root.findtext("Message")) == ("907", "Not <all>")
    assert whole == active(entry("a")).replace(b">200<", b">907<").replace(
        b"Command successfully executed", b"Not &lt;all&gt;"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Response><Code>200</Code></Response>",
        b"<Response><Calls/><ActiveCalls/></Response>",
        b"<!DOCTYPE html><html><Calls/></html>",
        b"<Response><Calls></Response>",
        "<Response><Cälls/><Calls/></Response>".encode()[:-2],
    ],
)
def test_what_is_no_list_is_none(body: bytes) -> None:
    assert read_listing(body) is None


def test_ids_are_found_in_both_generations_and_never_invented() -> None:
    assert call_ids(active(entry("7Kq2pX"), entry("b", name="Call"))) == ("7Kq2pX", "b")
    assert call_ids(b"<Response><Calls><Call><CallId>a b</CallId></Call></Calls></Response>") == ()
    assert call_ids(b"<Response><CallId>a</Response>") == ()
    assert call_ids(b"rubbish") == ()
    assert call_ids(b"<r><callid> x </callid></r>") == ("x",)


IDS = st.text("abcXYZ019", min_size=1, max_size=6)
TIMES = st.integers(0, 59)
LISTS = st.lists(st.tuples(IDS, TIMES), max_size=6)


@given(st.lists(LISTS, min_size=1, max_size=4), st.booleans())
def test_no_item_is_lost_and_each_pbx_keeps_its_order(lists: list[list[tuple[str, int]]], newest: bool) -> None:
    lists = [sorted(each, key=lambda row: row[1], reverse=newest) for each in lists]
    bodies = [active(*(entry(f"{n}-{call}", at(minute)) for call, minute in each)) for n, each in enumerate(lists)]
    whole = together(*bodies)
    items = [each.written for each in read(whole).items]
    assert sorted(items) == sorted(each.written for body in bodies for each in read(body).items)
    ids = call_ids(whole)
    for n, each in enumerate(lists):
        assert [call for call in ids if call.startswith(f"{n}-")] == [f"{n}-{call}" for call, _ in each]
    minutes = [int(each) for each in re.findall(rb"T10:(\d\d)", whole)]
    assert minutes in (sorted(minutes), sorted(minutes, reverse=True))
    assert whole.startswith(HEAD)


@given(LISTS)
def test_one_list_alone_stays_byte_for_byte(calls: list[tuple[str, int]]) -> None:
    body = history(99, *(entry(call, at(minute)) for call, minute in calls))
    assert body == together(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    found = read_listing(b"<Response><Calls>" + body + b"</Calls></Response>")
    if found is not None:
        assert merged([found]) == found.body
    call_ids(body)
