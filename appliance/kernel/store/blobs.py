"""Content-addressed files that are whole or absent, also after a power cut."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,127}")


class BlobStore:
    """Files named by what they contain, in ``blobs/aa/NAME``.

    Bytes are first written to a new file in `spool`; `commit` moves the whole file to
    its name, so a reader never meets half a blob, and two writers of the same blob
    both succeed. The methods block: call them in worker threads.

    An error from fsync is final: the kernel may have dropped the bytes, so the file must
    be sent again, not synced again.

    Args:
      root: Its folder; made when it is missing. One process may use it at a time.
      fsync: Whether `commit` waits for the disk. Without it a power cut may lose what
        was committed, which is right for a store that is gone at exit anyway.

    Source: write, fsync, rename, fsync of the folder: the order that survives a power cut on
    every Linux file system.
    """

    def __init__(self, root: Path, *, fsync: bool) -> None:
        self.root = root
        self.fsync = fsync
        self.spool = root / "spool"
        self.folder = root / "blobs"
        self.spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def path(self, name: str) -> Path:
        """Where the blob *name* is, or would be."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a blob")
        return self.folder / name[:2] / name

    def exists(self, name: str) -> bool:
        """Whether the blob is there."""
        return self.path(name).is_file()

    def commit(self, spooled: Path, name: str, *, flushed: bool = False) -> Path:
        """Make the file *spooled* the blob *name*, and return its path.

        When this returns the blob survives a power cut; when it raises, either nothing
        has changed or the whole blob is there under its name.

        Args:
          flushed: The file has been fsynced since it was last written to.

        Raises:
          OSError: no room (ENOSPC, EDQUOT), or the disk failed (EIO).
        """
        if not flushed:
            self.flush(spooled)
        self.place(spooled, name)
        self.settle(name)
        return self.path(name)

    def flush(self, spooled: Path) -> None:
        """First step: the bytes reach the disk."""
        if self.fsync:
            _fsync(spooled)

    def place(self, spooled: Path, name: str) -> None:
        """Second step: the file gets its name, in place of an equal one if there is one."""
        target = self.path(name)
        try:
            os.rename(spooled, target)
        except FileNotFoundError:
            if not spooled.exists():
                raise
            target.parent.mkdir(mode=0o700, exist_ok=True)
            if self.fsync:
                _fsync(self.folder)
            os.rename(spooled, target)

    def settle(self, name: str) -> None:
        """Third step: the name reaches the disk."""
        if self.fsync:
            _fsync(self.path(name).parent)

    def discard(self, spooled: Path) -> None:
        """Remove a file of `spool`; it may be gone already."""
        spooled.unlink(missing_ok=True)

    def delete(self, name: str) -> bool:
        """Remove the blob; False when it was not there. Who reads it now reads it to the end."""
        path = self.path(name)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        if self.fsync:
            _fsync(path.parent)
        return True

    def names(self) -> Iterator[str]:
        """The names of all blobs, in no order."""
        with os.scandir(self.folder) as folders:
            for folder in folders:
                with os.scandir(folder.path) as files:
                    for file in files:
                        yield file.name

    def sweep(self) -> int:
        """Remove what a crash left in `spool`, and return how many; for the start only."""
        count = 0
        with os.scandir(self.spool) as files:
            for file in files:
                os.unlink(file.path)
                count += 1
        return count


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
