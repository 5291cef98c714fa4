"""Reads a Procfile: one ``type: command`` per line. Pure."""

from __future__ import annotations

import re

_LINE = re.compile(r"^\s*([A-Za-z0-9_-]+)\s*:\s*(.+?)\s*$")


def parse_procfile(text: str) -> dict[str, str]:
    """The commands by process type, in the file's order.

    Comments and lines that are no ``type: command`` are passed over, as foreman does; a type
    that is named twice has its last command.
    """
    commands: dict[str, str] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match and not line.lstrip().startswith("#"):
            commands[match[1]] = match[2]
    return commands
