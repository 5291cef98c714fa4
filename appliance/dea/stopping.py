"""Asks a program to end, in a way that lets it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from signal import SIGTERM

from appliance.kernel.process.kill import program_in
from appliance.kernel.process.spawner import Child
from appliance.kernel.process.usage import Process, process_table, read_process, tree

WRAPPERS = frozenset(("bwrap", "setpriv", "prlimit"))
SHELLS = frozenset(("startup", "bash", "sh", "dash"))


def ask_to_end(child: Child) -> None:
    """Send SIGTERM to the program of *child*, or past the shell that waits for it.

    For the spawner's thread, where the pid cannot be given to another process meanwhile.

    A startup script of 2012 is a shell that waits for the app. It would die of the signal at
    once, and its sandbox with it, before the app could finish what it is doing. Ours catch
    the signal and pass it on.
    """
    if child.returncode is not None:
        return
    first = program_in(child.pid)
    process = read_process(first)
    if process is not None and process.name in WRAPPERS:
        # Nothing runs inside yet. The sandbox's outer half alone must not be ended now: the
        # inner one learns of its end only later, and would start the program for nobody.
        child.kill()
        return
    waited_for = below(first, process_table())
    if waited_for and not catches(first, SIGTERM):
        for pid in waited_for:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, SIGTERM)
    else:
        child.send_signal(SIGTERM)


def below(first: int, table: Mapping[int, Process]) -> list[int]:
    """The pids of what runs below *first*, if that is a shell; else none."""
    if first not in table or table[first].name not in SHELLS:
        return []
    return [
        process.pid
        for process in tree(first, table)
        if process.pid != first and process.state != "Z"
    ]


def catches(pid: int, signal: int) -> bool:
    """Whether the process *pid* has a handler of its own for *signal*."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
            caught = next((line for line in status if line.startswith("SigCgt:")), "SigCgt: 0")
    except OSError:
        return False
    return bool(int(caught.split()[1], 16) >> (signal - 1) & 1)
