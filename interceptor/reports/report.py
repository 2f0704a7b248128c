"""What there is to tell: problems, the files they could have been in, and one sentence for the end."""

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from interceptor.values import Problem, Severity

_NEAREST: Final = re.compile("did you mean `([^`]+)`")
_READ: Final = re.compile("`([^`]*)`")
_HERE: Final = re.compile("here is (?:`([^`]*)`|(a list|a mapping|nothing))")


class Report(Struct, frozen=True):
    """What one command found.

    ``files`` are all files that were looked at, as the person named them, and ``summary`` is one sentence. ``facts``
    are plain values about what was checked, for machines. With ``strict`` a warning is as bad as an error.
    """

    problems: tuple[Problem, ...]
    files: tuple[str, ...]
    summary: str = ""
    facts: Mapping[str, str | int] = {}
    strict: bool = False

    def fails(self, problem: Problem) -> bool:
        """Whether this problem is one that makes the command fail."""
        return problem.severity is Severity.ERROR or (self.strict and problem.severity is Severity.WARNING)

    @property
    def ok(self) -> bool:
        """Nothing makes the command fail."""
        return not any(self.fails(problem) for problem in self.problems)

    def count(self, severity: Severity) -> int:
        """How many problems are this severe."""
        return sum(problem.severity is severity for problem in self.problems)

    def by_file(self) -> dict[str, tuple[Problem, ...]]:
        """The problems of each file, of the good files as well."""
        found: dict[str, list[Problem]] = {file: [] for file in self.files}
        for problem in self.problems:
            found.setdefault(problem.place.file, []).append(problem)
        return {file: tuple(problems) for file, problems in found.items()}


def nearest_of(problem: Problem) -> str | None:
    """The spelling that the problem proposes (see ``document.nearest``), if it proposes one."""
    found = _NEAREST.search(problem.message)
    return found[1] if found else None


def read_of(problem: Problem) -> str | None:
    """What was read there: what the message says `here is`, else the first thing that it quotes."""
    found = _HERE.search(problem.message)
    if found:
        return found[1] if found[1] is not None else found[2]
    found = _READ.search(problem.message)
    return found[1] if found else None
