"""Queries and forms: read once, compared without case, changed segment by segment."""

import re

import pytest
import re2
from hypothesis import example, given
from hypothesis import strategies as st

from interceptor.values import RemoveParameter, RenameParameter, ReplaceInParameter, SetParameter
from interceptor.wire import parameters
from interceptor.wire.parameters import decode, encode, join_target, split_target

CALL = b"command=Call&Dialed=%2B36201234567&ApiExtension=9998&Url=http%3A%2F%2Fapp.test%2Fcb%3Fa%3D1%2526&Text=a+b"


def test_a_query_is_read():
    read = decode(CALL, None)
    assert read.values == {
        "command": "Call",
        "dialed": "+36201234567",
        "apiextension": "9998",
        "url": "http://app.test/cb?a=1%26",
        "text": "a b",
    }
    assert read.ambiguous is None
    assert (read.query, read.body) == (CALL, None)
    assert read.get("command") == "Call"
    assert read.get("callid") is None


def test_a_query_and_a_form_are_read_together():
    read = decode(b"tenant=7", b"NotificationName=CallChanged&CallId=7Kq2pX")
    assert read.values == {"tenant": "7", "notificationname": "CallChanged", "callid": "7Kq2pX"}
    assert read.items == (
        ("tenant", "7", "query"),
        ("NotificationName", "CallChanged", "body"),
        ("CallId", "7Kq2pX", "body"),
    )


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (b"", {}),
        (b"&&", {}),
        (b"a", {"a": ""}),
        (b"a=", {"a": ""}),
        (b"=b", {"": "b"}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a=1;b=2", {"a": "1;b=2"}),
        (b"a=1+2%2B3%2b4", {"a": "1 2+3+4"}),
        (b"a=%252B", {"a": "%2B"}),
        (b"a=%2%35", {"a": "%25"}),
        (b"a=%zz%4&b=%", {"a": "%zz%4", "b": "%"}),
        (b"a=%41%zz%42", {"a": "A%zzB"}),
        (b"a=%00", {"a": "\0"}),
        (b"a=%c3%a1\xc3\xa1", {"a": "\u00e1\u00e1"}),
        (b"a=%C0%B0", {"a": "\udcc0\udcb0"}),
        (b"a=\xff", {"a": "\udcff"}),
        (b"a=%ed%a0%80", {"a": "\udced\udca0\udc80"}),
        (b"%44ialed=1", {"dialed": "1"}),
        (b"DIALED=1", {"dialed": "1"}),
        (b"X-Name_1.2=1", {"x-name_1.2": "1"}),
        (b"N%C3%89V=1", {"n\u00c9v": "1"}),
        (b"my+name=1", {"my name": "1"}),
    ],
)
def test_segments_are_read_as_the_pbx_reads_them(query: bytes, values: dict[str, str]):
    for read in (decode(query, None), decode(b"", query), decode(query, b"")):
        assert values == read.values
        assert read.ambiguous is None


@pytest.mark.parametrize(
    ("query", "body", "name"),
    [
        (b"Dialed=1&dialed=2", None, "dialed"),
        (b"Dialed=1&Dialed=1", None, "Dialed"),
        (b"Dialed=1", b"%64ialed=2", "dialed"),
        (b"Dialed&Dialed=2", None, "Dialed"),
        (b"Dialed=1&Dialled=2", None, "Dialled"),
        (b"DeliveryReportURL=1", b"DelivaryReportURL=2", "DelivaryReportURL"),
        (b"Dialed%00=1", None, "Dialed\0"),
        (b"+Dialed=1", None, " Dialed"),
        (b"Dialed%0d=1", None, "Dialed\r"),
        (b"Dial%C2%ADed=1", None, "Dial\u00aded"),
        (b"%E2%84%AAeys=1", None, "\u212aeys"),
        (b"%EF%BC%A4ialed=1", None, "\uff24ialed"),
        (b"", b"\xef\xbb\xbfcommand=Call", "\ufeffcommand"),
        (b"a=1&Dialed=%u0030690123456", None, "Dialed"),
        (b"%u0044ialed=1", None, "%u0044ialed"),
        (b"command=Call%00", None, "command"),
        (b"command=Call+", None, "command"),
        (b"command=C%C2%ADall", None, "command"),
        (b"command=%EF%BC%A3all", None, "command"),
        (b"command=%E2%85%ADall", None, "command"),
    ],
)
def test_what_others_could_read_differently_is_ambiguous(query: bytes, body: bytes | None, name: str):
    read = decode(query, body)
    assert name == read.ambiguous
    if query.startswith(b"Dialed=1"):
        assert read.values["dialed"] == "1"


