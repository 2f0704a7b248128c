"""The files of one worker's chain: opened, repaired, written, turned over. Blocking; the journal's thread runs it.

Laws of this module:

* The bytes up to ``offset`` of the current file are whole records and stay as they are.
* A failed write leaves nothing behind: the next one first cuts the file back to ``offset`` and begins a new file,
  because a file whose sync failed once cannot be trusted to tell of it again.
* ``sequence`` is the number of the last record that was written; a failed write does not move it.
* One process at a time has a chain; the lock falls with the process.
* A file may hold blocks beyond its end for what is to come (:mod:`.blocks`); no reader sees them, and a file that is
  done with lets go of them.
"""

import contextlib
import errno
import os
import re
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from interceptor.journal.blocks import let_go_of_blocks, take_blocks
from interceptor.journal.lock import LockTakenError, take_lock
from interceptor.journal.tail import cut_tail, read_tail

WORKER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_FILE_NAME = re.compile(r"(?P<worker>.+)-(?P<time>\d{8}T\d{6}Z)-(?P<first>\d+)\.jsonl")
_DSYNC = getattr(os, "RWF_DSYNC", 0)
_BLOCKS_BYTES = 8 << 20  # taken ahead: a few seconds of a busy worker, and little of a disk
_UNSYNCED_BYTES = 8 << 20  # all of a file at its end would hold up a slow disk, and the records behind it, for seconds


NOT_WRITTEN = "not_written"
_NOTE_BYTES = 512
_LONGEST_WHY = 64
_NO_NOTE = b" " * _NOTE_BYTES


class JournalError(Exception):
    """The journal cannot be opened; the message says why, for the operator."""


class JournalInUseError(JournalError):
    """Another process writes this worker's chain."""


class Repair(Struct, frozen=True):
    """What opening a chain had to mend; becomes a gap record. ``lost`` is 0 where it cannot be known."""

    reason: str
    detail: str
    lost: int = 0


class _Note(Struct, frozen=True):
    """How many records could not be written before the process ended, and why."""

    lost: int
    why: str


class ChainFile(Struct, frozen=True, order=True):
    """One file of a chain; they sort in the order of their records."""

    first: int
    made: str
    path: Path


def chain_files(directory: Path, worker: str) -> list[ChainFile]:
    """The files of a worker's chain, oldest first."""
    found = []
    for path in directory.iterdir():
        match = _FILE_NAME.fullmatch(path.name)
        if match is not None and match["worker"] == worker:
            found.append(ChainFile(int(match["first"]), match["time"], path))
    return sorted(found)


