"""YAML with places: what is read, what is a problem, and where."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor import document
from interceptor.document import Fields, Items, Problems, Text, read
from interceptor.values import Place


def value_of(data, key="a"):
    root, problems = read(data.encode(), "f.yaml")
    assert problems == ()
    return root.get(key)


@pytest.mark.parametrize(
    ("written", "value", "quoted"),
    [
        ("+36201234567", "+36201234567", False),
        ("0612345", "0612345", False),
        ("no", "no", False),
        ("null", "null", False),
        ("~", "", False),
        ("", "", False),
        ("''", "", True),
        ("'~'", "~", True),
        ("1e3", "1e3", False),
        ("2024-01-01", "2024-01-01", False),
        ("12:30:45", "12:30:45", False),
        ("<<", "<<", False),
        ('"\\u00e9"', "é", True),
        ("|\n  x\n  y\n", "x\ny\n", True),
        ("one\n  two", "one two", False),
    ],
)
def test_a_scalar_stays_text_as_it_was_written(written, value, quoted):
    node = value_of(f"a: {written}")
    assert (node.value, node.quoted) == (value, quoted)


def test_everything_knows_its_place():
    root, problems = read(b"a:\n  - b: c\n  - [d, 'e']\n", "f.yaml")
    assert problems == ()
    items = root.get("a")
    assert isinstance(items, Items)
    assert items.place == Place("f.yaml", 2, 3)
    fields, inner = items.nodes
    assert isinstance(fields, Fields)
    assert fields.entries[0][1] == Text("c", Place("f.yaml", 2, 8), quoted=False)
    assert inner.nodes[1] == Text("e", Place("f.yaml", 3, 9), quoted=True)
    assert root.get("z") is None


@pytest.mark.parametrize("data", [b"", b"# only words\n", b"---\n", b"\xef\xbb\xbf", b"~"])
def test_nothing_is_no_tree_and_no_problem(data):
    assert read(data, "f") == (None, ())


@pytest.mark.parametrize(
    ("data", "place", "code"),
    [
        (b"a: 1\nb: 2\na: 3\n", (3, 1), "duplicate_key"),
        (b"a: {b: 1, b: 2}\n", (1, 11), "duplicate_key"),
        (b"a: &x 1\n", (1, 4), "anchor"),
        (b"a: &x [1]\n", (1, 4), "anchor"),
        (b"a: *x\n", (1, 4), "alias"),
        (b"a: !t 1\n", (1, 4), "tag"),
        (b"a: ! 1\n", (1, 4), "tag"),
        (b"a: !!map {b: c}\n", (1, 4), "tag"),
        (b"[a]: b\n", (1, 1), "complex_key"),
        (b"? {a: b}\n: c\n", (1, 3), "complex_key"),
        (b"a\n---\nb\n", (2, 1), "second_document"),
        (b"a: [b\n", (2, 1), "syntax"),
        (b"a: b: c\n", (1, 5), "syntax"),
        (b"\ta: b\n", (1, 1), "syntax"),
        (b"%YAML 9.1\n---\na\n", (1, 1), "syntax"),
        (b"a: b\nc: \xff\n", (2, 4), "not_utf8"),
        (b"\xef\xbb\xbf\xff", (1, 1), "not_utf8"),
        (b"a: b\x00\n", (1, 5), "control"),
        ("é: \ufffe".encode(), (1, 4), "control"),
        (b"[" * 65, (1, 65), "too_deep"),
        (b"{a: " * 65, (1, 257), "too_deep"),
    ],
)
def test_what_two_readers_could_understand_differently_is_a_problem(data, place, code):
    _, problems = read(data, "f.yaml")
    assert [(problem.place, problem.code) for problem in problems] == [(Place("f.yaml", *place), code)]


def test_the_first_of_two_equal_keys_stays():
    root, _ = read(b"a: 1\na: 2\n", "f")
    assert [(key.value, node.value) for key, node in root.entries] == [("a", "1")]


def test_sixty_four_levels_are_read():
    root, problems = read(b"[" * 64 + b"]" * 64, "f")
    assert problems == ()
    assert isinstance(root, Items)


@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_a_place(data):
    root, problems = read(data, "f")
    assert root is None or isinstance(root, Text | Items | Fields)
    assert all(
        problem.place.file == "f" and problem.place.line >= 1 and problem.place.column >= 1 for problem in problems
    )


@given(data=st.text(alphabet="ab:-?{}[],&*!|>'\"%#@` \n\té\x85\u2028", max_size=60))
def test_any_punctuation_is_read_or_refused_with_a_place(data):
    _, problems = read(data.encode(), "f")
    assert all(problem.place.line >= 1 and problem.place.column >= 1 for problem in problems)


keys = st.text(alphabet="abcdefgh+0123456789 é", min_size=1, max_size=8)


@given(tree=st.recursive(keys, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=20))
def test_what_json_writes_is_read_as_its_texts(tree):
    import json

    def plain(node):
        match node:
            case Text():
                return node.value
            case Items():
                return [plain(entry) for entry in node.nodes]
            case Fields():
                return {key.value: plain(entry) for key, entry in node.entries}

    root, problems = read(json.dumps(tree, ensure_ascii=False).encode(), "f")
    assert problems == ()
    assert plain(root) == tree


def test_a_warning_keeps_no_file_from_being_used():
    problems = Problems()
    problems.warn(Place("a.yaml", 1, 1), "odd", "odd")
    assert not problems
    assert [str(problem) for problem in problems.found] == ["a.yaml:1:1: warning: odd"]
    problems.add(Place("a.yaml", 1, 2), "wrong", "wrong")
    assert problems


@given(
    items=st.lists(
        st.recursive(
            st.text(alphabet="ab~ é", max_size=4),
            lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("xyz", max_size=2), inner)),
            max_leaves=8,
        ),
        max_size=6,
    )
)
def test_a_long_list_reads_like_a_short_one(items):
    data = json.dumps({"before": "x", "items": items, "after": [1, [2]]}, ensure_ascii=False).encode()
    short, problems = document.read(data, "f.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "LONG", 0)
        long, problems_of_long = document.read(data, "f.yaml")
    assert problems == problems_of_long
    nodes, folded = short.get("items").nodes, long.get("items").nodes
    assert isinstance(folded, document.Folded)
    assert tuple(folded) == nodes
    assert (len(folded), folded[-2:], folded[:1]) == (len(nodes), nodes[-2:], nodes[:1])
    assert long.get("after").place == short.get("after").place
    assert tuple(long.get("after").nodes) == short.get("after").nodes
