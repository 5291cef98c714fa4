"""Content-addressed files that are whole or absent, also after a power cut."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from appliance.kernel.store.disk import Disk, LocalDisk

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
      disk: The file system; another one in simulations.

    Source: write, fsync, rename, fsync of the folder: the order that survives a power cut on
    every Linux file system.
    """

    def __init__(self, root: Path, *, fsync: bool, disk: Disk | None = None) -> None:
        self.root = root
        self.fsync = fsync
        self.disk: Disk = disk or LocalDisk()
        self.spool = root / "spool"
        self.folder = root / "blobs"
        self.quarantine = root / "quarantine"
        # The root by itself: as somebody's parent it would be open to all.
        for folder in (root, self.spool, self.folder, self.quarantine):
            self.disk.make_folder(folder)
        if fsync:
            # A blob is no safer than the folders above it.
            self.disk.sync(root)
            with suppress(PermissionError):
                self.disk.sync(root.parent)

    def path(self, name: str) -> Path:
        """Where the blob *name* is, or would be."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a blob")
        return self.folder / name[:2] / name

    def exists(self, name: str) -> bool:
        """Whether the blob is there."""
        return self.size(name) is not None

    def size(self, name: str) -> int | None:
        """The blob's size in bytes; None when it is not there."""
        return self.disk.size(self.path(name))

    def open(self, name: str, *, cold: bool = False) -> IO[bytes]:
        """The blob for reading; *cold* reads the disk and not what is kept of it in memory."""
        return self.disk.open(self.path(name), cold=cold)

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
            self.disk.sync(spooled)

    def place(self, spooled: Path, name: str) -> None:
        """Second step: the file gets its name, in place of an equal one if there is one."""
        target = self.path(name)
        try:
            self.disk.rename(spooled, target)
        except FileNotFoundError:
            if self.disk.size(spooled) is None:
                raise
            self.disk.make_folder(target.parent)
            if self.fsync:
                self.disk.sync(self.folder)
            self.disk.rename(spooled, target)

    def settle(self, name: str) -> None:
        """Third step: the name reaches the disk."""
        if self.fsync:
            self.disk.sync(self.path(name).parent)

    def discard(self, spooled: Path) -> None:
        """Remove a file of `spool`; it may be gone already."""
        with suppress(FileNotFoundError):
            self.disk.unlink(spooled)

    def delete(self, name: str) -> bool:
        """Remove the blob; False when it was not there. Who reads it now reads it to the end."""
        path = self.path(name)
        try:
            self.disk.unlink(path)
        except FileNotFoundError:
            return False
        if self.fsync:
            self.disk.sync(path.parent)
        return True

    def set_aside(self, name: str) -> Path | None:
        """Move a damaged blob to `quarantine`; None when it is not there.

        It may be the last trace of somebody's bytes, so only a person removes it.
        """
        path = self.path(name)
        if self.disk.size(path) is None:
            return None
        taken = set(self.disk.names(self.quarantine))
        label = next(
            label for number in itertools.count(1) if (label := f"{name}.{number}") not in taken
        )
        self.disk.rename(path, self.quarantine / label)
        if self.fsync:
            self.disk.sync(self.quarantine)
            self.disk.sync(path.parent)
        return self.quarantine / label

    def names(self) -> Iterator[str]:
        """The names of all blobs, in no order; what cannot be one is passed over."""
        for folder in self.disk.names(self.folder):
            try:
                names = self.disk.names(self.folder / folder)
            except NotADirectoryError:
                continue
            for name in names:
                if _NAME.fullmatch(name) and name[:2] == folder:
                    yield name

    def sweep(self) -> int:
        """Remove what a crash left in `spool`, and return how many; for the start only."""
        names = self.disk.names(self.spool)
        for name in names:
            self.disk.unlink(self.spool / name)
        return len(names)
