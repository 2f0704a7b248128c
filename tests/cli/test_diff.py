"""`interceptor diff` through its door: what it tells, in which form, and what it exits with."""

import json

import pytest

NIGHT = """\
rules:
  - name: quiet-nights
    on: ListExtensions
    when: {time: {days: mon-fri, hours: "18:00-24:00"}}
    deny: true
"""


@pytest.fixture
def two(place):
    """A site, and beside its rules others with one more in front."""
    (place / "new").mkdir()
    (place / "new" / "05-night.yaml").write_text(NIGHT)
    (place / "new" / "10-look.yaml").write_text((place / "rules" / "10-look.yaml").read_text())
    return place


def test_what_is_decided_differently_is_told_with_the_rules_that_do(command, two):
    done = command("diff", "rules", "new", cwd=two)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        (
            "command ListExtensions, mon-fri 18:00-24:00: allow → deny 306, "
            "because of new/05-night.yaml:2 quiet-nights (before: rules/10-look.yaml:2 the-crm-may-look)"
        ),
        "    for example command ListExtensions by crm, Tue 2024-01-02 18:00",
    ]


def test_equal_policies_have_no_difference(command, two):
    done = command("diff", "rules", "rules", "--fail-on", "any", cwd=two)
    assert (done.returncode, done.stdout) == (0, "no difference\n")


@pytest.mark.parametrize(
    ("sides", "fail_on", "code"),
    [
        (("rules", "new"), "newly-denied", 1),
        (("rules", "new"), "newly-allowed", 0),
        (("rules", "new"), "any", 1),
        (("new", "rules"), "newly-allowed", 1),
        (("new", "rules"), "newly-denied", 0),
    ],
)
def test_it_fails_on_what_was_asked(command, two, sides, fail_on, code):
    assert command("diff", *sides, "--fail-on", fail_on, cwd=two).returncode == code


def test_machines_get_json(command, two):
    done = command("diff", "rules", "new", "--format", "json", "--config", "config.yaml", cwd=two)
    found = json.loads(done.stdout)
    assert found["complete"] is True
    (change,) = found["changes"]
    assert (change["before"], change["after"], change["newly_denied"]) == ("allow", "deny 306", True)
    assert change["messages"] == ["command ListExtensions, mon-fri 18:00-24:00"]


def test_two_configurations_are_compared_with_their_own_rules(command, two):
    text = (two / "config.yaml").read_text()
    (two / "other.yaml").write_text(text + "rules: new\ndefaults: {notification: deny}\n")
    done = command("diff", "config.yaml", "other.yaml", cwd=two)
    assert "command ListExtensions, mon-fri 18:00-24:00: allow → deny 306" in done.stdout
    assert "any notification: allow → deny 306, because of the default" in done.stdout


@pytest.mark.parametrize(
    ("text", "told"),
    [("rules: [\n", "not YAML"), ("rules:\n  - {name: it, on: Cal, deny: true}\n", "unknown name `Cal`")],
)
def test_a_policy_with_problems_cannot_be_compared(command, two, text, told):
    (two / "new" / "05-night.yaml").write_text(text)
    done = command("diff", "rules", "new", cwd=two)
    assert done.returncode == 2
    assert told in done.stdout
    assert command("diff", "rules", "nowhere", cwd=two).returncode == 2