@pytest.mark.parametrize(
    "query",
    [b"=1&=2", b"a%00b=1", b"Text=50%uple", b"command=X-Own", b"command=Caf%C3%A9", b"command=X-%C2%AD", b"command="],
)
def test_odd_messages_that_all_readers_read_alike_are_not_ambiguous(query: bytes):
    assert decode(query, None).ambiguous is None


def test_the_first_fault_is_the_one_that_is_named():
    assert decode(b"a=1&b=1&b=2&a=3", None).ambiguous == "b"


def test_values_are_not_kept_beyond_the_message():
    decode(b"Password=correct-horse&ConfigXML=battery-staple&known-name=1&tr0ub4dor", None)
    decode(b"Password=correct-horse&known-name=1", None)
    kept = repr((parameters._plain_names, parameters._forms))
    assert "known-name" in kept
    assert "correct-horse" not in kept
    assert "battery-staple" not in kept
    assert "tr0ub4dor" not in kept


def test_the_memory_of_names_is_bounded():
    for number in range(parameters._MEMO_ENTRIES + 10):
        assert decode(b"n%d=1" % number, None).values[f"n{number}"] == "1"
    assert len(parameters._plain_names) <= parameters._MEMO_ENTRIES


def test_the_memory_of_forms_is_bounded():
    for number in range(parameters._MEMO_FORMS + 10):
        for _ in range(2):  # names first, then their form
            assert decode(b"a=1&f%d=2" % number, None).values == {"a": "1", f"f{number}": "2"}
    assert 0 < len(parameters._forms) <= parameters._MEMO_FORMS


@pytest.mark.parametrize("count", range(29, 36))
@pytest.mark.parametrize("end", [b"", b"&", b"&last", b"&last=", b"=", b"&=", b"&a0=2"])
def test_a_form_of_any_length_is_read_the_second_time_as_the_first(count: int, end: bytes) -> None:
    decode(b"last=1&" + b"&".join(b"a%d=1" % number for number in range(count)), None)
    written = b"&".join(b"a%d=1" % number for number in range(count)) + end
    values, ambiguous = parameters._read_each(written.decode())
    for _ in range(2):
        read = decode(written, None)
        assert (read.values, read.ambiguous) == (values, ambiguous)


@given(
    st.lists(st.sampled_from([b"%", b"%2", b"%2B", b"%c3%A9", b"%ff", b"%zz", b"+", b"_", b" ", b"a", b"4", b"\r\n"]))
)
def test_values_are_decoded_as_their_definition_says(pieces: list[bytes]):
    written = b"".join(pieces)
    escape = re.compile(rb"%([0-9A-Fa-f]{2})")
    expected = escape.sub(lambda found: bytes([int(found[1], 16)]), written.replace(b"+", b" "))
    assert decode(b"n=" + written, None).values["n"] == expected.decode("utf-8", "surrogateescape")


def changed(query: bytes, *changes, body: bytes | None = None) -> tuple[bytes, bytes | None]:
    after = decode(query, body).changed(changes)
    assert decode(after.query, after.body) == after
    return after.query, after.body


def test_setting_touches_only_its_segment():
    before = b"a=%7e&command=Call&dialed=1%32&&b=+%2B&=&c"
    assert changed(before, SetParameter("Dialed", "+36 1"))[0] == b"a=%7e&command=Call&dialed=%2B36+1&&b=+%2B&=&c"


def test_setting_what_is_set_already_touches_nothing():
    before = decode(b"command=Call&Dialed=1%32", None)
    assert before.changed((SetParameter("dialed", "12"),)) is before
    assert before.changed(()) is before


