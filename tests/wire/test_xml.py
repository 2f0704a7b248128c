"""The one XML parser: what it takes, and what it must never take."""

import codecs
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.wire.xml import MAX_BYTES, is_too_deep, local_name, parse, stripped


@pytest.mark.parametrize(
    "body",
    [
        b"<a/>",
        b'<?xml version="1.0"?><a/>',
        b'<?xml version="1.0" encoding="utf-8"?>\r\n<a/>',
        b'\r\n \t<?xml version="1.0"?><a/>',
        codecs.BOM_UTF8 + b'<?xml version="1.0"?><a/>',
        b"\n" + codecs.BOM_UTF8 + b"\n" + b'<?xml version="1.0"?><a/>',
        '<?xml version="1.0" encoding="utf-16"?><a/>'.encode("utf-16"),
        codecs.BOM_UTF16_BE + "\r\n<a/>".encode("utf-16-be"),
        b'<?xml version="1.0" encoding="ISO-8859-2"?><a/>',
        b"<!-- <!DOCTYPES are named here --><a/>".replace(b"!DOCTYPES", b"doctypes"),
    ],
)
def test_well_formed_documents_are_read(body: bytes):
    root = parse(body)
    assert root is not None
    assert root.tag == "a"


def test_names_are_read_without_their_namespace():
    root = parse(b'<x:a xmlns:x="urn:x"><b xmlns="urn:y"/><c/></x:a>')
    assert root is not None
    assert [local_name(each) for each in (root, *root)] == ["a", "b", "c"]


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x0 "ha">'
    + b"".join(b'<!ENTITY x%d "%s">' % (n, b"&x%d;" % (n - 1) * 10) for n in range(1, 12))
    + b"]><a>&x11;</a>"
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"plain text",
        b'{"Code": 200}',
        b"<a>",
        b"<a></b>",
        b"<a/><b/>",
        b"<a/>text",
        b"<a b=c/>",
        b"<a>&unknown;</a>",
        b"<a>\xff</a>",
        b"<a>\0</a>",
        b"<!DOCTYPE a><a/>",
        BOMB,
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>',
        b'<!DOCTYPE a [<!ENTITY % e SYSTEM "http://127.0.0.1:9/x"> %e;]><a/>',
        b'<!DOCTYPE a [<!ENTITY e "9">]><a>+36&e;123</a>',
        '<!DOCTYPE a [<!ENTITY e "9">]><a>&e;</a>'.encode("utf-16"),
        '<!DOCTYPE a [<!ENTITY e "9">]><a>&e;</a>'.encode("utf-16-le"),
        '<!DOCTYPE a [<!ENTITY e "9">]><a>&e;</a>'.encode("utf-32"),
        b'<?xml version="1.0" encoding="utf-7"?><a>+ADw-b/+AD4-</a>',
        b'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE a+AD4-<a/>',
        b'<?xml version="1.0" encoding="koi8-r"?><a/>',
        b'<?xml version="1.0" encoding="no-such-thing"?><a/>',
        "<a/>".encode("cp500"),
        codecs.BOM_UTF16_LE + b"<",
        codecs.BOM_UTF16_LE + b"\x00\xd8<\x00",
        b'<?xml version="1.0" encoding=',
    ],
)
def test_what_is_broken_or_dangerous_is_not_read(body: bytes):
    assert parse(body) is None


def test_a_bomb_costs_nothing():
    begin = time.perf_counter()
    assert parse(BOMB) is None
    assert time.perf_counter() - begin < 0.5


def nested(depth: int) -> bytes:
    return b"<a>" * depth + b"</a>" * depth


def test_depth_is_capped():
    assert parse(nested(64), max_depth=64) is not None
    assert parse(nested(65), max_depth=64) is None
    assert parse(nested(300), max_depth=64) is None
    assert parse(nested(100_000), max_depth=64) is None
    assert parse(b"<a>" + b"<b/>" * 1000 + b"</a>", max_depth=2) is not None


def test_size_is_capped():
    huge = b"<a>" + b"x" * (1 << 20) + b"</a>"
    assert parse(huge) is not None
    assert parse(huge, max_bytes=1 << 20) is None
    assert parse(b"<a b='" + b"x" * (1 << 20) + b"'/>", max_bytes=2 << 20) is not None


def test_comments_and_instructions_do_not_cut_a_text():
    root = parse(b"<a>+36<!-- 9 -->20<?php 1 ?>1<![CDATA[23]]></a>")
    assert root is not None
    assert root.text == "+3620123"


@given(body=st.binary(max_size=100) | st.text("<>/a!&;?xml \"='\0\ufeff", max_size=60).map(str.encode))
def test_any_bytes_are_parsed_or_refused(body: bytes):
    parse(body)
    parse(b"<a>" + body + b"</a>")
    for encoding in ("utf-16-le", "utf-16-be"):
        parse(codecs.BOM_UTF16_LE + body.decode("latin-1").encode(encoding))
    assert not stripped(body).startswith((b" ", b"\t", b"\r", b"\n"))


def deep_one(depth: int) -> bytes:
    return b"<a>" * depth + b"</a>" * depth


@pytest.mark.parametrize(
    ("body", "deep"),
    [
        (deep_one(64), False),
        (deep_one(65), True),
        (deep_one(400), True),  # more than the library reads
        (b"\xef\xbb\xbf\r\n" + deep_one(65), True),
        (b"<!DOCTYPE a>" + deep_one(65), False),  # no document type ever comes to the parser
        (deep_one(65) + b"\0", False),
        (deep_one(65) + b" " * MAX_BYTES, False),  # nor what is over the other cap
        (deep_one(65)[:-1], False),
        (b"", False),
    ],
)
def test_what_is_not_read_for_its_depth_is_told_apart(body: bytes, deep: bool) -> None:
    assert is_too_deep(body) is deep
    assert (parse(body) is None) == (deep or body != deep_one(64))
