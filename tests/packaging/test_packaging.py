"""What leaves the house: the environment, the wheel, the source archive, the image."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REALLY = os.environ.get("CI") == "true"
SECRETS = {"PBX_PASSWORD": "p", "CRM_PASSWORD": "c", "MARKETING_PASSWORD": "m"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

builds = pytest.mark.skipif(
    find_spec("hatchling") is None or find_spec("build") is None,
    reason="the build back end is in the environment of `make env`",
)


def run(*command, cwd, timeout=55, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV", "PYTEST"))}
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def share_dependencies(python):
    """Let an environment see the libraries of this one, after its own packages and without our editable copy."""
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd="/").strip()
    # A plain path in a .pth file: the .pth files inside that folder, the editable one among them, are not read.
    Path(site, "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")


def locked(name):
    """The versions in a constraints file, by distribution; several where they differ between Pythons."""
    found = {}
    for line in (ROOT / name).read_text().splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==(\S+)", line):
            found.setdefault(match[1], set()).add(match[2])
    return found


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The source archive, and the wheel that is built from it and not from the checkout."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (sdist,) = out.glob("*.tar.gz")
    (wheel,) = out.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def elsewhere(archives, tmp_path_factory):
    """An environment far from the checkout with nothing of ours but the wheel: its folder of commands."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env/bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", archives[1], cwd=folder)
    share_dependencies(python)
    return folder / "env/bin"


@builds
def test_the_source_archive_holds_what_a_build_and_a_reader_need(archives):
    with tarfile.open(archives[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "config.example.yaml", "Makefile", "constraints.txt"} <= names
    assert any(name.startswith("rules/") for name in names)
    assert any(name.startswith("tests/") for name in names)
    assert not any(re.search(r"__pycache__|\.pyc$|^\.venv|^state/|^\.git/", name) for name in names)


@builds
def test_the_wheel_holds_the_package_with_the_example_and_nothing_else(archives):
    with zipfile.ZipFile(archives[1]) as archive:
        names = archive.namelist()
    shipped = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "rules").rglob("*.*"))
    assert {f"interceptor/shipped/{name}" for name in ("config.example.yaml", *shipped)} <= set(names)
    assert "interceptor/py.typed" in names
    assert {name.partition("/")[0] for name in names} == {"interceptor", names[-1].partition("/")[0]}
    assert not [name for name in names if name.endswith(".pyc") or "/tests/" in name]


@builds
def test_the_wheel_alone_runs_elsewhere(elsewhere, tmp_path):
    assert run(elsewhere / "interceptor", "version", cwd=tmp_path).startswith("interceptor ")
    where = run(
        elsewhere / "python", "-c", "from interceptor.cli.shipped import shipped; print(shipped())", cwd=tmp_path
    )
    shipped = Path(where.strip())
    assert shipped.is_relative_to(elsewhere.parent)
    for what in ("rules", "config.example.yaml"):
        told = run(elsewhere / "interceptor", "check", "--strict", shipped / what, cwd=tmp_path, **SECRETS)
        assert told.splitlines()[-1].startswith("ok: ")


@builds
@pytest.mark.skipif(find_spec("interceptor.cli.demo") is None, reason="there is no demo yet")
def test_the_wheel_alone_plays_the_demo(elsewhere, tmp_path):
    told = run(elsewhere / "interceptor", "demo", "--once", cwd=tmp_path)
    assert told
    assert "Traceback" not in told


# --- the image ------------------------------------------------------------------------------------------------------


