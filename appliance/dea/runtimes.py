"""Runtimes as orders of 2012 name them, and the program that each one is here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from typing import Any

#: Where programs are looked for inside of every sandbox.
PATH = "/usr/local/bin:/usr/bin:/bin"

#: Names of runtimes (and of the frameworks that staging detects), and their programs.
EXECUTABLES: dict[str, tuple[str, ...]] = {
    "ruby": ("ruby",), "ruby18": ("ruby",), "ruby19": ("ruby",), "ruby193": ("ruby",),
    "node": ("node", "nodejs"), "node06": ("node", "nodejs"), "node08": ("node", "nodejs"),
    "nodejs": ("node", "nodejs"),
    "java": ("java",), "java6": ("java",), "java7": ("java",),
    "php": ("php",),
    "python": ("python3",), "python2": ("python2",), "python3": ("python3",),
    "go": ("go",),
    "erlangR14B01": ("erl",), "erlangR14B02": ("erl",),
}  # fmt: skip


def executable(runtime_info: Mapping[str, Any] | None, *names: str | None) -> str | None:
    """The absolute path of a runtime's program, or None when it is not installed.

    *runtime_info* may say which program it is; else it, or the first of *names* that is
    known, says which runtime.
    """
    info = runtime_info or {}
    said = info.get("executable")
    if isinstance(said, str) and said:
        return find(said)
    for name in (info.get("name"), *names):
        if isinstance(name, str) and name:
            found = map(find, EXECUTABLES.get(name, (name,)))
            return next((path for path in found if path), None)
    return None


def find(program: str) -> str | None:
    """The absolute path of *program*, a name or a path, if it can be run."""
    if os.path.isabs(program):
        return program if os.access(program, os.X_OK) else None
    # A relative path would mean something else in every folder.
    return None if os.sep in program else shutil.which(program, path=PATH)


def supported(runtime_info: Mapping[str, Any] | None, only: Collection[str] = ()) -> bool:
    """Whether an order with *runtime_info* can run here; one without brings all it needs.

    *only* are the names that this DEA offers, when it does not offer all.
    """
    if runtime_info is None:
        return True
    if only and runtime_info.get("name") not in only:
        return False
    return executable(runtime_info) is not None


def installed(only: Collection[str] = ()) -> list[str]:
    """The names that an advertisement lists: of *only*, or of all, those that can be run."""
    return [name for name in only or EXECUTABLES if executable({"name": name})]
