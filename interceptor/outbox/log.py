"""The file of one outbox: a line for each entry that came, a line for each that went. Blocking; a thread runs it.

Laws of this module:

* An entry whose ``append`` has returned is on disk. That it went is written without waiting for the disk: after a power
  cut an entry can be delivered a second time, never not at all.
* A torn last line is an entry that nobody was told is kept: it is cut off.
* The file is rewritten without what went when that is most of it; the new file takes the old one's place in one step.
"""

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import msgspec
from msgspec import Struct

from interceptor.journal.lock import LockTakenError, take_lock

COMPACT_BYTES = 1 << 20  # a file smaller than this is not worth rewriting


class OutboxError(Exception):
    """The outbox cannot be opened; the message says why, for the operator."""


class OutboxInUseError(OutboxError):
    """Another process has this outbox."""


class Entry(Struct, frozen=True, tag="entry", tag_field="line"):
    """One kept notification: whole enough to be delivered by another process. ``id`` 0 asks the outbox for one.

    ``guarded``: the app chose the address, so what its name leads to is looked at before it is asked.
    """

    app: str
    url: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/x-www-form-urlencoded"
    at: float = 0.0
    name: str = ""
    exchange: str = ""
    id: int = 0
    guarded: bool = False


class Gone(Struct, frozen=True, tag="gone", tag_field="line"):
    """The entry ``id`` needs no delivery any more."""

    id: int


_encode = msgspec.json.Encoder().encode_lines
_decode = msgspec.json.Decoder(Entry | Gone).decode


class Log:
    """The entries of one app in ``directory``."""

    def __init__(self, directory: Path, app: str) -> None:
        self._directory = directory
        self._stem = quote(app, safe="") or "%"
        self._path = directory / f"{self._stem}.outbox"
        self._file: int | None = None
        self._lock: int | None = None
        self._size = 0

    def open(self) -> list[Entry]:
        """Take the outbox; the entries still to be delivered, oldest first."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            entries = self._read(self._path.read_bytes())
            os.ftruncate(self._file, self._size)
            _sync_directory(self._directory)
        except OSError as error:
            self.close()
            raise OutboxError(f"cannot open the outbox in `{self._directory}`: {error.strerror or error}") from error
        return entries

    def append(self, lines: Sequence[Entry | Gone], *, durable: bool) -> None:
        """Write ``lines``; raises :class:`OSError` with none of them written."""
        if self._file is None or self.deleted:
            raise OSError(errno.ENOENT, "the outbox file is gone", str(self._path))
        offset, rest = self._size, memoryview(_encode(lines))
        try:
            while rest:
                written = os.pwrite(self._file, rest, offset)
                offset += written
                rest = rest[written:]
            if durable:
                os.fsync(self._file)
        except OSError:
            # What came is not kept, so it must not come back after a restart either.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size = offset

    @property
    def deleted(self) -> bool:
        """Whether somebody has deleted the file under our hands; :meth:`rewrite` makes it again."""
        return self._file is not None and os.fstat(self._file).st_nlink == 0

    @property
    def size(self) -> int:
        """The bytes of the file."""
        return self._size

    def rewrite(self, entries: Sequence[Entry]) -> None:
        """Let the file hold these entries only."""
        self._directory.mkdir(parents=True, exist_ok=True)
        fresh_path = self._path.with_suffix(".fresh")
        data = _encode(entries)
        fresh = os.open(fresh_path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            rest, offset = memoryview(data), 0
            while rest:
                written = os.pwrite(fresh, rest, offset)
                offset += written
                rest = rest[written:]
            os.fsync(fresh)
            fresh_path.replace(self._path)
            _sync_directory(self._directory)
        except OSError:
            os.close(fresh)
            raise
        if self._file is not None:
            os.close(self._file)
        self._file, self._size = fresh, len(data)

    def close(self) -> None:
        """Let go of the file and the lock."""
        for descriptor in (self._file, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._lock = None

    def _take_lock(self) -> None:
        try:
            self._lock = take_lock(self._directory / f"{self._stem}.lock")
        except LockTakenError as error:
            raise OutboxInUseError(f"another process has the outbox `{self._path}`") from error

    def _read(self, data: bytes) -> list[Entry]:
        entries: dict[int, Entry] = {}
        for line in data.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                found = _decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                # Written whole or not at all: a line that cannot be read is where a crash has left rubbish.
                break
            self._size += len(line)
            if isinstance(found, Entry):
                entries[found.id] = found
            else:
                entries.pop(found.id, None)
        return list(entries.values())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
