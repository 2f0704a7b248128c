"""The command line, and a small site to run it in."""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest
from typer.testing import CliRunner

from interceptor.cli.main import app

ROOT = Path(__file__).parents[2]
SURROUNDINGS = {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1", "PBX_PW": "x"}
CONFIG = """\
country: HU
time_zone: Europe/Budapest
listeners:
  commands: {kind: command, address: "127.0.0.1:0"}
clusters:
  pbx: {endpoints: ["http://127.0.0.1:9780"], credentials: {username: u, password: {env: PBX_PW}}}
apps:
  crm: {sources: ["10.0.0.0/8"]}
"""
RULES = """\
rules:
  - name: the-crm-may-look
    on: ListExtensions
    when: {app: crm}
    allow:
  - name: emergency-numbers-always-pass
    on: [command, verb]
    when: {number: {class: emergency}}
    allow: true
"""


@pytest.fixture(scope="session", autouse=True)
def authority(one_authority):
    """One for all whom a test puts on a stage."""


class Done(NamedTuple):
    """How a run ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def command():
    """Run `interceptor` with these arguments in a folder, to its end.

    It runs in this process, from the arguments to the exit code: starting one takes longer than nearly all that is
    asked here. `test_main.py` asks processes.
    """

    def run(*arguments, cwd, stdin="", **environment):
        with contextlib.chdir(cwd), mock.patch.dict(os.environ, SURROUNDINGS | environment):
            done = CliRunner().invoke(app, list(map(str, arguments)), input=stdin, prog_name="interceptor")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Done(done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def place(tmp_path):
    """A folder with a configuration and one rule: `CONFIG` and `RULES`."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "10-look.yaml").write_text(RULES)
    return tmp_path
