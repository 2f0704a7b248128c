"""Tables: what is read, what is found, and what is wrong with them."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interceptor.policy import Source, compile_policy, tables
from interceptor.policy.tables import read_table
from interceptor.values import ProblemsError
from interceptor.wire.e164 import canonical_test


def table(text, context, file="rules/tables/it.txt"):
    found, problems = read_table(Source(file, text.encode()), context)
    assert problems == ()
    return found


def problems(text, context, file="it.txt"):
    found, told = read_table(Source(file, text if isinstance(text, bytes) else text.encode()), context)
    assert found is None
    return [str(problem).removeprefix(f"{file}:") for problem in told]


def test_a_list_of_numbers_finds_them_in_canonical_form(context):
    found = table("+36201234567  # a comment\n\n06 30 765 4321\r\n1099\n# all of it\n", context)
    assert (found.name, found.numbers, found.columns, len(found)) == ("it", True, (), 3)
    assert sorted(found.entries()) == [("+36201234567", False), ("+36307654321", False), ("1099", False)]
    assert {found.find(number) for number in ("+36201234567", "+36307654321", "1099")} == {0, 1, 2}
    assert {found.find(number) for number in ("+3620123456", "+362012345678", "109", "10990", "", "+", "x")} == {-1}


def test_the_exact_entry_is_found_before_the_longest_that_fits(context):
    rows = ("+36*,hungary", "+3620*,mobile", "+36201234567,kata", "+36201234567*,kata and more", "10*,tens", "*,all")
    found = table("\n".join(("number,who", *rows, "+*,plus")), context, "tables/who.csv")
    assert found.columns == ("who",)
    expected = {
        "+36201234567": "kata",
        "+362012345678": "kata and more",
        "+36201234": "mobile",
        "+3620": "mobile",
        "+362": "hungary",
        "+36209999999999999999": "mobile",
        "+3": "plus",
        "+": "plus",
        "10": "tens",
        "1": "all",
        "sip:anybody": "all",
        "+36*1": "hungary",
    }
    assert {number: found.value(found.find(number), "who") for number in expected} == expected


def test_columns_have_names_and_values_and_quotes(context):
    text = '\ufeffprefix; cluster ;note\n"+36";pbx-main;"a; ""b"""\n +49 ; pbx-berlin ;\n\n'
    found = table(text, context, "tables/lcr.csv")
    assert (found.columns, len(found)) == (("cluster", "note"), 2)
    row = found.find("+36201234567")
    assert (found.value(row, "cluster"), found.value(row, "note")) == ("pbx-main", 'a; "b"')
    row = found.find("+4930")
    assert (found.value(row, "cluster"), found.value(row, "note")) == ("pbx-berlin", "")
    assert found.find("+1") == -1


def test_texts_are_compared_as_they_are(context):
    found = table("spam\nWon*\n10.0.0.7\nno # comment\nnot#one\n", context)
    assert not found.numbers
    assert list(found.entries()) == [(text, False) for text in ("spam", "Won*", "10.0.0.7", "no", "not#one")]
    assert [found.find(text) for text in ("spam", "Spam", "Won*", "Wonder", "10.0.0.7", "no", "not#one")] == [
        0, -1, 1, -1, 2, 3, 4
    ]  # fmt: skip
    by_app = table("app,line\ncrm,+3612222222\n", context, "tables/lines.csv")
    assert by_app.value(by_app.find("crm"), "line") == "+3612222222"


def test_codes_and_overlong_numbers_are_entries_too(context):
    long = "+36" + "1" * 30
    found = table(f"number\n*67#\n{long}\n{long}1*\n0123\n", context, "tables/odd.csv")
    assert [number for number, _ in found.entries()] == ["0123", "*67#", long, long + "1"]
    assert [found.find(each) for each in ("0123", "*67#", long, long + "1", long + "12", long[:-1], "*67")] == [
        0, 1, 2, 3, 3, -1, -1
    ]  # fmt: skip


def test_every_value_of_a_column_is_told_with_the_first_entry_that_has_it(context):
    found = table("prefix,who\n+44,b\n*67,c\n+36,a\n+4,b\n+49,a\n", context, "t.csv")
    told = [(word, found.entry(row)) for word, row in found.words("who")]
    assert told == [("a", ("+36", True)), ("b", ("+4", True)), ("c", ("*67", True))]


def test_a_column_of_nearly_all_different_words_keeps_them_all(context, monkeypatch):
    monkeypatch.setattr(tables, "_WORDS_REMEMBERED", 2)
    rows = [(f"+3620{at:07}", f"c{at % 5}") for at in range(400)]
    found = table("number,who\n" + "".join(f"{number},{who}\n" for number, who in rows), context, "t.csv")
    assert [(number, found.value(found.find(number), "who")) for number, _ in rows] == rows


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("it.txt", "+36201234567\n  nobody\n", "2:3: this should be a number, here is `nobody`"),
        (
            "it.txt",
            "+36201234567\n06201234567\n",
            "2:1: `+36201234567` stands here a second time, the first is in line 1",
        ),
        ("it.txt", "+36*\n\n +36*\n", "3:2: `+36*` stands here a second time, the first is in line 1"),
        ("it.txt", "spam\nspam\n", "2:1: `spam` stands here a second time, the first is in line 1"),
        (
            "it.txt",
            "+36*\n0620*\n",
            "2:1: no canonical number begins with `0620`; write it in international form, as in `+3620`",
        ),
        ("it.txt", "+36201234567\nsip*\n", "2:1: this should be the begin of a number, here is `sip*`"),
        ("it.txt", b"spam\n\xff\n", "2:1: not UTF-8 text"),
        ("it.txt", "spam\n\x07\n", "2:1: this should be a text of one line"),
        ("it.csv", "", "1:1: the first line should name the columns, such as `number,cluster`"),
        ("it.csv", "number,,x\n", "1:1: the first line should name the columns, such as `number,cluster`"),
        ("it.csv", "number,who,who\n", "1:12: a column `who` stands here a second time"),
        ("it.csv", "number,who\n+36201234567\n", "2:1: the first line names 2 columns, here are 1"),
        ("it.csv", "prefix,who\n,kata\n", "2:1: this should be the begin of a number, here is ``"),
        ("it.csv", "app,who\n,kata\n", "2:1: this should be a text of one line"),
        ("it.csv", 'app,who\ncrm,"kata"x\n', "2:1: not CSV: ',' expected after '\"'"),
        ("it.csv", 'app,"a,b",who\ncrm,"x,y",  a\x07b\n', "2:13: a value should be printable text on one line"),
    ],
)
def test_a_problem_stands_in_its_place(file, text, expected, context):
    assert problems(text, context, file) == [expected]


