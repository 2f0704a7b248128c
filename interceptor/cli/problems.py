"""How a command tells what is wrong with a file, and what it exits with: 1 for problems, 2 for what cannot be read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from interceptor.values import ProblemsError


@contextmanager
def told(names: dict[str, Path] | None = None) -> Iterator[None]:
    """Turn the faults of files into lines for a person and an exit code.

    ``names`` maps the beginnings of file names in problems to the folders they stand for, as the person named them.
    """
    try:
        yield
    except ProblemsError as fault:
        for problem in fault.problems:
            place = problem.place
            typer.echo(f"{_shown(place.file, names or {})}:{place.line}:{place.column}: {problem.message}")
        count = len(fault.problems)
        typer.echo(f"{count} problem{'' if count == 1 else 's'} found", err=True)
        raise typer.Exit(1) from None
    except OSError as fault:
        reason = (fault.strerror or str(fault)).lower()
        typer.echo(f"cannot read `{fault.filename}`: {reason}" if fault.filename else str(fault), err=True)
        raise typer.Exit(2) from None


def _shown(file: str, names: dict[str, Path]) -> str:
    for beginning, folder in names.items():
        if file == beginning or file.startswith(f"{beginning}/"):
            return f"{folder}{file.removeprefix(beginning)}"
    return file
