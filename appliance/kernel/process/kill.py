"""Ends a child with everything below it. Only to be used while the child cannot be reaped."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from appliance.kernel.process.usage import Process, process_table, read_process, tree

#: A child whose environment has this variable gets a value of its own in it, which those below
#: it inherit: the way to find what has left the tree of processes.
MARK = "APPLIANCE_MARK"
#: One that has this variable gets the name of our run in it: the way to find, after a restart,
#: what has outlived us. bwrap gets it, and does not hand it on to the program inside.
RUN = "APPLIANCE_RUN"


def program_in(pid: int) -> int:
    """The program that the child *pid* runs: itself, or the first one inside its sandbox.

    bwrap stays on as two processes, one outside and one as the sandbox's init.
    """
    process = read_process(pid)
    if process is None or process.name != "bwrap":
        return pid
    table = process_table()
    inside = pid
    while (at := table.get(inside)) and at.name == "bwrap":
        below = [other.pid for other in table.values() if other.parent == inside]
        if not below:
            return pid  # nothing runs inside yet: bwrap itself is all there is to signal
        inside = min(below, key=lambda other: table[other].born)
    return inside


def kill_tree(root: int, mark: str = "") -> None:
    """Kill *root*, its descendants and the sessions they lead, even while they are forking.

    With a *mark* also whoever has it in its environment, which a daemon that has left tree and
    session still has.
    """

    def family(table: Mapping[int, Process]) -> list[Process]:
        members = tree(root, table)
        if mark:
            members += [one for one in table.values() if _marked(one.pid, mark)]
        return members

    kill_all(family)
    # Without a /proc the family is empty: then its group is all that can be reached.
    kill_group(root)
    _signal(root, signal.SIGKILL)


def kill_all(family: Callable[[Mapping[int, Process]], Iterable[Process]]) -> set[tuple[int, int]]:
    """Kill whom *family* picks from the process table; returns their pids and births.

    They are stopped first, and looked for again until nobody new is found, so that none can
    slip away between the looking and the killing.
    """
    found: set[tuple[int, int]] = set()
    for _ in range(100):
        picked = family(process_table())
        members = {(one.pid, one.born) for one in picked if one.state != "Z"}
        if not members - found:
            break
        for pid, _born in members - found:
            _signal(pid, signal.SIGSTOP)
        found |= members
    for pid, born in found:
        process = read_process(pid)
        if process is not None and process.born == born:
            _signal(pid, signal.SIGKILL)
    return found


def send_signal(pid: int, number: int) -> None:
    """Signal the group of the program that the child *pid* runs, see `program_in`."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(os.getpgid(program_in(pid)), number)


def kill_group(pid: int) -> None:
    """Kill the process group that *pid* leads; the leader may be a zombie."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def of_run(pid: int, run: str) -> bool:
    """Whether the process *pid* was started, perhaps by others in between, in the run *run*."""
    ours = (f"{RUN}={run}".encode(), f"{MARK}={run}.".encode())
    return any(one == ours[0] or one.startswith(ours[1]) for one in _environment(pid))


def _marked(pid: int, mark: str) -> bool:
    return f"{MARK}={mark}".encode() in _environment(pid)


def _environment(pid: int) -> list[bytes]:
    """What *pid* was started with; nothing where we may not look."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as environ:
            return environ.read().split(b"\0")
    except OSError:
        return []


def anyone(mark: str) -> bool:
    """Whether any living process has *mark*; cheaper than a table of all.

    Where there is no ``/proc`` nobody can be found.
    """
    try:
        names = os.listdir("/proc")
    except OSError:
        return False
    return any(_marked(int(name), mark) for name in names if name.isdecimal())


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
