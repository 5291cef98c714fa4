"""Asks a program to end, in a way that lets it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from signal import SIGTERM

from appliance.kernel.process.spawner import Child
from appliance.kernel.process.usage import Process, process_table, tree

SHELLS = frozenset(("startup", "bash", "sh", "dash"))
WRAPPERS = frozenset(("bwrap", "setpriv", "prlimit"))


def ask_to_end(child: Child) -> None:
    """Send SIGTERM to the programs below *child*, but not to the shells that wait for them.

    A startup script is a shell that waits for the app. It would die of the signal at once,
    and its sandbox with it, before the app could finish what it is doing.
    """
    if child.returncode is not None:
        return
    for pid in to_be_asked(child.pid, process_table()):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, SIGTERM)


def to_be_asked(root: int, table: Mapping[int, Process]) -> list[int]:
    """The pids in the tree of *root* that get the signal."""
    members = [process for process in tree(root, table) if process.state != "Z"]
    parents = {process.parent for process in members}
    asked = [
        process.pid
        for process in members
        if process.name not in WRAPPERS and not (process.name in SHELLS and process.pid in parents)
    ]
    return asked or [root]  # nothing runs inside yet: then the sandbox itself
