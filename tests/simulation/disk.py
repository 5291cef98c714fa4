"""A file system with two layers: what programs see, and what a power cut leaves.

Bytes are durable after a sync of their file, names after a sync of their folder. Folder
operations go through one journal, of which a power cut leaves a random beginning.
"""

from __future__ import annotations

import errno
import io
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import IO, TypeVar

from tests.simulation.life import Life

T = TypeVar("T")
STEP = 0.002  # seconds that a call takes at most


@dataclass(eq=False)
class File:
    """An inode."""

    data: bytes = b""
    durable: bytes | None = None  # None: never synced
    unreadable: bool = False
    doomed: bool = False  # a sync has failed: later ones say yes and do nothing


Names = dict[str, File | None]  # None: a folder
Change = tuple[str, str, str, File | None]  # what, the path, another path, the file


@dataclass
class Platter:
    """The hardware of one node. It outlives processes."""

    rng: Random
    counts: Counter[str]
    sync_files: bool = True
    sync_folders: bool = True
    names: Names = field(default_factory=dict)
    journal: list[Change] = field(default_factory=list)
    full: bool = False
    read_only: bool = False
    failing_syncs: int = 0
    made: int = 0  # files, for their names
    _durable: Names = field(default_factory=dict)

    def change(self, change: Change) -> None:
        """Do it for programs now; for the disk when the journal is written."""
        _apply(self.names, change)
        self.journal.append(change)

    def sync_folder(self, folder: str) -> None:
        """Write the journal as far as *folder* is concerned."""
        last = 0
        for number, (_, path, other, _) in enumerate(self.journal, 1):
            if folder in (os.path.dirname(path), os.path.dirname(other)):
                last = number
        self._write_journal(last)

    def _write_journal(self, count: int) -> None:
        for change in self.journal[:count]:
            _apply(self._durable, change)
        del self.journal[:count]

    def power_cut(self) -> None:
        """Forget what was in memory only."""
        self._write_journal(self.rng.randint(0, len(self.journal)))
        self.journal.clear()
        self.names = dict(self._durable)
        for file in self.names.values():
            if file is not None and file.data != file.durable:
                file.data = file.durable = self._torn(file.data)
                self.counts["torn file"] += 1

    def _torn(self, data: bytes) -> bytes:
        """What a power cut may leave of bytes that were never synced."""
        half = len(data) // 2
        return self.rng.choice([b"", data[:half], data[:half] + bytes(len(data) - half), data])

    def stored(self, path: Path) -> bytes | None:
        """What a power cut would leave at *path*; None when nothing, or nothing readable."""
        file = self._durable.get(str(path))
        return None if file is None or file.unreadable else file.durable

    def file(self, path: Path) -> File | None:
        """The file that programs see at *path*."""
        return self.names.get(str(path))


def _apply(names: Names, change: Change) -> None:
    what, path, other, file = change
    if what == "make":
        names[path] = file
    elif what == "unlink":
        names.pop(path, None)
    elif path in names:
        names[other] = names.pop(path)


def refused(code: int) -> OSError:
    """The error with its number."""
    return OSError(code, os.strerror(code))


class SimDisk:
    """What one process sees of a `Platter`: a `Disk`, and the writing of new files."""

    def __init__(self, platter: Platter, life: Life) -> None:
        self._platter = platter
        self._life = life

    def make_folder(self, folder: Path) -> None:
        self._life.check()
        for path in (*reversed(folder.parents), folder):
            if str(path) not in self._platter.names:
                self._writable()
                self._platter.change(("make", str(path), "", None))

    def open(self, path: Path, *, cold: bool = False) -> IO[bytes]:
        file = self._file(path)
        if file.unreadable:
            raise refused(errno.EIO)
        return io.BytesIO(file.data)

    def size(self, path: Path) -> int | None:
        self._life.check()
        file = self._platter.file(path)
        return None if file is None else len(file.data)

    def rename(self, old: Path, new: Path) -> None:
        file = self._file(old)
        if str(new.parent) not in self._platter.names:
            raise refused(errno.ENOENT)
        self._writable()
        self._platter.change(("rename", str(old), str(new), file))

    def unlink(self, path: Path) -> None:
        file = self._file(path)
        self._writable(needs_room=False)
        self._platter.change(("unlink", str(path), "", file))

    def sync(self, path: Path) -> None:
        self._life.check()
        file = self._platter.names.get(str(path))
        if self._platter.failing_syncs:
            self._platter.failing_syncs -= 1
            self._platter.counts["failed fsync"] += 1
            if file is not None:
                file.doomed = True
            raise refused(errno.EIO)
        if file is None:
            if self._platter.sync_folders:
                self._platter.sync_folder(str(path))
        elif self._platter.sync_files and not file.doomed:
            file.durable = file.data

    def names(self, folder: Path) -> list[str]:
        self._life.check()
        start = f"{folder}/"
        return [
            path.removeprefix(start)
            for path in self._platter.names
            if path.startswith(start) and "/" not in path[len(start) :]
        ]

    def free(self, folder: Path) -> int:
        self._life.check()
        # Sometimes it fills up only after this was asked.
        return 0 if self._platter.full and self._platter.rng.random() < 0.5 else 2**40

    def new_name(self) -> str:
        """A name that no file has had."""
        self._platter.made += 1
        return f"incoming-{self._platter.made}"

    async def run(self, work: Callable[[], T]) -> T:
        # What happens meanwhile happens before or after it: one wait is enough.
        late, wait = self._platter.rng.random() < 0.5, self._platter.rng.random() * STEP
        if not late:
            await self._life.pause(wait)
        result = work()
        if late:
            await self._life.pause(wait)
        return result

    async def write_new(self, path: Path, pieces: list[bytes], *, sync: bool) -> None:
        """Write *pieces* one after the other to a new file; as the kernel's `FileSink` does."""

        def begin() -> None:
            self._writable()
            self._platter.change(("make", str(path), "", File()))

        def append(piece: bytes) -> None:
            file = self._file(path)
            self._writable()
            file.data += piece

        try:
            await self.run(begin)
            for piece in pieces:
                await self.run(lambda piece=piece: append(piece))  # type: ignore[misc]
            if sync:
                await self.run(lambda: self.sync(path))
        except BaseException:
            if self._platter.file(path) is not None:
                self.unlink(path)
            raise

    def _file(self, path: Path) -> File:
        self._life.check()
        file = self._platter.file(path)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        return file

    def _writable(self, *, needs_room: bool = True) -> None:
        self._life.check()
        if self._platter.read_only:
            self._platter.counts["refused: read-only"] += 1
            raise refused(errno.EROFS)
        if needs_room and self._platter.full and self._platter.rng.random() < 0.7:
            self._platter.counts["refused: no room"] += 1
            raise refused(errno.ENOSPC)
