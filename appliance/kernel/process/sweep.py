"""Clears up after appliances that were killed: their processes, then their private folders."""

from __future__ import annotations

import os
import select
import stat
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from appliance.kernel.process import cgroups, syscalls
from appliance.kernel.process.kill import kill_all, of_run
from appliance.kernel.process.ledger import (
    Found,
    Ledger,
    abandoned,
    boot_id,
    hold,
    pid_namespace,
    runtime_folder,
)
from appliance.kernel.process.usage import Process, read_process, tree

GONE = 200  # looks, 10 ms apart, for a process that has been killed


def sweep(folder: Path | None = None) -> None:
    """Clear up after all of this user's appliances that are dead."""
    with abandoned(folder or runtime_folder()) as left:
        for found in left:
            clear_up(found)


def hold_state(state: Path) -> Ledger:
    """Hold the state folder *state*, and clear up after its last owner. Raises as `hold`."""
    return hold(state, clear_up)


def clear_up(found: Found) -> None:
    """Kill what *found* tells of, and remove the folders.

    A pid alone proves nothing: a process must also be of this boot and PID namespace, and be
    as old as the note says, or have the name of that run in its environment.
    """
    if found.owner.boot and found.owner.boot == boot_id():
        _kill(found)
        for group in found.groups:
            cgroups.remove(group)
    for folder in found.folders:
        erase(folder)


def erase(path: Path) -> None:
    """Remove the folder *path* with what is mounted below it, however deep, whatever its modes.

    None is fine; something else than a folder of this user's own is left alone.
    """
    try:
        status = path.lstat()
    except OSError:
        return
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        return
    for mount in mounts_below(path):
        with suppress(OSError):
            syscalls.unmount(mount)
    # By rm: Python's own ways recurse, and fail on 2,000 folders in each other.
    remove = ["rm", "-rf", "--one-file-system", "--", os.fspath(path)]
    if _quietly(remove) and os.getuid() != 0:
        _quietly(["chmod", "-R", "u+rwX", "--", os.fspath(path)])
        _quietly(remove)


def mounts_below(path: Path) -> list[str]:
    """Where something is mounted at or below *path*, the innermost first."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return []
    places = [_unescaped(line.split(" ")[4]) for line in lines]
    return [place for place in reversed(places) if Path(place).is_relative_to(path)]


def _kill(found: Found) -> None:
    noted = dict(found.children) if found.owner.pidns == pid_namespace() else {}

    def survivors(table: Mapping[int, Process]) -> list[Process]:
        picked = [one for one in table.values() if of_run(one.pid, found.owner.run)]
        for pid, born in noted.items():
            if pid in table and table[pid].born == born:
                picked += tree(pid, table)
        return [one for one in picked if one.pid != os.getpid()]

    dying = kill_all(survivors)
    for _ in range(GONE):
        dying = {(pid, born) for pid, born in dying if _alive(pid, born)}
        if not dying:
            return
        select.select([], [], [], 0.01)


def _alive(pid: int, born: int) -> bool:
    process = read_process(pid)
    return process is not None and process.born == born and process.state != "Z"


def _quietly(argv: list[str]) -> int:
    quiet = subprocess.DEVNULL
    return subprocess.run(argv, stdin=quiet, stdout=quiet, stderr=quiet, check=False).returncode


def _unescaped(place: str) -> str:
    """A path as mountinfo spells it: blanks and such as three octal digits."""
    head, *parts = place.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in parts)
