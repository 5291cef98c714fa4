"""Looks at an app's folder on disk, for detection, and reads what its build has left there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from appliance.stager.tree import Tree

LONGEST = 1024 * 1024  # bytes read of one file; what tells an app's kind is at its beginning

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A fifo that the app's own build made must not stop us.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_tree(app: Path) -> Tree:
    """The names of all files below *app*; their texts are read when asked for. Blocks."""
    names: list[str] = []
    for folder, _, files in os.walk(app):
        prefix = os.path.relpath(folder, app) + "/"
        prefix = "" if prefix == "./" else prefix
        names += [prefix + name for name in files]
    return Tree.of(names, lambda name: read_inside(app, name))


def read_inside(top: Path, name: str) -> str:
    """The text of the file *name* below *top*, "" when there is none; of a long one the beginning.

    The app's own build could write to all of it, so no link on the way is followed: it might
    lead us outside.
    """
    folder, _, last = name.rpartition("/")
    try:
        above = open_folder(top, folder)
    except OSError:
        return ""
    try:
        file = os.open(last, _FILE, dir_fd=above)
    except OSError:
        return ""
    finally:
        os.close(above)
    with open(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return ""
        return opened.read(LONGEST).decode("utf-8", "replace")


def names_inside(top: Path, name: str) -> list[str]:
    """The names in the folder *name* below *top*, sorted; none when it is no folder there."""
    try:
        folder = open_folder(top, name)
    except OSError:
        return []
    try:
        return sorted(os.listdir(folder))
    finally:
        os.close(folder)


def open_folder(top: Path, name: str) -> int:
    """A descriptor of the folder *name* below *top* ("" is *top* itself), without any link.

    Raises:
      OSError: it is not there, is no folder, or lies behind a link.
    """
    at = os.open(top, _FOLDER)
    for part in name.split("/") if name else ():
        try:
            if part == "..":
                raise NotADirectoryError(name)
            inner = os.open(part, _FOLDER, dir_fd=at)
        finally:
            os.close(at)
        at = inner
    return at
