"""The file of one outbox: a line for each entry that came, a line for each that went. Blocking; a thread runs it.

Laws of this module:

* An entry whose ``append`` has returned is on disk. That it went is written without waiting for the disk: after a power
  cut an entry can be delivered a second time, never not at all.
* A torn last line is an entry that nobody was told is kept: it is cut off.
* The file is rewritten without what went when that is most of it; the new file takes the old one's place in one step.
* The file of a worker that is no more is moved into the folder of its heir in one step, read together with the heir's
  own, and deleted once the heir's own holds all of it. Nothing is delivered before. So a process that dies at any
  instant leaves each entry where one heir finds it; one that stands in both files is told by what it holds.
"""

import contextlib
import errno
import heapq
import os
from collections.abc import Iterator, Sequence
from hashlib import sha256
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


class Undecided(Struct, frozen=True):
    """How a notification came of which nobody has decided yet what becomes of it; its body is the entry's."""

    listener: str
    source: str
    method: str
    target: bytes
    headers: dict[str, str]


class Entry(Struct, frozen=True, tag="entry", tag_field="line"):
    """One kept notification: whole enough to be delivered by another process. ``id`` 0 asks the outbox for one.

    ``guarded``: the app chose the address, so what its name leads to is looked at before it is asked.
    ``undecided``: it must not leave as it is; it is decided when its turn comes.
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
    undecided: Undecided | None = None


class Gone(Struct, frozen=True, tag="gone", tag_field="line"):
    """The entry ``id`` needs no delivery any more."""

    id: int


_encode = msgspec.json.Encoder().encode_lines
_decode = msgspec.json.Decoder(Entry | Gone).decode


class Log:
    """The entries of one app in ``directory``."""

    def __init__(self, directory: Path, app: str) -> None:
        self._directory = directory
        self._stem = _stem(app)
        self._path = directory / f"{self._stem}.outbox"
        self._file: int | None = None
        self._lock: int | None = None
        self._size = 0

    def open(self, heirless: Sequence[Path] = ()) -> list[Entry]:
        """Take the outbox; the entries still to be delivered, oldest first.

        ``heirless`` are the folders of workers that are no more: what they kept for the app is taken over.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._lock = _take_lock(self._directory, self._stem)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            entries, self._size = _read(self._path)
            os.ftruncate(self._file, self._size)
            _sync_directory(self._directory)
            for folder in heirless:
                self._take_over(folder)
            taken = sorted(self._directory.glob(f"{self._stem}{_TAKEN}"))
            if taken:
                entries = _merged([entries, *(_read(path)[0] for path in taken)])
                self.rewrite(entries)
                for path in taken:
                    path.unlink()
                _sync_directory(self._directory)
        except OSError as error:
            self.close()
            raise OutboxError(f"cannot open the outbox in `{self._directory}`: {error.strerror or error}") from error
        except OutboxError:
            self.close()
            raise
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

    def delete(self) -> None:
        """Leave nothing on disk, of what is closed and empty."""
        for path in (self._path, self._directory / f"{self._stem}.lock"):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file and the lock."""
        for descriptor in (self._file, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._lock = None

    def _take_over(self, folder: Path) -> None:
        """Move the files of a worker that is no more into our folder."""
        left = [folder / f"{self._stem}.outbox", *sorted(folder.glob(f"{self._stem}{_TAKEN}"))]
        left = [path for path in left if path.exists()]
        if not left:
            return
        lock = _take_lock(folder, self._stem)
        try:
            for path in left:
                path.rename(self._room_for(path))
            _sync_directory(self._directory)  # before the other: both places are better than none
            _sync_directory(folder)
        finally:
            os.close(lock)

    def _room_for(self, path: Path) -> Path:
        """Where a file that is taken over goes; never over another."""
        name = path.name if path.suffix == ".taken" else f"{self._stem}%{path.parent.name}.taken"
        place, number = self._directory / name, 1
        while place.exists():
            place, number = self._directory / f"{name.removesuffix('.taken')}.{number}.taken", number + 1
        return place


def addresses_in(folder: Path, heirless: Sequence[Path] = ()) -> list[str]:
    """The addresses for which something waits in these folders. Files of ours without anything are deleted.

    Raises :class:`OutboxError`.
    """
    found: set[str] = set()
    try:
        for each in (folder, *heirless):
            for path in sorted(each.glob(f"{_ADDRESS}*.outbox")) + sorted(each.glob(f"{_ADDRESS}*.taken")):
                entries, _ = _read(path)
                found.update(entry.app for entry in entries[:1])
                if not entries and each == folder:
                    path.unlink()
    except OSError as error:
        raise OutboxError(f"cannot read the outboxes in `{folder}`: {error.strerror or error}") from error
    return sorted(found)


def _stem(app: str) -> str:
    """The name of the files of an app, or of an address, which may be longer than a file's name can be."""
    if "://" in app:
        return _ADDRESS + sha256(app.encode()).hexdigest()[:32]
    return quote(app, safe="") or "%"


_ADDRESS = "@"  # no quoted name of an app begins so
_TAKEN = "%w*.taken"  # behind the quoted name of an app, in which no `%w` can stand


def _take_lock(directory: Path, stem: str) -> int:
    try:
        return take_lock(directory / f"{stem}.lock")
    except LockTakenError as error:
        raise OutboxInUseError(f"another process has the outbox `{directory / stem}.outbox`") from error


def _read(path: Path) -> tuple[list[Entry], int]:
    """The entries of a file still to be delivered, and how many of its bytes are whole lines."""
    entries: dict[int, Entry] = {}
    size = 0
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        try:
            found = _decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            # Written whole or not at all: a line that cannot be read is where a crash has left rubbish.
            break
        size += len(line)
        if isinstance(found, Entry):
            entries[found.id] = found
        else:
            entries.pop(found.id, None)
    return list(entries.values()), size


def _merged(files: Sequence[Sequence[Entry]]) -> list[Entry]:
    """The entries of several files in one order, each once, numbered anew."""

    def each_once() -> Iterator[Entry]:
        seen: set[tuple[str, float, str, bytes]] = set()
        for entry in heapq.merge(*files, key=lambda entry: entry.at):
            what = entry.exchange, entry.at, entry.url, entry.body
            if what not in seen:
                seen.add(what)
                yield entry

    return [msgspec.structs.replace(entry, id=number) for number, entry in enumerate(each_once(), 1)]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
