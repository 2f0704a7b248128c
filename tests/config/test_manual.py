"""The manual and the example say what the program knows, no more and no less."""

import re
from pathlib import Path

import pytest

from interceptor import document
from interceptor.config import KEYS
from interceptor.document import Fields, Items
from interceptor.settings import ForwardHeaders, Limits, Timeouts
from interceptor.wire.codes import Code, is_ours

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "docs/configuration.md").read_text()
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]*) \|", re.MULTILINE)


def test_every_key_is_in_the_manual_and_nothing_else():
    assert sorted(key for key, _ in ROW.findall(MANUAL)) == sorted(KEYS)


def test_every_key_is_in_the_example_or_in_a_comment_of_it():
    text = (ROOT / "config.example.yaml").read_text()
    root, problems = document.read(text.encode(), "config.example.yaml")
    assert problems == ()
    written = set(_paths(root, ""))
    commented = {line.lstrip("# ").partition(":")[0] for line in text.splitlines() if line.lstrip().startswith("#")}
    for key in KEYS:
        last = key.rpartition(".")[2]
        alternatives = {"file", "scrypt"}  # named in the comment beside `env`
        assert key in written or last in commented or last in alternatives, key
    assert {path for path in written if not path.startswith("apps.NAME.notifications.")} <= set(KEYS)


@pytest.mark.parametrize(("section", "kind"), [("limits", Limits), ("headers", ForwardHeaders), ("timeouts", Timeouts)])
def test_the_manual_gives_the_real_defaults(section, kind):
    real = kind()
    told = {key: default.strip("` ") for key, default in ROW.findall(MANUAL)}
    for field in kind.__struct_fields__:
        value = getattr(real, field)
        key = f"{section}.{field}"
        if hasattr(value, "first_byte"):
            assert told[f"{key}.first_byte"] == f"{value.first_byte:g}s"
            assert told[f"{key}.total"] == f"{value.total:g}s"
        else:
            assert told[key] in _spellings(value), key


def test_every_code_is_in_the_manual():
    text = (ROOT / "docs/codes.md").read_text()
    assert {int(code) for code in re.findall(r"\b[1-9]\d\d\b", text)} - {900} == set(map(int, Code))
    rows = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert {int(code) for code in Code if is_ours(code)} <= rows


def _spellings(value):
    if isinstance(value, bool):
        return {str(value).lower()}
    return {f"{value:g}s", str(value), f"{value // 1024}KiB", f"{value // (1 << 20)}MiB"}


def _paths(node, path):
    if isinstance(node, Items):
        for entry in node.nodes:
            yield from _paths(entry, f"{path}[]")
    elif isinstance(node, Fields) and not path.endswith("fallback[]"):
        for key, value in node.entries:
            named = "NAME" if path in {"listeners", "clusters", "apps"} else key.value
            here = f"{path}.{named}" if path else named
            if named != "NAME":
                yield here
            yield from _paths(value, here)