def test_a_new_parameter_goes_where_the_message_is_named():
    new = SetParameter("CallerId", "1001")
    assert changed(b"command=Call", new) == (b"command=Call&CallerId=1001", None)
    assert changed(b"t=1", new, body=b"Command=Call") == (b"t=1", b"Command=Call&CallerId=1001")
    assert changed(b"t=1", new, body=b"notificationname=X") == (b"t=1", b"notificationname=X&CallerId=1001")
    assert changed(b"command=Call", new, body=b"x=1") == (b"command=Call&CallerId=1001", b"x=1")
    assert changed(b"", new) == (b"CallerId=1001", None)


def test_setting_a_parameter_that_occurs_more_than_once_leaves_one_of_it():
    assert changed(b"a=1&Dialed=1&dialled=2", SetParameter("Dialed", "9"), body=b"DIALED=3&b=2") == (
        b"a=1&Dialed=9",
        b"b=2",
    )


def test_removing_takes_every_occurrence_out():
    assert changed(b"a=1&Dialed=1&&b=2", RemoveParameter("dialed"), body=b"Dialled=2") == (b"a=1&&b=2", b"")
    assert changed(b"Dialed=1", RemoveParameter("dialed")) == (b"", None)
    assert changed(b"a=1", RemoveParameter("a"), SetParameter("b", "1")) == (b"b=1", None)


def test_renaming_keeps_the_bytes_of_the_value():
    assert changed(b"x=1&Old=%7e+%2b&y", RenameParameter("old", "New Name"))[0] == b"x=1&New+Name=%7e+%2b&y"
    assert changed(b"Dialled=%31", RenameParameter("dialled", "Dialed"))[0] == b"Dialed=%31"
    assert changed(b"a=1", RenameParameter("b", "c"))[0] == b"a=1"
    assert changed(b"a", RenameParameter("a", "b"))[0] == b"b"


def test_a_renamed_parameter_takes_the_place_of_the_one_that_had_the_name():
    assert changed(b"a=1&b=2", RenameParameter("a", "b"))[0] == b"b=1"


def test_replacing_rewrites_what_matches_and_nothing_else():
    to_country_code = ReplaceInParameter("Dialed", re2.compile("^06"), "+36")
    assert changed(b"dialed=06201234567&a=%7e", to_country_code)[0] == b"dialed=%2B36201234567&a=%7e"
    assert changed(b"dialed=%31&a=06", to_country_code)[0] == b"dialed=%31&a=06"
    groups = ReplaceInParameter("a", re2.compile("(.)-(.)"), r"\2+\1")
    assert changed(b"&a=x-y", groups)[0] == b"&a=y%2Bx"


def test_replacing_in_a_value_that_is_no_text_works_on_what_the_pbx_would_read():
    pattern = ReplaceInParameter("a", re2.compile("x"), "y")
    assert changed(b"a=%ff", pattern)[0] == b"a=%ff"
    assert changed(b"a=%ffx", pattern)[0] == b"a=%EF%BF%BDy"


def test_changes_are_made_one_after_another():
    changes = (SetParameter("a", "1"), RenameParameter("a", "b"), ReplaceInParameter("b", re.compile("1"), "2"))
    assert changed(b"", *changes)[0] == b"b=2"


@pytest.mark.parametrize(
    ("target", "split"),
    [
        (b"/?command=ListActiveCalls", (b"/", b"command=ListActiveCalls", True)),
        (b"/api?command=Call", (b"/api", b"command=Call", True)),
        (b"/", (b"/", b"", False)),
        (b"", (b"", b"", False)),
        (b"/?", (b"/", b"", True)),
        (b"/?a=1?b=2", (b"/", b"a=1?b=2", True)),
        (b"/command=ListActiveCalls", (b"/", b"command=ListActiveCalls", False)),
        (b"/api/COMMAND=Call&Url=http://x/y", (b"/api/", b"COMMAND=Call&Url=http://x/y", False)),
        (b"/Username=u&%63ommand=Call", (b"/", b"Username=u&%63ommand=Call", False)),
        (b"/hooks/a=b", (b"/hooks/a=b", b"", False)),
        (b"/command", (b"/command", b"", False)),
        (b"command=Call", (b"", b"command=Call", False)),
    ],
)
def test_targets_are_split_with_and_without_a_question_mark(target: bytes, split: tuple[bytes, bytes, bool]):
    assert split == split_target(target)
    assert target == join_target(*split)


