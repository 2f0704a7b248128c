"""The JSON Schema of rules files takes what the readers take, and underlines what they refuse by its form."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from interceptor.document import Fields, Items, Text, read
from interceptor.policy import actions, matchers
from interceptor.policy.manual import manual
from interceptor.policy.rules import DECLARATIONS
from interceptor.policy.schema import schema
from interceptor.policy.shapes import Words
from interceptor.wire import knowledge
from tests.policy.test_properties import rules

ROOT = Path(__file__).parents[2]
BAD = Path(__file__).parent / "bad"
WRITTEN = ROOT / "interceptor" / "policy" / "schema.json"
VALIDATOR = Draft202012Validator(json.loads(WRITTEN.read_text(encoding="utf-8")))

# What an editor can see: the form. What is beyond it (names of apps, spans that make sense) `interceptor check` tells.
SEEN = (
    *("allow-false", "answer-key", "answer-empty", "answer-text", "answer-two-in-one", "answer-unknown-verb"),
    *("app-empty-list", "app-empty-mapping", "app-exists", "app-nothing", "app-test", "deny-text", "deny-unknown-key"),
    *("deny-code-large", "deny-code-small", "deny-code-text", "file-is-a-list", "header-empty", "header-test"),
    *("mode-of-file", "mode-of-rule", "name-is-a-list", "name-missing", "name-nothing", "no-action", "number-class"),
    *("number-country", "number-country-unknown", "number-exists", "number-nested-test", "number-test", "number-type"),
    *("on-empty-list", "on-mapping", "on-missing", "on-unknown", "parameter-test", "parameter-exists", "reroute-key"),
    *("reroute-list", "reroute-two", "rewrite-empty", "rewrite-text", "rewrite-unknown", "rule-is-text", "rules-empty"),
    *("rewrite-replace-incomplete", "rewrite-set-list", "tag-mapping", "time-day", "time-unknown-key", "time-text"),
    *("two-endings", "unknown-action", "unknown-top-key", "when-empty", "when-misspelled-app", "when-text"),
    *("when-misspelled-dimension", "when-nothing"),
)


def plain(node):
    """A tree as an editor has it, after YAML 1.2: what is not quoted may be a number, a truth value or nothing."""
    match node:
        case Fields():
            return {key.value: plain(value) for key, value in node.entries}
        case Items():
            return [plain(each) for each in node.nodes]
        case Text(value=value, quoted=False) if re.fullmatch("[+-]?[0-9]+", value):
            return int(value)
        case Text(value=value, quoted=False) if re.fullmatch(r"[+-]?[0-9]+\.[0-9]*|[0-9]+e[0-9]+", value):
            return float(value)
        case Text(value="true" | "false" as value, quoted=False):
            return value == "true"
        case Text(value="" | "null", quoted=False):
            return None
        case Text(value=value):
            return value


def faults(data):
    root, _ = read(data, "f")
    return [error.message for error in VALIDATOR.iter_errors(plain(root))]


def test_the_file_is_up_to_date():
    words = Words(
        knowledge.COMMANDS,
        knowledge.NOTIFICATIONS,
        knowledge.VERBS,
        tuple(sorted(knowledge.SPELLED_NAMES)),
    )
    expected = json.dumps(schema(words), indent=2, ensure_ascii=False) + "\n"
    assert WRITTEN.read_text(encoding="utf-8") == expected, (
        "run: interceptor schema --output interceptor/policy/schema.json"
    )


def test_it_is_a_schema():
    Draft202012Validator.check_schema(VALIDATOR.schema)


def test_it_has_every_key_of_the_language_with_a_word_about_it():
    definitions = VALIDATOR.schema["$defs"]
    assert set(VALIDATOR.schema["properties"]) == {"rules", "mode", *DECLARATIONS}
    rule = definitions["rule"]["properties"]
    assert set(rule) == {"name", "on", "when", "mode", *actions.ACTIONS}
    assert {*matchers.MATCHERS, "any", "all", "not", "Dialed"} <= set(definitions["when"]["properties"])
    told = [*rule.values(), *(definitions["when"]["properties"][key] for key in matchers.MATCHERS)]
    assert all(each.get("description") for each in told)


@pytest.mark.parametrize(
    "path", sorted(path for path in (ROOT / "rules").glob("**/*.yaml") if not path.name.endswith(".test.yaml"))
)
def test_the_shipped_rules_fit(path):
    assert faults(path.read_bytes()) == []
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    up = "/".join([".."] * len(path.relative_to(ROOT).parents[:-1]))
    assert first == f"# yaml-language-server: $schema={up}/interceptor/policy/schema.json"


def examples():
    """Every indented block of the manual that is a whole rules file, rules, or parts of a rule."""
    for block in re.findall("(?:^    .*\n+)+", manual(), re.MULTILINE):
        text = re.sub("^    ", "", block, flags=re.MULTILINE)
        if re.match("rules:|mode:|holidays:|invariants:", text):
            yield text
        elif text.startswith("- name:"):
            yield f"rules:\n{text}"
        elif re.match("when:|on:|reroute:|rewrite:|answer:", text):
            for part in re.split(r"\n(?=\w)", text.strip()):
                key = part.partition(":")[0]
                rest = {"name": "it", "on": "Call", "tag": "x"}
                rest.pop(key, None)
                rule = "".join(f"{name}: {value}\n" for name, value in rest.items()) + part
                yield "rules:\n  -\n    " + rule.replace("\n", "\n    ") + "\n"


def test_the_examples_of_the_manual_fit():
    found = list(examples())
    assert [(example, faults(example.encode())) for example in found if faults(example.encode())] == []
    assert len(found) >= 30


def test_the_recipes_of_the_cookbook_fit():
    page = (ROOT / "docs" / "cookbook.md").read_text(encoding="utf-8")
    found = re.findall(r'```yaml title="[^"]+(?<!\.test)\.yaml"\n(.*?)```', page, re.DOTALL)
    assert [(each, faults(each.encode())) for each in found if faults(each.encode())] == []
    assert len(found) >= 15


@given(written=rules.filter(bool))
def test_whatever_compiles_fits(written):
    named = [{"name": str(index), **rule} for index, rule in enumerate(written)]
    assert list(VALIDATOR.iter_errors({"rules": named})) == []


@pytest.mark.parametrize("name", SEEN)
def test_a_fault_of_form_is_underlined(name):
    assert faults((BAD / f"{name}.bad.yaml").read_bytes())


def test_what_is_only_warned_about_fits():
    for path in BAD.glob("unquoted-*.bad.yaml"):
        assert path.name == "unquoted-null.bad.yaml" or faults(path.read_bytes()) == [], path.name


def test_names_of_a_configuration_are_offered():
    words = Words(("Call",), (), ("Route",), ("Dialed",), apps=("crm",), clusters=("main",), tables=("vip",))
    validator = Draft202012Validator(schema(words))

    def fits(**keys):
        return validator.is_valid({"rules": [{"name": "it", "on": "Call", **keys}]})

    assert fits(when={"app": "crm", "number": {"table": "vip"}}, reroute="main")
    assert not fits(when={"app": "crmm"}, allow=True)
    assert not fits(when={"number": {"table": "vipp"}}, allow=True)
    assert not fits(reroute="mainn")
    assert not fits(reroute={"table": "vipp", "column": "x"})
    assert not fits(on="Cal", allow=True)
