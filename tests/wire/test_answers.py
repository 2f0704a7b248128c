"""Answers of the PBX are read for their code; ours look like its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.wire import answers, codes
from interceptor.wire.answers import AnswerFacts, encode_answer, read_answer, reads_like_ozml

XSD = 'xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def test_an_answer_of_ours_is_the_one_the_reference_measured():
    assert len(encode_answer(401, codes.sentence(401, "9998"))) == 263


@pytest.mark.parametrize(
    "root",
    [
        "Response",
        f"Response {XSD} {XSI}",
        f"Response {XSI} {XSD}",
        'Response xmlns:xsd="http://www.w3.org/XMLSchema" xmlns:xsi="http://www.w3.org/XMLSchema-instance"',
        'Response xmlns="urn:anything"',
        'x:Response xmlns:x="urn:anything"',
        "response",
        "OzML",
    ],
)
def test_code_and_message_are_found_under_any_root(root: str):
    name = root.split(maxsplit=1)[0]
    body = f'<?xml version="1.0"?>\r\n<{root}>\r\n <Code>601</Code>\r\n <Message>No</Message>\r\n</{name}>'
    assert AnswerFacts(601, "No", True) == read_answer(body.encode())


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"<Response><Config><Code>1</Code></Config><Code>200</Code><Message>ok</Message></Response>", 200, "ok"),
        (b"<Response><Message>ok</Message><Code> 200\r\n</Code></Response>", 200, "ok"),
        (b"<Response><Result><Message>deep</Message><Code>200</Code></Result></Response>", 200, "deep"),
        (b"<Response><code>200</code><MESSAGE>ok</MESSAGE></Response>", 200, "ok"),
        (b"<Response><Code>200</Code><Code>306</Code></Response>", 200, ""),
        (b"<Response><Code>2_00</Code></Response>", None, ""),
        (b"<Response><Code/></Response>", None, ""),
        (b"<Response><Code>-1</Code></Response>", None, ""),
        (b"<Response><Code>99999999999999999999</Code></Response>", None, ""),
        ("<Response><Code>\u0662\u0660\u0660</Code></Response>".encode(), None, ""),
        (b"<Response/>", None, ""),
        (b'\r\n\xef\xbb\xbf<?xml version="1.0"?><Response><Code>200</Code></Response>', 200, ""),
        (b"<Code>200</Code>", 200, ""),
        ('<?xml version="1.0" encoding="utf-16"?><R><Code>200</Code></R>'.encode("utf-16"), 200, ""),
        (b"<Response><!-- x --><Code>20<!-- x -->0</Code></Response>", 200, ""),
    ],
)
def test_code_and_message_are_found_anywhere(body: bytes, code: int | None, message: str):
    assert AnswerFacts(code, message, True) == read_answer(body)


@pytest.mark.parametrize(
    "body", [b"", b"<html><body>", b"{}", b"<Response><Code>200</Code>", b"<!DOCTYPE a><Response/>"]
)
def test_what_is_not_well_formed_has_no_code(body: bytes):
    assert AnswerFacts(None, "", False) == read_answer(body)


def test_the_memory_of_answers_is_bounded_in_number_and_size():
    for number in range(answers._MEMO_ENTRIES + 10):
        body = encode_answer(200, str(number))
        assert read_answer(body) is read_answer(body)
    assert len(answers._memo) <= answers._MEMO_ENTRIES
    big = encode_answer(200, "x" * 2000)
    assert read_answer(big).code == 200
    assert big not in answers._memo


@given(code=st.sampled_from(sorted(codes.MEANINGS)), message=st.text())
def test_our_answers_are_read_as_they_were_meant(code: int, message: str):
    held = "".join(c if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff") else "\ufffd" for c in message)
    assert AnswerFacts(code, held, True) == read_answer(encode_answer(code, message))


def test_a_lone_surrogate_in_a_message_does_not_break_the_answer():
    assert read_answer(encode_answer(302, "a\udcffb")).message == "a\ufffdb"


@given(body=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes):
    read_answer(body)
    read_answer(b"<Response><Code>" + body + b"</Code></Response>")
    assert reads_like_ozml(body) in (True, False)
    assert reads_like_ozml(b"<?" + body) in (True, False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \r\n",
        b"\xef\xbb\xbf",
        b"<Response/>",
        b"<response></response>",
        b"\r\n<Response>",
        b"\xef\xbb\xbf\r\n<?xml version='1.0'?>\r\n<!-- hello --> <Response><Speak>unclosed",
        b"<OzML><Received/></OzML>",
        b"<REQUEST >",
        b"<x:Response xmlns:x='urn:x'>",
        b'<?xml version="1.0"?>',
        "<?xml version='1.0'?><Response/>".encode("utf-16"),
        b"<Response><SendDTMF Keys=1></Response>",
    ],
)
def test_ozml_is_told_from_rubbish_even_where_it_breaks_off(body: bytes):
    assert reads_like_ozml(body)


@pytest.mark.parametrize(
    "body",
    [
        b"OK",
        b"{}",
        b"<html></html>",
        b"<!DOCTYPE html><html></html>",
        b"<!DOCTYPE Response><Response/>",
        b"<br />\n<b>Warning</b>: undefined index in <b>/srv/ivr.php</b>\n<Response/>",
        b"Warning: x\n<Response/>",
        b"<Responses/>",
        b"<Respons",
        b"<Response",
        b"<",
        b"<?xml never ends",
        b"<!-- never ends",
        b"<?>",
        b"<!-->",
        b"\xff\xfe<",
    ],
)
def test_rubbish_is_told_from_ozml(body: bytes):
    assert not reads_like_ozml(body)
