"""Files that are digested while they are written, and reach the disk on the way.

For worker threads: all of it blocks.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import queue
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

WRITE_BACK = 8 * 1024 * 1024  # bytes between two nudges of the kernel's write-back
ALONE = 4 * 1024 * 1024  # bytes of a file that one thread digests alone
CORES = os.cpu_count() or 1

_SYNC_FILE_RANGE_WRITE = 2


@dataclass(frozen=True, slots=True)
class Spooled:
    """A received file. Whoever has it renames or unlinks it."""

    path: Path
    size: int  # bytes
    sha1: str  # 40 hexadecimal digits
    sha256: str  # 64 hexadecimal digits
    filename: str = ""  # as the client called it: a label, never a path


class _Digests:
    """SHA-1 and SHA-256 of the same bytes, for large files side by side.

    Together they cost more than receiving and writing; both let go of the interpreter
    while they work, so a second thread for one of them makes an upload a third faster.
    """

    def __init__(self) -> None:
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._seen = 0
        self._todo: queue.SimpleQueue[memoryview | bytes | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._helper: threading.Thread | None = None

    def begin(self, piece: memoryview | bytes) -> None:
        """Digest *piece*, which must not change until `end`."""
        self._seen += len(piece)
        if self._helper is None and self._seen > ALONE and CORES > 1:
            self._helper = threading.Thread(target=self._run, name="sha256", daemon=True)
            self._helper.start()
        if self._helper is None:
            self._sha256.update(piece)
        else:
            self._todo.put(piece)
        self._sha1.update(piece)

    def end(self) -> None:
        """Wait until the piece has been digested."""
        if self._helper is not None:
            self._done.get()

    def close(self) -> None:
        """End the helper."""
        if self._helper is not None:
            self._todo.put(None)
            self._helper.join()
            self._helper = None

    def results(self) -> tuple[str, str]:
        """SHA-1 and SHA-256, in hexadecimal."""
        return self._sha1.hexdigest(), self._sha256.hexdigest()

    def _run(self) -> None:
        while (piece := self._todo.get()) is not None:
            self._sha256.update(piece)
            self._done.put(None)


class FileSink:
    """A new file in *folder* that is hashed while it is written."""

    def __init__(self, folder: Path, *, length: int | None, fsync: bool) -> None:
        self._fd, name = tempfile.mkstemp(prefix="incoming-", dir=folder)
        self.path = Path(name)
        self.size = 0
        self._fsync = fsync
        self._nudged = 0
        self._digests = _Digests()
        try:
            if fsync and length:
                _reserve(self._fd, length)
        except BaseException:
            self.discard()
            raise

    def write(self, piece: memoryview | bytes) -> None:
        """Hash and append *piece*."""
        self._digests.begin(piece)
        try:
            view = memoryview(piece)
            while view:  # a disk that fills up takes less than it is given
                view = view[os.write(self._fd, view) :]
        finally:
            self._digests.end()
        self.size += len(piece)
        if self._fsync and self.size - self._nudged >= WRITE_BACK:
            # Writing back while the rest arrives leaves little for fsync: twice as fast.
            write_back(self._fd, self._nudged, self.size - self._nudged)
            self._nudged = self.size

    def finish(self, filename: str = "") -> Spooled:
        """Close the file (after fsync, when asked for) and say what it is."""
        if self._fsync:
            os.fsync(self._fd)
        self._close()
        sha1, sha256 = self._digests.results()
        return Spooled(self.path, self.size, sha1, sha256, filename)

    def discard(self) -> None:
        """Remove the file, finished or not."""
        self._close()
        self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        self._digests.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _reserve(fd: int, length: int) -> None:
    """Take the room on the disk now: a full one is told at once, and writing is quicker."""
    if not hasattr(os, "posix_fallocate"):
        return  # only a help
    try:
        os.posix_fallocate(fd, 0, length)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise


def _find_write_back() -> Callable[[int, int, int], None]:
    try:
        sync_file_range = ctypes.CDLL(None, use_errno=True).sync_file_range
    except (OSError, AttributeError):
        return lambda _fd, _offset, _count: None  # only Linux has it; it is only a hint
    sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]

    def nudge(fd: int, offset: int, count: int) -> None:
        sync_file_range(fd, offset, count, _SYNC_FILE_RANGE_WRITE)

    return nudge


write_back = _find_write_back()
