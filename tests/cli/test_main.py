"""The command line, through its door: a process, its output and what it exits with; variants in this process."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from interceptor import __version__
from interceptor.identity import ScryptHash, read_scrypt

ROOT = Path(__file__).parents[2]
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


def interceptor(*arguments, cwd, stdin="", **environment):
    return subprocess.run(
        [sys.executable, "-m", "interceptor", *map(str, arguments)],
        cwd=cwd,
        input=stdin,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.fixture
def site(tmp_path):
    """A folder with a configuration and one rule."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "10-look.yaml").write_text(RULES)
    return tmp_path


def test_help_names_every_subcommand_and_answers_at_once(tmp_path):
    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = spent()
    done = interceptor("--help", cwd=tmp_path)
    # 0.2 s of a processor; the bound leaves room for a slow one, and none for importing mitmproxy. What passes on the
    # clock meanwhile is a matter of who else is running.
    assert spent() - before < 0.8
    assert done.returncode == 0
    for name in ("run", "check", "demo", "simulate", "hash-password", "health", "version"):
        assert f" {name} " in done.stdout


def test_help_imports_nothing_heavy(tmp_path):
    heavy = "{'mitmproxy', 'aiohttp', 'lxml', 'yaml'}"
    code = f"import sys, interceptor.cli.main; print([name for name in sys.modules if name in {heavy}])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_version_says_which(tmp_path):
    done = interceptor("version", cwd=tmp_path)
    assert done.stdout.startswith(f"interceptor {__version__}, Python 3.")
    assert interceptor("--version", cwd=tmp_path).stdout == done.stdout


def test_a_good_site_is_ok(site):
    done = interceptor("check", cwd=site, PBX_PW="x")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ok: 2 rules in 1 file, revision ")


def test_a_secret_that_is_not_there_is_a_problem_unless_told_otherwise(site):
    done = interceptor("check", cwd=site)
    assert done.returncode == 1
    assert "config.yaml:6:90: the environment variable `PBX_PW` is not set" in done.stdout
    assert interceptor("check", "--no-secrets", cwd=site).returncode == 0


def test_rules_are_checked_with_the_configuration_beside_them(command, site):
    for path in ("rules", "rules/10-look.yaml", site / "rules"):
        done = command("check", path, cwd=site)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    done = command("check", site / "rules", "--config", site / "config.yaml", cwd="/")
    assert done.returncode == 0


def test_problems_of_rules_are_told_with_their_places_and_exit_with_1(command, site):
    (site / "rules" / "20-bad.yaml").write_text(
        RULES.replace("app: crm", "app: crmm").replace("the-crm", "the-crm-too")
    )
    for path in ("rules", site / "rules"):
        done = command("check", path, cwd=site)
        assert done.returncode == 1
        first = done.stdout.splitlines()[0]
        assert first.startswith(f"{path}/20-bad.yaml:4:")
        assert "crmm" in first
        assert done.stderr.endswith("found\n")


def test_problems_of_the_configuration_are_all_told(site):
    (site / "config.yaml").write_text(CONFIG.replace("HU", "HUN").replace("10.0.0.0/8", "ten"))
    done = interceptor("check", "config.yaml", cwd=site, PBX_PW="x")
    assert done.returncode == 1
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == ["config.yaml:1:10", "config.yaml:8:19"]
    assert done.stderr == "2 problems found\n"


def test_a_rules_file_that_would_be_passed_over_is_a_problem(command, site):
    (site / "rules" / "30-late.yml").write_text(RULES)
    done = command("check", "rules", cwd=site)
    assert done.returncode == 1
    assert "rules/30-late.yml:1:1: only files named `*.yaml` are read" in done.stdout


def test_hidden_files_are_passed_over(command, site):
    (site / "rules" / ".10-look.yaml.swp").write_text("{")
    (site / "rules" / "..data").mkdir()
    (site / "rules" / "..data" / "10-look.yaml").write_text("{")
    assert command("check", "rules", cwd=site).returncode == 0


@pytest.mark.parametrize("path", ["nothing.yaml", "nothing"])
def test_what_is_not_there_exits_with_2(command, site, path):
    done = command("check", path, cwd=site)
    assert done.returncode == 2
    assert done.stderr == f"cannot read `{path}`: no such file or directory\n"


def test_rules_without_any_configuration_exit_with_2(command, tmp_path):
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    file = tmp_path / "a" / "b" / "c" / "rules.yaml"
    file.write_text(RULES)
    done = command("check", file, cwd=tmp_path / "a")
    assert done.returncode == 2
    assert "--config" in done.stderr


def test_a_hashed_password_is_what_the_configuration_takes(site):
    done = interceptor("hash-password", cwd=site, stdin="open sesame\n")
    assert done.returncode == 0
    read = read_scrypt(done.stdout)
    assert isinstance(read, ScryptHash)
    assert read.holds(b"open sesame")
    assert interceptor("hash-password", cwd=site, stdin="\n").returncode == 2


def test_health_without_a_server_is_1(site):
    (site / "config.yaml").write_text(CONFIG + 'admin: "127.0.0.1:1"\n')
    done = interceptor("health", cwd=site)
    assert done.returncode == 1
    assert done.stdout.startswith("no answer from 127.0.0.1:1")


def test_run_tells_the_problems_of_its_files_and_exits_with_1(site):
    (site / "config.yaml").write_text(CONFIG.replace("HU", "HUN"))
    done = interceptor("run", cwd=site, PBX_PW="x")
    assert done.returncode == 1
    assert "config.yaml:1:10: unknown country `HUN`" in done.stdout + done.stderr


def test_an_unknown_subcommand_is_a_mistake_of_use(tmp_path):
    assert interceptor("chekc", cwd=tmp_path).returncode == 2
