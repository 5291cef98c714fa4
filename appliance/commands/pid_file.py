"""The pid file of `up`: one appliance at a time, and a place where scripts find its pid."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.kernel.errors import ConfigError, Unavailable


class PidFileHeld(Unavailable):
    """Somebody runs already; the sentence has the pid."""

    code = "pid-file-held"


@contextmanager
def pid_file(path: Path | None, pid: int) -> Iterator[None]:
    """Keep *pid* in the file *path* in the block; one of a dead process is replaced.

    Raises:
      PidFileHeld: the process in it lives.
      ConfigError: it cannot be written.
    """
    if path is None:
        yield
        return
    if (holder := _living(path)) and holder != pid:
        raise PidFileHeld(
            f"{path} has the pid of a process that runs ({holder}).",
            hint="Stop it, or name another pid_file.",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{pid}\n")
    except OSError as error:
        raise ConfigError("pid_file", str(path), f"cannot be written ({error.strerror})") from error
    try:
        yield
    finally:
        # Not when a later one has put its own there.
        if _read(path) == pid:
            path.unlink(missing_ok=True)


def _living(path: Path) -> int:
    pid = _read(path)
    if pid <= 0:
        return 0
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return 0
    except PermissionError:
        pass  # somebody else's, but it lives
    return pid


def _read(path: Path) -> int:
    try:
        return int(path.read_text()[:32])
    except (OSError, ValueError):
        return 0
