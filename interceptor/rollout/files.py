"""The policy's files: whether they changed, and what stands in all of them at one moment.

A folder is looked at, not listened to: looking works on every file system, over symbolic links that are swapped (a
Kubernetes ConfigMap) and for editors that rename. What is compared is what the system tells about each file: its
identity, its size and when it was written. A set is used only when it was the same before and after it was read.
"""

import os
from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec import Struct

from interceptor.loading import TABLES, case_sources, rule_sources
from interceptor.policy import Source

_ENDINGS: Final = (".yaml", ".yml", ".csv", ".txt")

Fingerprint = tuple[tuple[str, int, int, int, int], ...]
"""Of each file its path below the policy's, its device, inode, size and time of writing in nanoseconds."""


Seen = tuple[Fingerprint, Fingerprint]
"""How the files of the policy and of the canary stood; nothing where there is no canary."""


class Files(Struct, frozen=True):
    """What was read at one moment: rules and tables as ``sources``, and the cases that stand beside them.

    ``canary`` is the same of the policy for a share of the calls, where there is one.
    """

    sources: tuple[Source, ...]
    cases: tuple[Source, ...]
    fingerprint: Fingerprint
    canary: "Files | None" = None

    @property
    def digest(self) -> str:
        """Of rules and tables: equal for the same texts under the same names, whatever the files' times."""
        return digest_of(self.sources)

    @property
    def seen(self) -> Seen:
        """How all of the files stood."""
        return self.fingerprint, () if self.canary is None else self.canary.fingerprint


class ChangingError(Exception):
    """The files changed while they were read."""


def fingerprint(path: Path) -> Fingerprint:
    """How the files of the policy at ``path`` stand now. Never raises: what cannot be seen has its error as size."""
    if not path.is_dir():
        beside = path.parent / TABLES
        return (_seen(path, path.name), *fingerprint(beside)) if beside.is_dir() else (_seen(path, path.name),)
    found: list[tuple[str, int, int, int, int]] = []

    def unseen(fault: OSError) -> None:
        found.append((str(fault.filename), 0, 0, -(fault.errno or 1), 0))

    for where, folders, names in os.walk(path, onerror=unseen):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.lower().endswith(_ENDINGS) and not name.startswith("."):
                place = Path(where, name)
                found.append(_seen(place, place.relative_to(path).as_posix()))
    return tuple(sorted(found))


def look(path: Path, canary: Path | None) -> Seen:
    """How the files of both stand now; never raises either."""
    return fingerprint(path), () if canary is None else fingerprint(canary)


def read_files(path: Path, canary: Path | None = None) -> Files:
    """Everything the policy at ``path``, and that at ``canary``, is made of, as it stood at one moment.

    Raises :class:`ChangingError` where it did not stand still, :class:`ProblemsError` and ``OSError`` as
    :func:`rule_sources` does.
    """
    before = fingerprint(path)
    try:
        sources = rule_sources(path)
        cases = case_sources(path)
        beside = None if canary is None else read_files(canary)
    except OSError:
        if fingerprint(path) != before:  # a file that was renamed meanwhile
            raise ChangingError from None
        raise
    if fingerprint(path) != before:
        raise ChangingError
    return Files(sources, cases, before, beside)


def digest_of(sources: tuple[Source, ...]) -> str:
    """Equal for the same texts under the same names in the same order."""
    digest = sha256()
    for source in sources:
        digest.update(f"{len(source.file)} {source.file} {len(source.data)} ".encode())
        digest.update(source.data)
    return digest.hexdigest()


def _seen(place: Path, name: str) -> tuple[str, int, int, int, int]:
    try:
        stat = place.stat()
    except OSError as fault:
        return name, 0, 0, -(fault.errno or 1), 0
    return name, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
