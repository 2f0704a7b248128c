"""Scenarios by the paths that somebody names."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from interceptor.simulator.scenario import Scenario


def read_scenarios(paths: Sequence[Path]) -> "list[Scenario]":
    """Of files as named, of folders every ``*.yaml`` below, in order; exits with 2 where there is none."""
    files = [file for path in paths for file in (sorted(path.rglob("*.yaml")) if path.is_dir() else [path])]
    if not files:
        typer.echo("there is no *.yaml file to play", err=True)
        raise typer.Exit(2)
    return [read(file) for file in files]


def read(file: Path) -> "Scenario":
    """One scenario."""
    from interceptor.simulator.scenario import read_scenario

    return read_scenario(file.read_bytes(), str(file))
