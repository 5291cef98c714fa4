"""Looks at an app's folder on disk, for detection."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.stager.tree import Tree

LONGEST = 1024 * 1024  # bytes read of one file; what tells an app's kind is at its beginning


def read_tree(app: Path) -> Tree:
    """The names of all files below *app*; their texts are read when asked for. Blocks."""
    names: list[str] = []
    for folder, _, files in os.walk(app):
        prefix = os.path.relpath(folder, app) + "/"
        prefix = "" if prefix == "./" else prefix
        names += [prefix + name for name in files]

    def read(name: str) -> str:
        try:
            # A fifo or a link that the app's own build made must not stop or lead us away.
            file = os.open(app / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return ""
        with open(file, "rb") as opened:
            return opened.read(LONGEST).decode("utf-8", "replace")

    return Tree.of(names, read)
