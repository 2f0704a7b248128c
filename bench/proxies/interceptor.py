"""Interceptor itself, started as a user starts it, metrics on, the journal written."""

import shlex
import subprocess
import sys
from pathlib import Path

from bench.contestant import Contestant, Launch, Site
from bench.rules import APPS, as_interceptor

_SOURCE = Path(__file__).resolve().parents[2]
OTHER_PYTHON = "python-1000-relaxed"
_RULE_COUNTS = (10, 1_000, 10_000)
_CONFIG = """
country: HU
extensions: ["2xxx", "9xxx"]
time_zone: UTC
workers: {workers}
state: state
rules: rules
policy: {policy}
listeners:
  commands: {{kind: command, address: "127.0.0.1:{port}"}}
admin: "127.0.0.1:{admin}"
clusters:
  pbx: {{endpoints: ["http://127.0.0.1:{backend}"]}}
default_cluster: pbx
apps:
{apps}
defaults: {{command: deny, notification: allow, verb: deny}}
limits: {{queued: 4096, upstream_connections: 512}}
journal: {{directory: state/journal, durability: {durability}, file_size: 256MiB, files: 2}}
"""


def contestants(baseline: Path | None = None, python: str = "") -> list[Contestant]:
    """Every number of rules with both durabilities; two workers; the same of another checkout where one is named.

    ``python`` is another interpreter to run one of them with, as ``TITLE=COMMAND``.
    """
    found = []
    for durability in ("relaxed", "strict"):
        for rules in _RULE_COUNTS:
            key, title = f"{rules}-{durability}", f"{rules:,} rules, journal `{durability}`"
            found.append(make(f"interceptor-{key}", f"**Interceptor, {title}**", rules, durability))
            if baseline:
                found.append(make(f"baseline-{key}", f"baseline, {title}", rules, durability, source=baseline))
    for workers, title in ((1, "one worker on all cores"), (2, "two workers on all cores")):
        key = f"workers-{workers}"
        found.append(
            make(key, f"Interceptor, 1,000 rules, `relaxed`, {title}", 1_000, "relaxed", workers, all_cores=True)
        )
    title, named, command = python.partition("=")
    if named:
        title = f"**Interceptor, 1,000 rules, journal `relaxed`**, {title}"
        found.append(make(OTHER_PYTHON, title, 1_000, "relaxed", interpreter=tuple(shlex.split(command))))
    return found


def make(
    key: str,
    title: str,
    rules: int,
    durability: str,
    workers: int = 1,
    *,
    source: Path = _SOURCE,
    all_cores: bool = False,
    wrapper: tuple[str, ...] = (),
    interpreter: tuple[str, ...] = (sys.executable,),
) -> Contestant:
    """One configuration; ``wrapper`` stands between the interpreter and ``-m interceptor``, for a profiler."""

    def prepare(site: Site) -> Launch:
        command = launch(site, rules, durability, workers, wrapper=wrapper, interpreter=interpreter)
        return Launch(command, site.spare_port, "/readyz", source, environment(source), seconds_to_start=120.0)

    return Contestant(key, title, prepare, rules=rules, all_cores=all_cores)


def launch(
    site: Site,
    rules: int,
    durability: str,
    workers: int = 1,
    *,
    policy: str = "{emergency: unchecked}",
    wrapper: tuple[str, ...] = (),
    interpreter: tuple[str, ...] = (sys.executable,),
) -> list[str]:
    """Write what it needs into the site's folder; the command that starts it."""
    config = write_config(site, rules, durability, workers, policy)
    return [*interpreter, *wrapper, "-m", "interceptor", "run", "--config", str(config)]


def environment(source: Path = _SOURCE) -> dict[str, str]:
    """Where it finds its code and the passwords of the apps."""
    return {"PYTHONPATH": str(source)} | {f"{name.upper()}_PASSWORD": password for name, password in APPS.items()}


def write_config(site: Site, rules: int, durability: str, workers: int, policy: str = "{}") -> Path:
    """Write ``config.yaml`` and its rules into the site's folder."""
    (site.folder / "rules").mkdir(parents=True, exist_ok=True)
    (site.folder / "rules" / "10-dialling.yaml").write_text(as_interceptor(rules))
    apps = "\n".join(
        f'  {name}: {{sources: ["127.0.0.0/8"], username: {name}, password: {{env: {name.upper()}_PASSWORD}}, '
        f'url: "http://127.0.0.1:{site.backend_port}/pbx"}}'
        for name in APPS
    )
    config = site.folder / "config.yaml"
    config.write_text(
        _CONFIG.format(
            workers=workers,
            port=site.port,
            admin=site.spare_port,
            backend=site.backend_port,
            apps=apps,
            durability=durability,
            policy=policy,
        )
    )
    return config


def version() -> str:
    """The revision of the checkout, or the version where there is none."""
    command = ["git", "-C", str(_SOURCE), "describe", "--always", "--dirty"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"