def test_of_very_many_problems_some_are_told_and_the_others_counted(context):
    told = problems("+36201234567\n" + "nobody\n" * (tables.MOST_TOLD + 3), context)
    assert len(told) == tables.MOST_TOLD + 1
    assert told[-1] == f"{tables.MOST_TOLD + 2}:1: and 3 more problems in this table"


def test_tables_are_part_of_the_policy_and_its_revision(context):
    def compiled(numbers):
        return compile_policy([Source("rules/tables/vip.txt", numbers), Source("rules/a.yaml", b"")], context)

    one, two = compiled(b"+36201234567\n"), compiled(b"+36201234568\n")
    assert list(one.tables) == ["vip"]
    assert one.tables["vip"].find("+36201234567") == 0
    assert one.revision != two.revision
    assert one.revision == compiled(b"+36201234567\n").revision


def test_problems_of_tables_stand_with_those_of_rules(context):
    sources = [
        Source("rules/a.yaml", b"rules: 1"),
        Source("rules/tables/vip.csv", b"number,who\n1\n"),
        Source("rules/tables/vip.txt", b"1001\n"),
    ]
    with pytest.raises(ProblemsError) as caught:
        compile_policy(sources, context)
    assert [str(problem) for problem in caught.value.problems] == [
        "rules/tables/vip.csv:2:1: the first line names 2 columns, here are 1",
        "rules/tables/vip.txt:1:1: a table named `vip` stands already in rules/tables/vip.csv",
        "rules/a.yaml:1:8: a rule should be a mapping of keys to values, here is `1`",
    ]


digits = st.text(alphabet="012", max_size=4)
keys = st.builds(lambda begin, text: begin + text, st.sampled_from(("+", "+1", "1", "2", "*1", "+" + "1" * 14)), digits)
entries = st.dictionaries(
    st.tuples(keys, st.booleans()).map(lambda entry: ("" if entry == ("+1", True) else entry[0], entry[1])),
    st.sampled_from("abc"),
    max_size=12,
)


def by_asking_every_entry(written, number):
    if (number, False) in written:
        return written[number, False]
    fitting = [prefix for prefix, is_prefix in written if is_prefix and number.startswith(prefix)]
    return written[max(fitting, key=len), True] if fitting else None


@given(written=entries, asked=st.lists(st.builds(lambda key, more: key + more, keys, digits), max_size=6))
@example(written={("+1", False): "a", ("+10", True): "b"}, asked=["+1", "+10", "+100"])
@example(written={("+1", True): "a", ("+10", False): "b"}, asked=["+1", "+10", "+100"])
def test_a_table_finds_what_asking_every_entry_finds(written, asked, context):
    def as_they_are(text):
        return msgspec.structs.replace(context.number("1001"), written=text, canonical=text)

    plain = msgspec.structs.replace(context, number=as_they_are)
    written = {key: value for key, value in written.items() if any(map(str.isdigit, key[0])) or key[1]}
    text = "number,value\n" + "".join(f"{key}{'*' * prefix},{value}\n" for (key, prefix), value in written.items())
    found = table(text, plain, "it.csv")
    assert sorted(found.entries()) == sorted(written)
    for number in [*asked, *(key for key, _ in written)]:
        row = found.find(number)
        assert (None if row < 0 else found.value(row, "value")) == by_asking_every_entry(written, number)


@given(
    numbers=st.lists(
        st.one_of(st.from_regex(r"\+[1-9][0-9]{4,16}", fullmatch=True), st.text("+0123456789 -", max_size=9))
    )
)
def test_reading_fast_and_reading_slowly_agree(numbers, context):
    data = "\n".join(["+1", *numbers]).encode()
    quick = msgspec.structs.replace(context, is_canonical=canonical_test())
    slow, slow_problems = read_table(Source("it.txt", data), context)
    fast, fast_problems = read_table(Source("it.txt", data), quick)
    assert slow_problems == fast_problems
    assert (slow and list(slow.entries())) == (fast and list(fast.entries()))


@given(
    data=st.one_of(
        st.binary(max_size=80),
        st.text(alphabet="+0123456789*#,;\"'\n\r\t axé\x00\u2028", max_size=80).map(str.encode),
        st.text(alphabet='+01*,"\n', max_size=60).map(lambda text: b"number,a\n" + text.encode()),
    ),
    ending=st.sampled_from((".csv", ".txt")),
)
def test_any_bytes_are_a_table_or_problems_with_a_place(data, ending, context):
    found, told = read_table(Source("it" + ending, data), context)
    assert (found is None) == bool(told)
    for problem in told:
        assert 1 <= problem.place.line <= data.count(b"\n") + data.count(b"\r") + 2
        assert problem.place.column >= 1
        assert problem.message
    if found is not None:
        assert len(list(found.entries())) == len(found)
        assert found.size >= 0
