"""What a session in an instance runs: a shell, a command, or a copying of files. Pure."""

from __future__ import annotations

import shlex
from pathlib import Path

from appliance.dea.copying import scp, sftp
from appliance.dea.messages_ssh import Wanted
from appliance.kernel.process.enter import Errand, Terminal

SHELL = "/bin/bash"  # every droplet's startup takes it, so it is there


def errand(wanted: Wanted) -> Errand | None:
    """The program for *wanted*; None for a subsystem that is not known.

    The far end of scp is ours, since few sandboxes have one.
    """
    if wanted.subsystem:
        return Errand(argv=(), script=Path(sftp.__file__)) if wanted.subsystem == "sftp" else None
    size = wanted.terminal
    terminal = None if size is None else Terminal(columns=size.columns, rows=size.rows)
    if wanted.command is None:
        return Errand(argv=(SHELL,), terminal=terminal)
    words = _words(wanted.command)
    if words[:1] == ["scp"] and scp.options(words[1:]):
        return Errand(argv=tuple(words[1:]), script=Path(scp.__file__))
    return Errand(argv=(SHELL, "-c", wanted.command), terminal=terminal)


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # an open quote: the shell will say so
        return []