@pytest.mark.parametrize(
    "target",
    [b"/command=ListActiveCalls?command=Call&Dialed=1", b"/x/Command=Call?a=1", b"/a=1&c%6fmmand=Call?command=Hangup"],
)
def test_a_command_in_the_path_before_a_query_is_ambiguous(target: bytes):
    path, query, _ = split_target(target)
    assert (decode(query, None, path).ambiguous or "").lower() == "command"


def test_a_path_without_a_command_is_not_ambiguous():
    assert decode(b"command=Call", None, b"/hooks/tenant=7").ambiguous is None


ANY_BYTES = st.binary(max_size=200) | st.text("abcDialedK%&=+;0123456789uFf\0\u212a\u00ad", max_size=80).map(
    lambda text: text.encode()
)


@given(query=ANY_BYTES, body=st.none() | ANY_BYTES)
@example(query=b"%", body=b"%")
def test_any_bytes_are_decoded(query: bytes, body: bytes | None):
    read = decode(query, body)
    assert (query, body) == (read.query, read.body)
    assert set(read.values) == {parameters.lower(name) for name, _, _ in read.items}
    names = [parameters.lower(name) for name, _, _ in read.items if name]
    assert len(names) == len(set(names)) or read.ambiguous is not None


_PIECES = (
    b"Dialed",
    b"Text",
    b"x",
    b"=",
    b"&",
    b"+",
    b"%",
    b"%26",
    b"%3D",
    b"%00",
    b"\0",
    b"%41",
    b"%c3%a9",
    b"\n",
    b"1",
)


@given(pieces=st.lists(st.sampled_from(_PIECES), max_size=12))
@example(pieces=[b"Dialed", b"\0", b"1", b"&", b"x", b"=", b"%41"])
@example(pieces=[b"Dialed", b"%00", b"1", b"&", b"x", b"=", b"1"])
@example(pieces=[b"Dialed", b"=", b"1", b"%26", b"x", b"=", b"1"])
def test_a_message_of_known_names_is_read_as_one_of_names_never_seen(pieces: list[bytes]):
    decode(b"Dialed=1&Text=1&x=1", None)
    query = b"".join(pieces)
    new = decode(query + b"&never%20seen", None)  # a name that is not remembered: each parameter is read by itself
    read = decode(query, None)
    assert {**read.values, "never seen": ""} == new.values
    assert read.ambiguous == new.ambiguous


@given(pairs=st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=6))
def test_decoding_undoes_encoding_over_any_bytes(pairs: list[tuple[bytes, bytes]]):
    texts = [tuple(raw.decode("utf-8", "surrogateescape") for raw in pair) for pair in pairs]
    written = b"&".join(encode(name) + b"=" + encode(value) for name, value in texts)
    expected = [(name, value) for name, value in texts]
    assert expected == [(name, value) for name, value, _ in decode(written, None).items]
    assert expected == [(name, value) for name, value, _ in decode(b"", written).items]


@given(text=st.text() | st.characters(categories=["Cs"]))
def test_any_text_can_be_written(text: str):
    assert encode(text).isascii()


@given(
    query=ANY_BYTES,
    body=st.none() | ANY_BYTES,
    value=st.text(max_size=20),
    name=st.sampled_from(["Dialed", "a", "\u00e1"]),
)
def test_setting_touches_only_its_segment_whatever_the_bytes(query: bytes, body: bytes | None, value: str, name: str):
    before = decode(query, body)
    after = before.changed((SetParameter(name, value),))

    def others(read: parameters.Parameters) -> list[list[bytes]]:
        return [
            [
                each
                for each in source.split(b"&")
                if each and parameters.parameter_name(parameters._name(each)) != parameters.parameter_name(name)
            ]
            for source in (read.query, read.body or b"")
        ]

    assert others(before) == others(after)
    spelled = [v for n, v, _ in after.items if parameters.parameter_name(n) == parameters.parameter_name(name)]
    assert [value] == spelled


@given(target=ANY_BYTES)
def test_any_target_is_split_and_joined_again(target: bytes):
    assert target == join_target(*split_target(target))
