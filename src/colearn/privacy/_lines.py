"""An append-only file of JSON lines: hash-chained, durable, shared by processes under a lock."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from colearn.errors import SpendsCorruptError, SpendsUnavailableError
from colearn.privacy._locking import WAIT_S, lock
from colearn.shallow import read_json

__all__ = ["FILE_BYTES_MAX", "LINE_BYTES_MAX", "ChainedLines"]

FILE_BYTES_MAX = 64 * 2**20
"""The largest file, in bytes: about 150,000 spends."""

LINE_BYTES_MAX = 4096
"""The longest line, in bytes, without its line break."""

Line = TypeVar("Line")

_SEAL = re.compile(rb',"digest":"([0-9a-f]{64})"}')
"""How a line ends. Quotation marks within texts are escaped, so it stands nowhere else."""

_HINT = "Nothing is spent from a damaged record, and it is never reset; restore the file."


class ChainedLines(Generic[Line]):
    """Reads and appends the lines of one file.

    In a line, ``before`` is the sha256 of the line before it, and ``digest``, the last key, the
    sha256 of the line itself without that key: so a change of any byte shows. What the file
    cannot show is that lines are missing at its end.

    Attributes:
        path: The file.
        lines: What was read so far, without the first line.
    """

    def __init__(
        self, path: Path, first: Mapping[str, Any], check: Callable[[int, dict[str, Any]], Line]
    ) -> None:
        """Name a file; nothing is read.

        Args:
            path: The file.
            first: What its first line must say.
            check: Makes a line of a number, counted from 1, and a document; raises ValueError.
        """
        self.path, self.lines = path, list[Line]()
        self._first, self._check = _sealed(first), check
        self._mutex = threading.Lock()
        self._identity: tuple[int, int] | None = None
        self._offset = 0
        self._last = b""
        self._failed = False

    def create(self) -> None:
        """Make the file with its first line in one step, unless there is one.

        Raises:
            SpendsUnavailableError: It cannot be made.
        """
        if os.path.lexists(self.path):
            return
        draft = self.path.with_name(f".{self.path.name}.{os.urandom(8).hex()}")
        with _unavailable(self.path):
            missing = not self.path.parent.exists()
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                _write_new(draft, self._first + b"\n")
                # Unlike a rename, a link never replaces what another process made meanwhile.
                with suppress(FileExistsError):
                    os.link(draft, self.path)
            finally:
                draft.unlink(missing_ok=True)
            _sync_folder(self.path.parent)
            if missing:
                _sync_folder(self.path.parent.parent)

    @contextmanager
    def held(self, *, anew: bool = False) -> Iterator[int]:
        """Hold the file's lock, having read what is new, and yield its descriptor.

        Args:
            anew: Read and check the whole file again.

        Raises:
            SpendsCorruptError: A line is not what was written; the text names it.
            SpendsUnavailableError: The file cannot be read, or is locked for too long.
        """
        if not self._mutex.acquire(timeout=WAIT_S):
            raise SpendsUnavailableError(f"{self.path} is in use by another thread.")
        try:
            if self._failed:
                raise SpendsUnavailableError(
                    f"An unfinished line of {self.path} could not be taken back.",
                    hint="Repair the disk and start anew.",
                )
            descriptor = self._opened()
            try:
                with _unavailable(self.path):
                    lock(descriptor, self.path)
                    self._read(descriptor, anew=anew)
                yield descriptor
            finally:
                os.close(descriptor)
        finally:
            self._mutex.release()

    def append(self, descriptor: int, document: Mapping[str, Any]) -> None:
        """Write a line durably; call it within `held`.

        Raises:
            SpendsUnavailableError: It cannot be written; then nothing of it stays.
        """
        before = hashlib.sha256(self._last).hexdigest()
        line = _sealed({**document, "before": before})
        size = self._offset + len(line) + 1
        if len(line) > LINE_BYTES_MAX or size > FILE_BYTES_MAX:
            raise SpendsUnavailableError(
                f"{self.path} may have {FILE_BYTES_MAX} bytes, and a line {LINE_BYTES_MAX}."
            )
        kept = self._check(len(self.lines) + 2, dict(document))
        try:
            _write_at(descriptor, line + b"\n", self._offset)
        except OSError as error:
            self._take_back(descriptor)
            raise SpendsUnavailableError(
                f"Cannot write {self.path}: {error.strerror or error}.",
                hint="Free some space; nothing was spent.",
            ) from error
        self.lines.append(kept)
        self._offset, self._last = size, line

    def _take_back(self, descriptor: int) -> None:
        try:
            os.ftruncate(descriptor, self._offset)
            os.fsync(descriptor)
        except OSError:
            self._failed = True

    def _opened(self) -> int:
        """Open the file, which must be the one that was read before."""
        flags = os.O_RDWR | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            descriptor = os.open(self.path, flags | getattr(os, "O_BINARY", 0))
        except FileNotFoundError as error:
            raise SpendsCorruptError(f"{self.path} is gone.", hint=_HINT) from error
        except OSError as error:
            raise _unavailable_error(self.path, error) from error
        status = os.fstat(descriptor)
        identity = (status.st_dev, status.st_ino)
        if stat.S_ISREG(status.st_mode) and self._identity in (None, identity):
            self._identity = identity
            return descriptor
        os.close(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SpendsUnavailableError(f"{self.path} is no plain file.")
        raise SpendsCorruptError(f"{self.path} was replaced by another file.", hint=_HINT)

    def _read(self, descriptor: int, *, anew: bool) -> None:
        """Take over the lines that are new; a line that was never finished is cut.

        Nothing is written, and nothing taken over, unless all of them are right.
        """
        size = os.fstat(descriptor).st_size
        if size > FILE_BYTES_MAX:
            raise _corrupt(self.path, None, f"it may have {FILE_BYTES_MAX} bytes, got {size}")
        start = 0 if anew else self._offset - len(self._last) - 1
        start = max(start, 0)
        if size < self._offset:
            raise _corrupt(self.path, None, "it was shortened")
        data = _read_at(descriptor, start, size - start)
        *complete, rest = data.split(b"\n")
        finished = self._is_finished(rest)
        complete += [rest] if finished else []
        self._take_over(complete, anew=anew)
        if finished:
            _write_at(descriptor, b"\n", size)
        elif rest:
            os.ftruncate(descriptor, size - len(rest))
            os.fsync(descriptor)

    def _is_finished(self, rest: bytes) -> bool:
        """Say whether only the line break of the last line is missing; its spend counts then."""
        if len(rest) > LINE_BYTES_MAX:
            raise _corrupt(self.path, None, "its last line is too long")
        # A writer that was stopped leaves the beginning of a line. With an end, it is a line, and
        # refused as such if anything follows that end.
        return _SEAL.search(rest) is not None

    def _take_over(self, complete: list[bytes], *, anew: bool) -> None:
        known = 0 if anew or not self._last else len(self.lines) + 1
        if known and (not complete or complete[0] != self._last):
            raise _corrupt(self.path, known, "it changed since it was read")
        if not known and (not complete or complete[0] != self._first):
            raise _corrupt(self.path, 1, f"expected {self._first.decode()}")
        last = complete[0]
        found = list[Line]()
        for number, line in enumerate(complete[1:], start=max(known, 1) + 1):
            found.append(self._checked(number, line, last))
            last = line
        if anew:
            if len(found) < len(self.lines):
                raise _corrupt(self.path, len(found) + 2, "it is missing")
            self.lines.clear()
        self.lines += found
        self._offset += sum(len(line) + 1 for line in complete[1:])
        if not known:
            self._offset = sum(len(line) + 1 for line in complete)
        self._last = last

    def _checked(self, number: int, line: bytes, before: bytes) -> Line:
        try:
            if len(line) > LINE_BYTES_MAX:
                raise ValueError(f"it may have {LINE_BYTES_MAX} bytes")  # noqa: TRY301
            document = _unsealed(line)
            if document.pop("before", None) != hashlib.sha256(before).hexdigest():
                raise ValueError("another line was before it")  # noqa: TRY301
            return self._check(number, document)
        except (ValueError, RecursionError) as error:
            raise _corrupt(self.path, number, str(error)) from error


def _sealed(document: Mapping[str, Any]) -> bytes:
    """Return a line without its line break."""
    body = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    return body[:-1] + b',"digest":"' + hashlib.sha256(body).hexdigest().encode() + b'"}'


def _unsealed(line: bytes) -> dict[str, Any]:
    """Return what a line says; ValueError if its bytes are not those that were written."""
    seal = _SEAL.search(line)
    if seal is None or seal.end() != len(line):
        raise ValueError("it has no digest")
    body = line[: seal.start()] + b"}"
    if hashlib.sha256(body).hexdigest().encode() != seal[1]:
        raise ValueError("it is not what was written")
    document = read_json(body)
    if not isinstance(document, dict):
        raise ValueError("it is no object")  # noqa: TRY004
    return document


def _corrupt(path: Path, number: int | None, what: str) -> SpendsCorruptError:
    place = str(path) if number is None else f"Line {number} of {path}"
    return SpendsCorruptError(f"{place} is damaged: {what}.", hint=_HINT)


def _unavailable_error(path: Path, error: OSError) -> SpendsUnavailableError:
    return SpendsUnavailableError(
        f"Cannot use {path}: {error.strerror or error}.",
        hint="Check its folder's permissions and space, or set COLEARN_PRIVACY to another folder.",
    )


@contextmanager
def _unavailable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unavailable_error(path, error) from error


def _write_new(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        _write_at(descriptor, data, 0)
    finally:
        os.close(descriptor)


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of it and wait until the disk has it."""
    os.lseek(descriptor, offset, os.SEEK_SET)
    while data:
        data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)


def _read_at(descriptor: int, offset: int, count: int) -> bytes:
    os.lseek(descriptor, offset, os.SEEK_SET)
    parts = []
    while count > 0 and (part := os.read(descriptor, count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _sync_folder(path: Path) -> None:
    """Make a new name in a folder durable, where a folder can be opened."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