def instructions():
    """The Dockerfile's instructions, continued lines joined, stage by stage."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE))
    stages = []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, rest))
    return stages


@builds
@pytest.mark.timeout(400)
def test_the_install_steps_of_the_image_work_in_an_empty_environment(tmp_path):
    work = tmp_path / "src"
    work.mkdir()

    def here(text):
        return text.replace("/opt/", f"{tmp_path}/opt/")

    for word, rest in instructions()[0]:
        if word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, work / target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / source, work)
        elif word == "RUN":
            command = here(rest)
            if command.startswith("python "):
                command = f"{shlex.quote(sys.executable)} {command.removeprefix('python ')}"
            if "--require-hashes" in command and not REALLY:
                share_dependencies(command.split()[0])  # the libraries of this environment stand in for the downloads
                continue
            run("bash", "-euc", command, cwd=work, timeout=350)
    assert run(tmp_path / "opt/interceptor/bin/interceptor", "version", cwd=tmp_path).startswith("interceptor ")


def test_the_image_runs_without_rights_and_without_secrets():
    final = instructions()[-1]
    words = dict(final)
    assert words["USER"].split(":")[0] not in {"root", "0"}
    assert words["FROM"] == "python:3.12-slim"
    assert "HEALTHCHECK" in words
    assert words["ENTRYPOINT"] == '["interceptor"]'
    assert not re.search(r"password|secret|token", " ".join(rest for _, rest in final), re.IGNORECASE)
    ports = {
        line.rpartition(":")[2].strip(' "')
        for line in re.findall(r"127\.0\.0\.1:77[89]\d", (ROOT / "config.example.yaml").read_text())
    }
    assert set(words["EXPOSE"].split()) <= ports


def test_the_image_is_built_from_what_the_ignore_file_lets_in():
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for word, rest in instructions()[0] if word == "COPY" for source in rest.split()[:-1]}
    assert copied == let_in


# --- the lock -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.name for path in ROOT.glob("constraints*.txt")))
def test_a_constraints_file_has_exact_versions_with_hashes_and_names_no_host(name):
    text = (ROOT / name).read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).strip())
    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z0-9,-]+\])?==[^\s;]+( ; .+)? \\\n", entry), entry[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry[:80]
    assert not re.search(
        r"://|--index|--extra|--find-links|--trusted| @ |(?<![a-z])/(?:work|home|root|tmp|opt)\b", text
    )


def test_the_constraints_files_agree():
    everything = locked("constraints-dev.txt")
    for name in ("constraints.txt", "constraints-build.txt"):
        for distribution, versions in locked(name).items():
            assert versions <= everything[distribution], (name, distribution)


def test_every_dependency_is_locked():
    groups = dict(PROJECT["dependency-groups"])
    wanted = {
        "constraints-fuzz.txt": groups.pop("fuzz"),  # not in the environment of every machine
        "constraints.txt": PROJECT["project"]["dependencies"],
        "constraints-build.txt": [*groups["build"], *PROJECT["build-system"]["requires"]],
        "constraints-dev.txt": [each for group in groups.values() for each in group if isinstance(each, str)],
    }
    for name, requirements in wanted.items():
        have = {each.lower().replace("_", "-") for each in locked(name)}
        for requirement in requirements:
            assert re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower() in have, (name, requirement)


def test_uvloop_is_held_back_where_mitmproxy_cannot_start_with_it():
    assert all(tuple(map(int, version.split("."))) < (0, 22) for version in locked("constraints.txt")["uvloop"])


# --- the Makefile ---------------------------------------------------------------------------------------------------

TOOLS = ("bash", "sh", "make", "cat", "echo", "touch", "rm", "mkdir", "env", "dirname", "sed")


@pytest.fixture
def bare(tmp_path):
    """A checkout on a machine that has no Python but shims that do not run."""
    for name in ("Makefile", "pyproject.toml", "constraints-dev.txt", "constraints-uv.txt"):
        shutil.copy(ROOT / name, tmp_path)
    commands = tmp_path / "bin"
    commands.mkdir()
    for tool in TOOLS:
        if found := shutil.which(tool):
            (commands / tool).symlink_to(found)
    for shim in ("python3", "python3.12", "python3.13"):
        script(commands / shim, "echo 'pyenv: command not found' >&2; exit 127")
    return tmp_path


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


# Making an environment with pip in it takes seconds; a bare one shows as well that it was asked for.
BARE = f"{shlex.quote(sys.executable)} -m venv --without-pip .venv"


def make(folder, *arguments):
    return subprocess.run(
        [shutil.which("make"), *arguments],
        cwd=folder,
        env={"PATH": str(folder / "bin"), "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )


def test_without_any_python_make_says_in_one_sentence_what_to_do(bare):
    done = make(bare, "env")
    assert done.returncode != 0
    sentences = [line for line in done.stderr.splitlines() if line.startswith("make env: ")]
    assert len(sentences) == 1
    assert "PYTHON=" in sentences[0]
    assert not (bare / ".venv/.installed").exists()


def test_make_passes_over_a_shim_that_does_not_run(bare):
    script(bare / "bin/python3.13", f'exec {shlex.quote(sys.executable)} "$@"')
    done = make(bare, "venv")
    assert done.returncode == 0, done.stderr
    assert "found as python3.13" in done.stdout
    again = make(bare, "venv")
    assert (again.returncode, again.stdout) == (0, "")


def test_make_asks_uv_for_a_python_where_there_is_none(bare):
    script(bare / "bin/uv", f'echo "uv $*" >> uv.log; [ "$1" = venv ] && exec {BARE}; exit 0')
    done = make(bare, "venv")
    assert done.returncode == 0, done.stderr
    assert "uv venv -q --clear --seed --python 3.12 .venv" in (bare / "uv.log").read_text()


def test_make_takes_the_python_it_is_told(bare):
    script(bare / "bin/mine", f'[ "$1 $2" = "-m venv" ] && exec {BARE}; exec {shlex.quote(sys.executable)} "$@"')
    done = make(bare, "venv", "PYTHON=mine")
    assert done.returncode == 0, done.stderr
    assert "found as mine" in done.stdout


def test_make_lists_its_targets():
    told = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True).stdout
    for target in ("env", "demo", "run", "test", "check", "bench", "bench-peers", "fuzz", "cover", "clean"):
        assert f"  make {target} " in told, target
