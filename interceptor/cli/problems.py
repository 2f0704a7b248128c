"""How a command tells what is wrong with a file, and what it exits with: 1 for problems, 2 for what cannot be read."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import typer
from msgspec.structs import replace

from interceptor.values import Problem, ProblemsError


@contextmanager
def told(names: Mapping[str, Path] | None = None) -> Iterator[None]:
    """Turn the faults of files into lines for a person and an exit code.

    ``names`` maps the beginnings of file names in problems to the folders they stand for, as the person named them.
    """
    try:
        yield
    except ProblemsError as fault:
        for problem in fault.problems:
            typer.echo(str(named(problem, names or {})))
        count = len(fault.problems)
        typer.echo(f"{count} problem{'' if count == 1 else 's'} found", err=True)
        raise typer.Exit(1) from None
    except OSError as fault:
        reason = (fault.strerror or str(fault)).lower()
        typer.echo(f"cannot read `{fault.filename}`: {reason}" if fault.filename else str(fault), err=True)
        raise typer.Exit(2) from None


def write(file: Path, text: str) -> None:
    """Write what somebody wants in a file; exits with 2 where it cannot be written."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as fault:
        typer.echo(f"cannot write `{file}`: {(fault.strerror or str(fault)).lower()}", err=True)
        raise typer.Exit(2) from None


def named(problem: Problem, names: Mapping[str, Path]) -> Problem:
    """The problem with its file named as :func:`named_file` does."""
    return replace(problem, place=replace(problem.place, file=named_file(problem.place.file, names)))


def named_file(file: str, names: Mapping[str, Path]) -> str:
    """The file as the person named it. What a terminal cannot show of a name is written as escapes."""
    for beginning, folder in names.items():
        if file == beginning or file.startswith(f"{beginning}/"):
            file = f"{folder}{file.removeprefix(beginning)}"
            break
    return file.encode("utf-8", "backslashreplace").decode("utf-8")
