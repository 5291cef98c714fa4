"""Takes a file out of the public inbox, where anybody may have put anything."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

from appliance.package_cache.errors import BadInboxFile, NotInInbox
from appliance.package_cache.keys import InboxName

PIECE = 1024 * 1024


def import_file(name: InboxName, public: Path, private: Path, *, limit: int) -> Path:
    """Copy the entry into the folder *private* and check its digest; the copy. Blocks.

    The bytes are hashed while they are copied, from one descriptor: whoever brought the file
    may still hold it open, and change it, so the file itself is never taken over. The entry is
    removed when it has been taken, and when it is not what its name says.

    Raises:
      NotInInbox: there is no such entry.
      BadInboxFile: it is a link, a device or a folder, larger than *limit*, or its digest differs.
    """
    folder = os.open(public, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Neither may a link lead us elsewhere, nor a fifo make us wait.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            source = os.open(name.entry, flags, dir_fd=folder)
        except FileNotFoundError:
            raise NotInInbox(name.entry) from None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise BadInboxFile(f"{name.entry} in the public inbox is no plain file") from None
            raise
        try:
            status = os.fstat(source)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                raise BadInboxFile(f"{name.entry} in the public inbox is no plain file")
            if status.st_size > limit:
                raise BadInboxFile(f"{name.entry} is larger than the limit of {limit} bytes")
            copy = _copy(source, private / name.entry, name.sha1, limit)
        finally:
            os.close(source)
            discard(name, public)
        return copy
    finally:
        os.close(folder)


def discard(name: InboxName, public: Path) -> None:
    """Remove the entry from the public inbox, if it is there."""
    with suppress(IsADirectoryError):  # not ours to remove, and in nobody's way
        (public / name.entry).unlink(missing_ok=True)


def _copy(source: int, target: Path, sha1: str, limit: int) -> Path:
    digest, size = hashlib.sha1(usedforsecurity=False), 0
    # A copy that a crash left behind is replaced.
    target.unlink(missing_ok=True)
    try:
        with open(target, "xb") as file:
            while piece := os.read(source, PIECE):
                size += len(piece)
                if size > limit:
                    raise BadInboxFile(f"{target.name} is larger than the limit of {limit} bytes")
                digest.update(piece)
                file.write(piece)
            os.fchmod(file.fileno(), 0o444)
        if digest.hexdigest() != sha1:
            raise BadInboxFile("File hash invalid.")
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return target
