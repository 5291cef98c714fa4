"""How an instance ended, in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass

#: Signals by number, as on every Linux that this runs on.
SIGNALS = {
    1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 5: "TRAP", 6: "ABRT", 7: "BUS", 8: "FPE", 9: "KILL",
    10: "USR1", 11: "SEGV", 12: "USR2", 13: "PIPE", 14: "ALRM", 15: "TERM", 24: "XCPU",
    25: "XFSZ", 31: "SYS",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """Why an instance is over, and what its program's status was, if it had come to one."""

    reason: str  # STOPPED, CRASHED or DEA_SHUTDOWN
    status: int | None = None  # 128 + N for signal N, as shells say it
    description: str | None = None


def shell_status(returncode: int) -> int:
    """*returncode* as a shell tells it: 128 + N for a program that signal N ended."""
    return 128 - returncode if returncode < 0 else returncode


def signal_of(status: int) -> str:
    """What to add to a shell's *status*: the signal that it stands for, or nothing.

    Whatever stands between us and the program (a sandbox, a shell) says 128 + N when it
    ended by signal N; only names that exist are taken for one.
    """
    name = SIGNALS.get(status - 128)
    return f" (killed by signal {name})" if name else ""


def describe(source: str, status: int) -> str:
    """The sentence for a program, which logs call *source*, that ended with *status*."""
    return f"{source}: Exited with status {status}{signal_of(status)}"


def over_memory(source: str, used: int, quota: int) -> str:
    """The sentence for an instance with *used* of *quota* bytes of memory."""
    return (
        f"{source}: Exited with status 137 (out of memory),"
        f" used {_mib(used)} MB of {_mib(quota)} MB"
    )


def over_disk(used: int, quota: int) -> str:
    """The sentence for an instance with *used* of *quota* bytes of disk."""
    return f"Out of disk: used {_mib(used)} MB of {_mib(quota)} MB"


def _mib(size: int) -> int:
    return -(-size // (1024 * 1024))
