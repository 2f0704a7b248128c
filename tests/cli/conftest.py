"""The command line as a process, and a small site to run it in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.fixture(scope="session")
def command():
    """Run `interceptor` with these arguments in a folder, and wait for its end."""

    def run(*arguments, cwd, stdin="", **environment):
        return subprocess.run(
            [sys.executable, "-m", "interceptor", *map(str, arguments)],
            cwd=cwd,
            input=stdin,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "COLUMNS": "200",
                "NO_COLOR": "1",
                "PBX_PW": "x",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    return run


@pytest.fixture
def place(tmp_path):
    """A folder with a configuration and one rule: `CONFIG` and `RULES`."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "10-look.yaml").write_text(RULES)
    return tmp_path
