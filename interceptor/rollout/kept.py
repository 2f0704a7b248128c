"""The policies that were in force, kept on disk: the last good one for a cold start, those before it for a rollback.

``sets/000012.json`` names the files of one set and their digests, ``files/DIGEST`` holds each different file once, and
``in-force.json`` says which set counts. Laws of this module:

* Each file is written beside its place, synced, and moved there: a crash at any instant leaves the old or the new.
* What is read back is checked against its digest; a set that was damaged is told apart from one that is not there.
* It is bounded: the newest :data:`KEPT` sets, and the one in force, stay; files that none of them names are deleted.
"""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from interceptor.policy import Source

KEPT: Final = 20
_FORMAT: Final = 1


class DamagedError(Exception):
    """What was kept is not what was put there; the text says which file."""


class KeptFile(Struct, frozen=True):
    """One file of a set: its name, as in problems, its digest and its size in bytes."""

    file: str
    sha256: str
    size: int


class KeptSet(Struct, frozen=True):
    """One policy that was in force. ``at`` is when it came into force, in Unix time; ``by`` is what brought it.

    ``previous`` is the number of the set that it replaced, 0 where there was none or it was not kept. ``canary`` are
    the files, and ``canary_revision`` the revision, of a second policy that decided ``percent`` of the calls.
    """

    number: int
    revision: str
    at: float
    by: str
    previous: int
    files: tuple[KeptFile, ...]
    format: int = _FORMAT
    canary: tuple[KeptFile, ...] = ()
    canary_revision: str = ""
    percent: float = 0.0


class InForce(Struct, frozen=True):
    """Which set counts. ``held_against`` is the digest of the files that a rollback holds against, else ``""``."""

    number: int
    held_against: str = ""


class KeptPolicies:
    """The folder. Nobody else writes there; the methods block, and raise ``OSError`` where the disk does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sets = folder / "sets"
        self._files = folder / "files"

    def keep(
        self,
        sources: Sequence[Source],
        revision: str,
        *,
        at: float,
        by: str,
        previous: int,
        canary: Sequence[Source] = (),
        canary_revision: str = "",
        percent: float = 0.0,
    ) -> KeptSet:
        """Keep one more set; it counts once :meth:`put_in_force` says so."""
        for folder in (self._sets, self._files):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files, beside = (tuple(map(self._keep_file, each)) for each in (sources, canary))
        number = max(self._numbers(), default=0) + 1
        kept = KeptSet(
            number,
            revision,
            at,
            by,
            previous,
            files,
            canary=beside,
            canary_revision=canary_revision,
            percent=percent,
        )
        _write(self._set_file(number), msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")
        return kept

    def put_in_force(self, number: int, held_against: str = "") -> None:
        """Say which set counts from now on, and forget what is too old."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(self._folder / "in-force.json", msgspec.json.encode(InForce(number, held_against)) + b"\n")
        self._prune(number)

    def in_force(self) -> InForce | None:
        """Which set counts; ``None`` where none was kept yet. Raises :class:`DamagedError`."""
        try:
            data = (self._folder / "in-force.json").read_bytes()
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(data, type=InForce)
        except msgspec.DecodeError:
            raise DamagedError(f"`{self._folder / 'in-force.json'}` cannot be read") from None

    def find(self, number: int) -> KeptSet | None:
        """The set of this number; ``None`` where it is not kept. Raises :class:`DamagedError`."""
        place = self._set_file(number)
        try:
            kept = msgspec.json.decode(place.read_bytes(), type=KeptSet)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError:
            raise DamagedError(f"`{place}` cannot be read") from None
        if kept.number != number or kept.format != _FORMAT:
            raise DamagedError(f"`{place}` holds something else")
        return kept

    def history(self) -> tuple[KeptSet, ...]:
        """Every set that is kept, newest first; damaged ones are passed over."""
        found: list[KeptSet] = []
        for number in sorted(self._numbers(), reverse=True):
            try:
                kept = self.find(number)
            except DamagedError:
                continue
            if kept is not None:
                found.append(kept)
        return tuple(found)

    def sources(self, kept: KeptSet) -> tuple[Source, ...]:
        """The files of a set as they were. Raises :class:`DamagedError`."""
        return self._read_files(kept.files)

    def canary_sources(self, kept: KeptSet) -> tuple[Source, ...]:
        """The same of the canary that belonged to it."""
        return self._read_files(kept.canary)

    def _read_files(self, files: Sequence[KeptFile]) -> tuple[Source, ...]:
        found: list[Source] = []
        for file in files:
            place = self._files / file.sha256
            try:
                data = place.read_bytes()
            except FileNotFoundError:
                raise DamagedError(f"`{place}`, which was `{file.file}`, is gone") from None
            if sha256(data).hexdigest() != file.sha256:
                raise DamagedError(f"`{place}`, which was `{file.file}`, was changed")
            found.append(Source(file.file, data))
        return tuple(found)

    def _keep_file(self, source: Source) -> KeptFile:
        file = KeptFile(source.file, sha256(source.data).hexdigest(), len(source.data))
        place = self._files / file.sha256
        if not _is_whole(place, file):
            _write(place, source.data)
        return file

    def _set_file(self, number: int) -> Path:
        return self._sets / f"{number:06d}.json"

    def _numbers(self) -> list[int]:
        return [int(place.stem) for place in self._sets.glob("*.json") if place.stem.isdigit()]

    def _prune(self, in_force: int) -> None:
        newest = sorted(self._numbers(), reverse=True)
        for number in newest[KEPT:]:
            if number != in_force:
                self._set_file(number).unlink(missing_ok=True)
        named = {file.sha256 for kept in self.history() for file in (*kept.files, *kept.canary)}
        for place in self._files.glob("*"):
            if place.name not in named:
                place.unlink(missing_ok=True)


def _is_whole(place: Path, file: KeptFile) -> bool:
    try:
        return place.stat().st_size == file.size and sha256(place.read_bytes()).hexdigest() == file.sha256
    except FileNotFoundError:
        return False


def _write(place: Path, data: bytes) -> None:
    """Put a file there whole or not at all, and see that it stays."""
    beside = place.with_name(f".{place.name}.new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as opened:  # noqa: PTH123 - by its descriptor, which knows who may read it
            opened.write(data)
            opened.flush()
            os.fsync(descriptor)
        beside.replace(place)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
