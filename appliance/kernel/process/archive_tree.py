"""Writes what an archive contains below one folder, and nowhere else."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType

import trio

from appliance.kernel.process.archive_rules import ArchiveRefused, Parts

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

PERMISSIONS = 0o777  # of an archive's modes; setuid, setgid and sticky are dropped
FOLDER_MODE = 0o755  # of folders that an archive implies but does not list
LATEST = 2**33 * 10**9  # nanoseconds since 1970; times above are nonsense

CHECK_EVERY = 64  # entries between two looks whether the task was cancelled

_OPENAT2 = 437  # the same system call number on every architecture
_RESOLVE_BENEATH = 0x08


class Tree:
    """A folder being filled from an archive; a context manager.

    Every folder is opened relative to the one above it, without following links, and
    every file must be new. Links are made last, in `finish`, so that no write can go
    through one, whatever the order of the archive.
    """

    def __init__(self, into: Path) -> None:
        into.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._root = os.open(into, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # Open folders from the top down to the one that was written to last. Archives
        # list a folder's files together, so the next one is mostly open already.
        self._open: list[tuple[str, int]] = []
        self._modes: dict[Parts, tuple[int, int]] = {}  # of folders: mode, time
        self._links: list[tuple[Parts, str, int]] = []
        self._count = 0
        self.written = 0  # bytes

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close_to(0)
        os.close(self._root)

    def add_folder(self, parts: Parts, mode: int, time: int) -> None:
        """Make a folder; its mode and time (nanoseconds since 1970) are set at the end."""
        self._folder(parts)
        # Whoever unpacks must be able to go in and to remove it again.
        self._modes[parts] = (mode & PERMISSIONS | 0o700, time)
        self._checkpoint()

    def add_file(self, parts: Parts, pieces: Iterable[bytes], mode: int, time: int) -> None:
        """Write a new file; it appears with *mode* only when it is whole."""
        try:
            file = os.open(parts[-1], _NEW_FILE, 0o600, dir_fd=self._folder(parts[:-1]))
        except FileExistsError:
            raise ArchiveRefused("/".join(parts), "exists in the folder already") from None
        try:
            for piece in pieces:
                _write(file, piece)
                self.written += len(piece)
            # By descriptor, since the mode given to open() is cut by the umask.
            os.fchmod(file, mode & PERMISSIONS | 0o400)
            os.utime(file, ns=(_sane(time), _sane(time)))
        finally:
            os.close(file)
        self._checkpoint()

    def add_hard_link(self, parts: Parts, source: Parts) -> None:
        """Give the file *source*, which must have come before, a second name."""
        folder, opened = self._walk(source[:-1])
        try:
            os.link(
                source[-1],
                parts[-1],
                src_dir_fd=folder,
                dst_dir_fd=self._folder(parts[:-1]),
                follow_symlinks=False,
            )
        except FileExistsError:
            raise ArchiveRefused("/".join(parts), "exists in the folder already") from None
        finally:
            for descriptor in opened:
                os.close(descriptor)
        self._checkpoint()

    def add_link(self, parts: Parts, target: str, time: int) -> None:
        """Note a symbolic link, to be made at the end."""
        self._links.append((parts, target, time))
        self._checkpoint()

    def finish(self) -> None:
        """Make the links, let the kernel check them, then set the modes of the folders."""
        for parts, target, time in self._links:
            folder = self._folder(parts[:-1])
            try:
                os.symlink(target, parts[-1], dir_fd=folder)
            except FileExistsError:
                raise ArchiveRefused("/".join(parts), "exists in the folder already") from None
            times = (_sane(time), _sane(time))
            os.utime(parts[-1], ns=times, dir_fd=folder, follow_symlinks=False)
            self._checkpoint()
        for parts, _, _ in self._links:
            self._check_link(parts)
        for parts in sorted(self._modes, reverse=True):
            folder = self._folder(parts)
            mode, time = self._modes[parts]
            os.fchmod(folder, mode)
            os.utime(folder, ns=(_sane(time), _sane(time)))

    def _folder(self, parts: Parts) -> int:
        """A descriptor of the folder *parts*, made where it is missing."""
        opened = self._open
        same = 0
        while same < len(opened) and same < len(parts) and opened[same][0] == parts[same]:
            same += 1
        self._close_to(same)
        for depth in range(same, len(parts)):
            above = opened[-1][1] if opened else self._root
            opened.append((parts[depth], self._enter(above, parts[: depth + 1])))
        return opened[-1][1] if opened else self._root

    def _enter(self, above: int, parts: Parts) -> int:
        try:
            try:
                os.mkdir(parts[-1], 0o700, dir_fd=above)
                self._modes.setdefault(parts, (FOLDER_MODE, 0))
            except FileExistsError:
                pass
            return os.open(parts[-1], _FOLDER, dir_fd=above)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                rule = "lies below a name that is no folder"
                raise ArchiveRefused("/".join(parts), rule) from None
            raise

    def _walk(self, parts: Parts) -> tuple[int, list[int]]:
        """A descriptor of a folder that exists, and those that the caller must close."""
        opened: list[int] = []
        above = self._root
        for part in parts:
            above = os.open(part, _FOLDER, dir_fd=above)
            opened.append(above)
        return above, opened

    def _close_to(self, depth: int) -> None:
        while len(self._open) > depth:
            os.close(self._open.pop()[1])

    def _check_link(self, parts: Parts) -> None:
        path = "/".join(parts)
        reason = _resolve_beneath(self._root, path)
        if reason == errno.EXDEV:
            raise ArchiveRefused(path, "is a link that leads outside")
        if reason == errno.ELOOP:
            raise ArchiveRefused(path, "is a link that goes round in circles")

    def _checkpoint(self) -> None:
        self._count += 1
        if self._count % CHECK_EVERY == 0:
            check_cancelled()


def check_cancelled() -> None:
    """Raise `trio.Cancelled` when this thread works for a task that has been cancelled."""
    with suppress(RuntimeError):  # called directly, not in a worker thread of trio
        trio.from_thread.check_cancelled()


def _sane(time: int) -> int:
    return min(max(time, 0), LATEST)


def _write(file: int, piece: bytes) -> None:
    # A nearly full disk takes a part; the next call then says ENOSPC.
    view = memoryview(piece)
    while view:
        view = view[os.write(file, view) :]


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _resolve_beneath(root: int, path: str) -> int:
    """0, or why the kernel cannot follow *path* without leaving *root*.

    A second net below `Catalogue.check_links`, which knows only the archive: the folder
    may have had something in it. Kernels without openat2 (before 5.6, or not Linux) let all pass.
    """
    if not hasattr(os, "O_PATH"):
        return 0
    how = struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_BENEATH)
    file: int = _libc().syscall(_OPENAT2, root, path.encode(), how, len(how))
    if file < 0:
        return ctypes.get_errno()
    os.close(file)
    return 0
