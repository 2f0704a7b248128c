"""The manual and the code that it describes do not drift apart."""

from pathlib import Path

from interceptor.policy import actions, matchers
from interceptor.policy.compiling import compile_policy
from interceptor.policy.context import Source
from interceptor.policy.manual import manual

ROOT = Path(__file__).parents[2]


def test_the_manual_is_what_the_docstrings_say():
    written = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    assert written == manual(), "run: python -m interceptor.policy.manual > docs/rules.md"


def test_every_matcher_and_action_has_its_page():
    page = manual()
    for module in (*matchers.LIST, *actions.LIST):
        assert f"`{module.KEY}`" in page


def test_every_complete_example_of_the_manual_compiles(context):
    """Indented examples that begin with `- name:` are rules."""
    import msgspec

    wide = msgspec.structs.replace(context, commands=(*context.commands, "ListExtensions", "Forward"))
    examples = [block for block in manual().split("\n\n") if block.startswith("    - name:")]
    for number, example in enumerate(examples):
        compile_policy([Source(f"{number}", b"rules:\n" + example.encode())], wide)
    assert len(examples) >= 7