class Chain:
    """The files of one worker in ``directory``: a new one after ``file_bytes``, at most ``files`` kept (0: all)."""

    def __init__(self, directory: Path, worker: str, file_bytes: int, files: int) -> None:
        if WORKER_NAME.fullmatch(worker) is None:
            message = f"`{worker}` cannot name a journal chain: letters, digits, `_`, `.` and `-` only"
            raise JournalError(message)
        self._directory = directory
        self._worker = worker
        self._file_bytes = file_bytes
        self._files = files
        self._lock: int | None = None
        self._file: int | None = None
        self._offset = 0
        self._blocks_end = 0  # as far as blocks were asked for
        self._synced = 0  # as far as the file is known to be durable
        self._failed = False
        self.sequence = 0
        self.path: Path | None = None

    def open(self) -> tuple[Repair, ...]:
        """Take the chain, mend its end, and be ready to write its next record."""
        try:
            self._make_directory()
            self._take_lock()
            return self._read_note() + self._continue()
        except OSError as error:
            self.close()
            message = f"cannot open the journal in `{self._directory}`: {error.strerror or error}"
            raise JournalError(message) from error

    def write(self, data: bytes, count: int, *, durable: bool) -> None:
        """Append ``count`` records; when it returns they are in the file, and ``durable`` on its disk.

        Raises :class:`OSError`; then none of them is in the chain.
        """
        if self._failed:
            self._begin_again()
        file = self._file
        if file is not None and os.fstat(file).st_nlink == 0:
            self._failed = True
            raise OSError(errno.ENOENT, "the journal file has been deleted", str(self.path))
        if file is None or (self._offset and self._offset + len(data) > self._file_bytes):
            try:
                file = self._turn_over()
            except OSError:
                self._failed = True  # the folder may be gone: the next write makes another
                raise
        if durable and self._offset + len(data) > self._blocks_end:
            self._take_blocks(file, len(data))
        try:
            if self._offset - self._synced >= _UNSYNCED_BYTES:
                _sync(file)
                self._synced = self._offset
            self._write_all(file, data, durable=durable)
        except OSError:
            self._failed = True
            with contextlib.suppress(OSError):  # half a batch confuses readers; the next write insists on it
                os.ftruncate(file, self._offset)
            raise
        self._offset += len(data)
        if durable:
            self._synced = self._offset
        self.sequence += count

    def sync(self) -> None:
        """Make everything written so far durable."""
        if self._file is not None:
            _sync(self._file)

    def leave_note(self, lost: int, why: str) -> None:
        """Have the next who opens the chain put a gap record for so many records that could not be written.

        It goes into the lock's file, in room that was taken while there was some: mostly the disk is full.
        """
        lock = self._directory / f"{self._worker}.lock"
        with contextlib.suppress(OSError), lock.open("r+b", buffering=0) as note:
            note.write(msgspec.json.encode(_Note(lost, why[:_LONGEST_WHY])).ljust(_NOTE_BYTES))
            os.fsync(note.fileno())

    def forget_note(self) -> None:
        """What it tells is on record; its room stays, for one of ours."""
        if self._lock is not None:
            with contextlib.suppress(OSError):  # there is no room for one now; perhaps there will be
                os.pwrite(self._lock, _NO_NOTE, 0)

    def _read_note(self) -> tuple[Repair, ...]:
        """What those who had the chain before could not write."""
        lock = self._lock
        assert lock is not None
        try:
            note = msgspec.json.decode(os.pread(lock, _NOTE_BYTES, 0), type=_Note)
        except msgspec.DecodeError:
            self.forget_note()
            return ()
        return (Repair(NOT_WRITTEN, note.why, note.lost),)

    def close(self) -> None:
        """Let go of the file and of the chain. Nothing is synced."""
        if self._file is not None:
            self._let_go_of_blocks(self._file)
        for descriptor in (self._file, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._lock = None

    def _write_all(self, file: int, data: bytes, *, durable: bool) -> None:
        offset, rest = self._offset, memoryview(data)
        while rest:
            # Both in one call where the system can: the thread asks for the interpreter once less.
            one_call = durable and _DSYNC
            written = os.pwritev(file, [rest], offset, _DSYNC) if one_call else os.pwrite(file, rest, offset)
            offset += written
            rest = rest[written:]
        if durable and not _DSYNC:
            _sync(file)

    def _take_blocks(self, file: int, size: int) -> None:
        end = self._offset + max(size, min(_BLOCKS_BYTES, self._file_bytes - self._offset))
        take_blocks(file, self._offset, end - self._offset)
        self._blocks_end = end  # also where that failed: not asked again for each write

    def _let_go_of_blocks(self, file: int) -> None:
        if self._blocks_end > self._offset:
            let_go_of_blocks(file, self._offset)

    def _make_directory(self) -> None:
        if not self._directory.is_dir():
            self._directory.mkdir(parents=True, exist_ok=True)
            _sync_directory(self._directory.parent)

    def _take_lock(self) -> None:
        try:
            lock = take_lock(self._directory / f"{self._worker}.lock")
        except LockTakenError as error:
            message = f"another process writes the journal of `{self._worker}` in `{self._directory}`"
            raise JournalInUseError(message) from error
        if self._lock is not None:
            os.close(self._lock)
        self._lock = lock

    def _continue(self) -> tuple[Repair, ...]:
        repairs: list[Repair] = []
        files = chain_files(self._directory, self._worker)
        if not files:
            self._turn_over()
            return ()
        last = files[-1]
        tail = read_tail(last.path)
        if tail.torn:
            aside = cut_tail(last.path, tail)
            repairs.append(Repair("torn_line", f"{tail.torn} bytes kept in {aside.name}"))
        self.sequence = last.first - 1 if tail.sequence is None else tail.sequence
        if tail.sequence is None and len(files) > 1:
            before = read_tail(files[-2].path)
            missing = self.sequence - (before.sequence or files[-2].first - 1)
            if missing > 0:
                repairs.append(
                    Repair("records_missing", f"between {files[-2].path.name} and {last.path.name}", missing)
                )
        self._file = os.open(last.path, os.O_RDWR)
        self._offset = tail.length
        self.path = last.path
        _sync_directory(self._directory)
        return tuple(repairs)

    def _turn_over(self) -> int:
        """Begin a new file; the old one is durable before the new one exists."""
        if self._file is not None:
            self._let_go_of_blocks(self._file)
            _sync(self._file)
        first = self.sequence + 1
        made = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        path = self._directory / f"{self._worker}-{made}-{first:012}.jsonl"
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
        except FileExistsError:
            if path.stat().st_size:
                raise
            file = os.open(path, os.O_RDWR)  # the leftover of a failed try
        try:
            _sync_directory(self._directory)
        except OSError:
            os.close(file)
            raise
        if self._file is not None:
            os.close(self._file)
        self._file, self._offset, self._blocks_end, self._synced, self.path = file, 0, 0, 0, path
        self._delete_oldest()
        return file

    def _begin_again(self) -> None:
        """After a failure: cut away what it left, and go on in a new file, in a new directory if need be."""
        file = self._file
        if file is not None and os.fstat(file).st_nlink:
            os.ftruncate(file, self._offset)
            if self._offset == 0:
                self._failed = False
                return
            _sync(file)
        self._make_directory()
        if not (self._directory / f"{self._worker}.lock").exists():
            self._take_lock()
        if file is not None and not os.fstat(file).st_nlink:
            os.close(file)
            self._file = None
        self._turn_over()
        self._failed = False

    def _delete_oldest(self) -> None:
        if not self._files:
            return
        for old in chain_files(self._directory, self._worker)[: -self._files]:
            old.path.unlink(missing_ok=True)


def _sync(file: int) -> None:
    if hasattr(os, "fdatasync"):
        os.fdatasync(file)
    else:
        os.fsync(file)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
