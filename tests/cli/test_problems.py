"""How commands tell of files that cannot be read, or not be written."""

import pytest


@pytest.mark.parametrize(
    "arguments",
    [
        ("test", "--junit", "build/x"),
        ("check", "--no-secrets", "config.yaml", "--output", "build/x"),
        ("check", "--no-secrets", "config.yaml", "--format", "sarif", "--output", "build/x"),
        ("schema", "--output", "build/x"),
    ],
    ids=" ".join,
)
def test_a_file_that_cannot_be_written_is_told_as_such(command, place, arguments):
    done = command(*arguments, cwd=place)
    assert (done.returncode, done.stderr) == (2, "cannot write `build/x`: no such file or directory\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("simulate", "app", "--address", "127.0.0.1:0", "--scenario", "nope.yaml"),
        ("simulate", "play", "nope.yaml"),
        ("simulate", "break", "nope.yaml"),
        ("simulate", "load", "--config", "nope.yaml"),
    ],
    ids=" ".join,
)
def test_a_file_that_cannot_be_read_is_told_as_such(command, place, arguments):
    done = command(*arguments, cwd=place)
    assert (done.returncode, done.stderr) == (2, "cannot read `nope.yaml`: no such file or directory\n")


def test_an_app_that_is_not_in_the_scenario_is_told_before_anybody_listens(command, place):
    (place / "x.yaml").write_text("scenario: x\nsteps: [{wait: 1s}]\n")
    done = command("simulate", "app", "--address", "127.0.0.1:0", "--scenario", "x.yaml", cwd=place)
    assert (done.returncode, done.stdout) == (2, "")
    assert "`x.yaml` has no app `crm`" in done.stderr


def test_an_address_that_cannot_be_had_is_told_as_such(command, place):
    done = command("simulate", "app", "--address", "192.0.2.1:80", cwd=place)
    assert done.returncode == 2
    assert done.stderr.startswith("cannot listen: ")
