"""The few system calls that Python 3.11 does not offer, by ctypes. Linux only.

ctypes takes 5 ms to load, so it is loaded when the first of them is made.
"""

from __future__ import annotations

import os
from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_SLAVE = 4096, 16384, 1 << 19
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38

_libc: Any = None


def _call(name: str, *arguments: object) -> int:
    global _libc
    if _libc is None:
        import ctypes

        _libc = ctypes.CDLL(None, use_errno=True)
    from ctypes import get_errno

    result = int(getattr(_libc, name)(*arguments))
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
