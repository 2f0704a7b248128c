"""From nodes to values; each fault is told where it stands."""

import pytest

from interceptor import document
from interceptor.document import Problems, nearest, read, warn_unquoted, whole_number
from interceptor.values import Place, Severity


def node(written):
    return read(f"a: {written}".encode(), "f")[0].get("a")


def value(reader, written, *arguments, **keywords):
    root, _ = read(f"a: {written}".encode(), "f")
    problems = Problems()
    found = reader(root.get("a"), *arguments, problems, "`a`", **keywords)
    return found, [str(problem) for problem in problems.found]


@pytest.mark.parametrize(
    ("reader", "written", "expected"),
    [
        (document.text, "x", "x"),
        (document.text, "''", ""),
        (document.whole_number, "-12", -12),
        (document.whole_number, "+12", 12),
        (document.duration_seconds, "500ms", 0.5),
        (document.duration_seconds, "1.5s", 1.5),
        (document.duration_seconds, "2m", 120.0),
        (document.duration_seconds, "1h", 3600.0),
        (document.duration_seconds, "1 d", 86400.0),
        (document.duration_seconds, "7", 7.0),
        (document.byte_size, "100", 100),
        (document.byte_size, "64KiB", 65536),
        (document.byte_size, "1.5 MiB", 1572864),
        (document.byte_size, "2GB", 2_000_000_000),
        (document.boolean, "true", True),
        (document.boolean, "Off", False),
        (document.texts, "[x, y]", ("x", "y")),
        (document.texts, "x", ("x",)),
    ],
)
def test_good_values(reader, written, expected):
    assert value(reader, written) == (expected, [])


@pytest.mark.parametrize(
    ("reader", "written", "told"),
    [
        (document.text, "", "`a` should be text, here is nothing"),
        (document.text, "[x]", "`a` should be text, here is a list"),
        (document.text, "{x: y}", "`a` should be text, here is a mapping"),
        (document.whole_number, "1.5", "`a` should be a whole number, here is `1.5`"),
        (document.whole_number, "9" * 40, f"`a` should be a whole number, here is `{'9' * 40}`"),
        (document.whole_number, "[1]", "`a` should be a whole number, here is a list"),
        (document.duration_seconds, "5x", "`a` should be a duration such as `500ms`, `3s`, `2m`, here is `5x`"),
        (document.duration_seconds, "-1s", "`a` should be a duration such as `500ms`, `3s`, `2m`, here is `-1s`"),
        (document.duration_seconds, "[]", "`a` should be a duration such as `500ms`, `3s`, `2m`, here is a list"),
        (document.byte_size, "1.5", "`a` should be a size such as `64KiB` or `1MiB`, here is `1.5`"),
        (document.byte_size, "1XB", "`a` should be a size such as `64KiB` or `1MiB`, here is `1XB`"),
        (document.boolean, "maybe", "`a` should be `true` or `false`, here is `maybe`"),
        (document.boolean, "{}", "`a` should be `true` or `false`, here is a mapping"),
    ],
)
def test_bad_values(reader, written, told):
    assert value(reader, written) == (None, [f"f:1:{4 if written else 3}: {told}"])


def test_bounds():
    assert value(document.whole_number, "5", least=1, most=9) == (5, [])
    assert value(document.whole_number, "0", least=1) == (None, ["f:1:4: `a` should be at least 1, here is `0`"])
    assert value(document.whole_number, "10", most=9) == (None, ["f:1:4: `a` should be at most 9, here is `10`"])
    assert value(document.text, "", empty=True) == ("", [])


def test_lists():
    assert value(document.texts, "[x, [y]]") == (("x",), ["f:1:8: `a` should be text, here is a list"])
    assert value(document.items, "[]")[1] == ["f:1:4: `a` should not be an empty list"]


def test_one_of():
    assert value(document.one_of, "x", ("x", "y")) == ("x", [])
    assert value(document.one_of, "strct", ("strict", "relaxed"))[1] == [
        "f:1:4: unknown `a` `strct`, did you mean `strict`?"
    ]
    assert value(document.one_of, "q", ("strict",))[1] == ["f:1:4: unknown `a` `q`, known are `strict`"]
    assert value(document.one_of, "[]", ("strict",))[0] is None


def test_fields():
    root, _ = read(b"one: 1\ntwoo: 2\nxyz: 3\n", "f")
    problems = Problems()
    assert document.fields(root, ("one", "two"), problems, "it") is root
    assert document.fields(root, None, problems, "it") is root
    assert [str(problem) for problem in problems.found] == [
        "f:2:1: unknown key `twoo` in it, did you mean `two`?",
        "f:3:1: unknown key `xyz` in it, known are `one`, `two`",
    ]
    assert problems
    assert not Problems()


def test_a_fault_of_fields_is_an_empty_mapping():
    found, told = value(lambda node, problems, what: document.fields(node, None, problems, what), "x")
    assert found.entries == ()
    assert told == ["f:1:4: `a` should be a mapping of keys to values, here is `x`"]


def test_what_is_known_already_is_not_told_again():
    _, known = read(b"a: *x\n", "f")
    problems = Problems(known)
    problems.add(Place("f", 1, 4), "again", "x")
    problems.add(Place("f", 1, 5), "new", "x")
    assert [problem.code for problem in problems.found] == ["alias", "x"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("nubmer", ", did you mean `number`?"), ("NUMBER", ", did you mean `number`?"), ("q", ""), ("", "")],
)
def test_the_nearest_spelling(word, expected):
    assert nearest(word, ("number", "caller")) == expected


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("+36201234567", "unquoted_number"),
        ("0612345", "unquoted_number"),
        ("00", "unquoted_number"),
        ("1e5", "unquoted_number"),
        ("1.50", "unquoted_number"),
        ("12:30", "unquoted_number"),
        ("1_000", "unquoted_number"),
        ("0x1F", "unquoted_number"),
        ("0o17", "unquoted_number"),
        (".5", "unquoted_number"),
        (".inf", "unquoted_number"),
        ("-01", "unquoted_number"),
        ("1234567890123456", "unquoted_number"),
        ("no", "unquoted_boolean"),
        ("NO", "unquoted_boolean"),
        ("On", "unquoted_boolean"),
        ("true", "unquoted_boolean"),
        ("null", "unquoted_null"),
    ],
)
def test_a_value_that_other_readers_change_wants_quotes(written, code):
    problems = Problems()
    warn_unquoted(node(written), problems)
    assert [(each.code, each.severity) for each in problems.found] == [(code, Severity.WARNING)]
    assert f"`{written}` is read as the text it is" in problems.found[0].message
    warn_unquoted(node(f'"{written}"'), quiet := Problems())
    assert quiet.found == ()


@pytest.mark.parametrize(
    "written", ["1099", "0", "-5", "1.5", "36201234567", "10.0.0.7", "08:00-18:00", "mon-fri", "nO", "north", ""]
)
def test_what_everybody_reads_alike_needs_no_quotes(written):
    problems = Problems()
    warn_unquoted(node(written), problems)
    assert problems.found == ()


def test_a_whole_number_with_a_zero_before_it_is_told():
    problems = Problems()
    assert whole_number(node("0306"), problems, "`code`") == 306
    assert [(each.code, each.severity) for each in problems.found] == [("leading_zero", Severity.WARNING)]
    assert whole_number(node("0"), problems, "`code`") == 0
    assert len(problems.found) == 1
