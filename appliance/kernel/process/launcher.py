"""A profile as a command line of the launcher in `landlock`, where bubblewrap does not work."""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.kernel.process import landlock
from appliance.kernel.process.bubblewrap import CONFIGURATION, NAMES
from appliance.kernel.process.kill import MARK
from appliance.kernel.process.profile import Command, Profile, environment, outside, places
from appliance.kernel.process.start import Data

#: The launcher as a module, since a file that is run by its name is compiled each time. Its
#: folder comes last, so that none of its neighbours hides a part of the standard library.
START = f"""\
import sys
sys.path.append({str(Path(landlock.__file__).parent)!r})
import landlock
landlock.main()
"""


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """Builds command lines; *abi* 0 leaves the file system as open as it is (plain)."""

    abi: int = 0  # of Landlock
    uid: int | None = None  # the user to become, from root; None: stay who we are
    seccomp: bytes | None = None
    extra: tuple[str, ...] = ()  # more configuration to be read, as in `bubblewrap.Tools`
    alias: Callable[[Path], Path] = field(default=lambda path: path)
    prepare: Callable[[Sequence[Path]], None] | None = None  # before a start, makes aliases

    def command(self, profile: Profile, argv: Sequence[str | Path]) -> Command:
        """*argv* by way of the launcher. Processes are not limited: the kernel counts by user."""
        paths = [profile.home, *profile.read_only, *profile.writable]
        prepare = self.prepare
        data = Data(
            "order",
            marshal.dumps(self.order(profile, argv)),
            prepare=(lambda: prepare(paths)) if prepare else None,
        )
        # The spawner finds by the mark what slipped out of the tree of processes.
        return Command(
            argv=[sys.executable, "-I", "-S", "-c", START, data],
            env={MARK: profile.name, "LANG": "C.UTF-8"},
            cwd=None,
        )

    def order(self, profile: Profile, argv: Sequence[str | Path]) -> dict[str, Any]:
        """What `landlock.launch` is to do."""
        home = self.alias(profile.home)
        cwd = outside(profile, profile.cwd)
        for host, _ in places(profile):
            if cwd.is_relative_to(host):
                cwd = self.alias(host) / cwd.relative_to(host)
                break
        readable = (*CONFIGURATION, *NAMES, *self.extra, *map(self._text, profile.read_only))
        writable = (str(home), *map(self._text, profile.writable))
        limits = profile.limits
        return {
            "name": profile.name,
            "mark": MARK,
            "parent": os.getpid(),
            "uid": self.uid,
            "limits": {
                "RLIMIT_DATA": limits.memory,
                "RLIMIT_FSIZE": limits.disk,
                "RLIMIT_NOFILE": limits.files,
                "RLIMIT_CORE": 0,
            },
            "ruleset": (
                landlock.ruleset(self.abi, network=profile.network != "none") if self.abi else b""
            ),
            "rules": (
                landlock.rules(self.abi, readable=readable, writable=writable) if self.abi else []
            ),
            "seccomp": self.seccomp or b"",
            # Not the machine's /tmp, which Landlock closes, and others would see.
            "env": {"TMPDIR": f"{home}/tmp"} | environment(profile, str(home)),
            "tmp": f"{home}/tmp",
            "cwd": str(cwd),
            "argv": [os.fspath(word) for word in argv],
        }

    def _text(self, path: Path) -> str:
        return str(self.alias(path))
