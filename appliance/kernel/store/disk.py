"""The few things that stores ask of a file system, so that a simulated one can take its place."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol, TypeVar

import trio

T = TypeVar("T")


class Disk(Protocol):
    """A file system. All but `run` block, and raise `OSError` as the `os` module does."""

    def make_folder(self, folder: Path) -> None:
        """Make *folder* and those above it; it may be there already."""

    def open(self, path: Path, *, cold: bool = False) -> IO[bytes]:
        """The file for reading; *cold* asks the disk itself, as far as caches let it."""

    def size(self, path: Path) -> int | None:
        """The file's size in bytes; None when there is no such file."""

    def rename(self, old: Path, new: Path) -> None:
        """Give the file *old* the name *new*, in place of what has it."""

    def unlink(self, path: Path) -> None:
        """Remove the file."""

    def sync(self, path: Path) -> None:
        """Return when the file's bytes, or the folder's names, are on the disk."""

    def names(self, folder: Path) -> list[str]:
        """What is in *folder*, in no order."""

    def free(self, folder: Path) -> int:
        """How many bytes may still be written."""

    async def run(self, work: Callable[[], T]) -> T:
        """Call *work*, which may block; a cancellation waits for its outcome."""


class LocalDisk:
    """The file system of this machine."""

    def make_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def open(self, path: Path, *, cold: bool = False) -> IO[bytes]:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        if cold and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return open(descriptor, "rb", buffering=0)

    def size(self, path: Path) -> int | None:
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def sync(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def names(self, folder: Path) -> list[str]:
        return os.listdir(folder)

    def free(self, folder: Path) -> int:
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize

    async def run(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work)
