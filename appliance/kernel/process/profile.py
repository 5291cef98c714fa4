"""What a sandboxed program may see and use, in the terms of whoever starts it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from appliance.kernel.errors import BadRequest
from appliance.kernel.process.start import Word

MIB = 1024 * 1024

HOME = "/home/vcap"  # where every profile's home is, building and running


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """The most that one sandbox may use, as far as the kernel can be told beforehand.

    Memory is counted per process and without shared memory, disk per file: the sums are for a
    watchdog, see `usage`. Processes (and threads) are counted per sandbox under bubblewrap;
    elsewhere they are not limited, since the kernel would count all of the user's.
    """

    memory: int = 512 * MIB  # bytes of RLIMIT_DATA
    total: int = 0  # bytes that all of it may use, where there are control groups; 0: not limited
    disk: int = 1024 * MIB  # bytes, the longest file
    processes: int = 256
    files: int = 1024  # open at once, per process


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """One program's surroundings: its home, what else it sees, its limits.

    *read_only* and *writable* map a file or folder of this machine to the place where the
    program sees it; they are followed when they are links, and left out when absent. What the
    sandbox's user may not read stays unreadable: see `Sandbox.hand_over`.

    The network is none but a loopback of its own, the machine's, or none with a proxy on that
    loopback (``HTTPS_PROXY`` and the like name it). Only bubblewrap keeps the last apart from
    the machine's; elsewhere it is the machine's network, without the proxy.
    """

    name: str  # the host name inside, and what messages call it
    home: Path  # bound at /home/vcap
    limits: Limits = field(default_factory=Limits)
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = f"{HOME}/app"
    network: Literal["none", "host", "egress"] = "none"
    egress: Path | None = None  # with network "egress": the socket of a proxy, see `egress`
    read_only: Mapping[Path, str] = field(default_factory=dict)
    writable: Mapping[Path, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """What to hand to `Spawner.spawn` or `run`: ``spawn(it.argv, env=it.env, cwd=it.cwd)``."""

    argv: list[Word]
    env: dict[str, str]
    cwd: Path | None


def environment(profile: Profile, home: str) -> dict[str, str]:
    """The program's whole environment: what every program needs, then the profile's own.

    Raises:
      BadRequest: a name or value that no program can be given. A NUL byte would also end a
        value among bubblewrap's options, and begin an option of the app's choice.
    """
    for key, value in profile.env.items():
        if not key or "=" in key or "\0" in key + value:
            raise BadRequest(
                f"The environment variable {key!r} of {profile.name} cannot be set:"
                " its name is empty or holds '=', or there is a NUL byte in it."
            )
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": home,
        "USER": "vcap",
    } | dict(profile.env)


def places(profile: Profile) -> list[tuple[Path, str]]:
    """Every host path of *profile* and its place inside."""
    return [
        (profile.home, HOME),
        *profile.read_only.items(),
        *profile.writable.items(),
    ]


def inside(profile: Profile, path: Path) -> str:
    """The place inside of the host's *path*. The innermost folder that holds it counts.

    Raises:
      ValueError: the program does not see it.
    """
    for host, place in sorted(places(profile), key=lambda pair: -len(pair[0].parts)):
        if path.is_relative_to(host):
            return str(PurePosixPath(place) / path.relative_to(host))
    if path.is_relative_to("/usr"):
        return str(path)
    raise ValueError(f"{path} is not to be seen in {profile.name}")


def outside(profile: Profile, place: str) -> Path:
    """The host's path of a *place* inside; the place itself when nothing was put there."""
    for host, target in sorted(places(profile), key=lambda pair: -len(pair[1])):
        if PurePosixPath(place).is_relative_to(target):
            return host / PurePosixPath(place).relative_to(target)
    return Path(place)
