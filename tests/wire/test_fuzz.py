"""Whatever bytes arrive, every door of the package gives an answer; `make fuzz` asks a million times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.values import RemoveParameter, RenameParameter, ReplaceInParameter, SetParameter
from interceptor.wire.answers import read_answer, reads_like_ozml
from interceptor.wire.knowledge import command, notification, parameter_name, verb
from interceptor.wire.numbers import NumberReader
from interceptor.wire.ozml import decode_verbs, encode_verbs, values_of
from interceptor.wire.parameters import decode, join_target, split_target

READER = NumberReader("HU", ("1xxx",), cache_size=64)

PIECES = st.sampled_from(
    [
        *(b"command=", b"Call", b"&", b"=", b"+", b"%", b"%2B", b"%00", b"%u0030", b"%C0%B0", b"Dialed", b"Dialled"),
        *(
            b"<",
            b">",
            b"/",
            b"</",
            b"/>",
            b"<?xml",
            b"?>",
            b"<!--",
            b"-->",
            b"<!DOCTYPE",
            b"<![CDATA[",
            b"]]>",
            b"&#0;",
        ),
        *(b"<Response>", b"</Response>", b"<Code>200</Code>", b"<GoTo", b" Url='", b"xmlns:a='b'", b"\xff\xfe", b"?"),
        *(b"0690123456", b"+36", b"00", b"06", b"112", b"882", b" ", b"-", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf"),
    ]
)
INPUTS = st.lists(PIECES | st.binary(max_size=4), max_size=24).map(b"".join)
CHANGES = (SetParameter("Dialed", "1"), RenameParameter("url", "to"), RemoveParameter("to"))


class Doubling:
    """A pattern that changes every value it is given."""

    def sub(self, replacement: str, text: str) -> str:
        return text + replacement


@pytest.mark.fuzz
@given(data=INPUTS, cut=st.integers(0, 40))
def test_every_door_answers_any_bytes(data: bytes, cut: int):
    target, body = data[:cut], data[cut:]
    path, query, mark = split_target(target)
    assert join_target(path, query, mark) == target
    read = decode(query, body, path)
    after = read.changed((*CHANGES, ReplaceInParameter("command", Doubling(), "\u00e1")))
    assert after.values.get("dialed") == "1"
    for name, value, _ in read.items:
        assert parameter_name(name) in read.values
        assert READER.read(value).written == value
        command(value), notification(value), verb(value)
    assert read_answer(body) == read_answer(body)
    verbs = decode_verbs(body)
    if verbs is not None:
        assert reads_like_ozml(body) or b"<?" in body or b"<!" in body
        for each in verbs:
            values_of(each)
    for text in (data.decode("utf-8", "surrogateescape"), data.decode("latin-1")):
        READER.read(text)
    assert encode_verbs(()).startswith(b"<?xml")
