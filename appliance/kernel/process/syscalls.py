"""The few system calls that Python 3.11 does not offer, by ctypes. Linux only.

ctypes takes a few ms to load, so it is loaded by the first of them, or ahead of time by `load`.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_SLAVE = 4096, 16384, 1 << 19
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1

_CAPABILITY_VERSION_3 = 0x20080522

_libc: Any = None


def load() -> Any:
    """The C library; for a process that is about to fork and call."""
    global _libc
    if _libc is None:
        import ctypes

        _libc = ctypes.CDLL(None, use_errno=True)
    return _libc


def _call(name: str, *arguments: object) -> int:
    function = getattr(load(), name, None)
    if function is None:
        raise OSError(errno.ENOSYS, f"{name}: {os.strerror(errno.ENOSYS)}")
    result = int(function(*arguments))
    from ctypes import get_errno

    if result < 0:
        number = get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """Move the calling thread (or process, for a user namespace) to new namespaces."""
    _call("unshare", flags)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount *source* at *target*, in the mount namespace of the calling thread."""
    _call(
        "mount",
        source.encode(),
        os.fsencode(target),
        kind.encode() or None,
        flags,
        data.encode() or None,
    )


def unmount(target: str) -> None:
    """Take the mount at *target* out of sight; it ends when nobody uses it any more."""
    _call("umount2", os.fsencode(target), MNT_DETACH)


def prctl(option: int, value: int) -> None:
    """Set one property of the calling process."""
    _call("prctl", option, value, 0, 0, 0)


def drop_capabilities() -> None:
    """Give up every capability of the calling thread, as an ordinary user has none."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _call("capset", header, bytes(24))
