"""The interpreters that packages are built for: found once, at start."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.package_cache.errors import BadChoice, RuntimeGone

#: Looked at first: apps run with the programs that their sandbox shows, whatever else the
#: operator has on his own PATH.
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Runtime:
    """One interpreter."""

    name: str
    executable: Path

    @property
    def language(self) -> str:
        """``python`` or ``ruby``, by the name of the executable; "" for anything else."""
        base = self.executable.name.lower()
        for language in ("python", "pypy", "ruby"):
            if language in base:
                return "python" if language == "pypy" else language
        return ""

    def fingerprint(self) -> str:
        """Changes when another version is installed, for which nothing was built yet."""
        status = os.stat(self.executable)
        return f"{os.path.realpath(self.executable)} {status.st_size} {status.st_mtime_ns}"


@dataclass(frozen=True, slots=True)
class Runtimes:
    """Those that were found, and those that were not."""

    found: Mapping[str, Runtime]
    missing: Mapping[str, str]  # executable by name

    def get(self, name: str, language: str) -> Runtime:
        """The runtime *name*, which must run *language*.

        Raises:
          RuntimeGone: it is configured, but not installed.
          BadChoice: there is no such runtime, or it runs another language.
        """
        runtime = self.found.get(name)
        known = [each.name for each in self.found.values() if each.language == language]
        if runtime is None and name in self.missing:
            raise RuntimeGone(name, self.missing[name], known)
        if runtime is None or runtime.language != language:
            raise BadChoice("runtime", name, known)
        return runtime


def find_runtimes(configured: Mapping[str, str]) -> Runtimes:
    """Look for each executable in the system's folders, then on PATH."""
    found: dict[str, Runtime] = {}
    missing: dict[str, str] = {}
    for name, executable in configured.items():
        path = shutil.which(executable, path=SYSTEM_PATH) or shutil.which(executable)
        if path:
            found[name] = Runtime(name, Path(path))
        else:
            missing[name] = executable
    return Runtimes(found, missing)


def forget_outdated(runtimes: Runtimes, cache: Path, notes: Path) -> list[str]:
    """Remove packages that were built for another version of their runtime; their keys.

    *notes* is the file that remembers the runtimes' fingerprints. Blocks.
    """
    now = {runtime.name: runtime.fingerprint() for runtime in runtimes.found.values()}
    try:
        before = json.loads(notes.read_text())
    except (OSError, ValueError):
        before = {}
    changed = {name for name in now if before.get(name, now[name]) != now[name]}
    removed = []
    for package in cache.iterdir():
        if package.name.rpartition("@")[2].removesuffix(".tgz") in changed:
            package.unlink()
            removed.append(package.name)
    notes.write_text(json.dumps(before | now))
    return removed
