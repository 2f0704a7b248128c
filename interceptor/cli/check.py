"""``interceptor check``: every problem of a configuration and its rules, each with its place, before it is used."""

import os
from pathlib import Path
from typing import Annotated

import typer

from interceptor.cli.problems import told

_NAMES_OF_CONFIG = ("config.yaml", "config.example.yaml")
_KEYS_OF_CONFIG = ("country", "time_zone", "listeners", "clusters", "apps")


def check(
    path: Annotated[
        Path | None, typer.Argument(help="A configuration file, a rules file or a folder of rules; else config.yaml.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", help="The configuration that the rules are for; else one that stands beside them."
        ),
    ] = None,
    secrets: Annotated[
        bool, typer.Option("--secrets/--no-secrets", help="Whether the passwords a configuration names must be there.")
    ] = True,
) -> None:
    """Tell every problem of a configuration or of rules as `file:line:column: message`.

    Exits with 0 when all is well, 1 when there are problems, 2 when a file cannot be read.
    """
    from interceptor.loading import load_settings

    with told():
        rules: Path | None = path
        if path is None or _is_config(path):
            config, rules = path or config or Path(_NAMES_OF_CONFIG[0]), None
        elif config is None:
            config = _beside(path)
        settings = load_settings(config, os.environ, secrets=secrets and rules is None)
        rules = rules or settings.rules
    with told({rules.resolve().name: rules}):
        _check_rules(rules, config)


def _check_rules(rules: Path, config: Path) -> None:
    from interceptor.loading import load_settings, policy_context, rule_sources
    from interceptor.policy import compile_policy

    settings = load_settings(config, os.environ, secrets=False)
    sources = rule_sources(rules)
    compiled = compile_policy(sources, policy_context(settings))
    count, files = len(compiled.rules), len(sources)
    typer.echo(
        f"ok: {count} rule{'' if count == 1 else 's'} in {files} file{'' if files == 1 else 's'}, "
        f"revision {compiled.revision}, with {config}"
    )


def _is_config(path: Path) -> bool:
    """Whether a file is a configuration and not rules: told by its keys, so that its name is free."""
    from interceptor.document import Fields, read

    if path.is_dir():
        return False
    root, _ = read(path.read_bytes(), str(path))
    if isinstance(root, Fields):
        return any(root.get(key) is not None for key in _KEYS_OF_CONFIG)
    return root is None and path.name in _NAMES_OF_CONFIG


def _beside(rules: Path) -> Path:
    for folder in (Path(), *rules.absolute().parents[:2]):
        for name in _NAMES_OF_CONFIG:
            if (folder / name).is_file():
                return folder / name
    typer.echo(f"which configuration are the rules in `{rules}` for? name it with --config", err=True)
    raise typer.Exit(2)
