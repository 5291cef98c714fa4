"""A profile as a command line of bubblewrap. Pure, but for the aliases of closed folders.

``setpriv`` (root only: stop being root) → ``bwrap`` (namespaces, mounts, seccomp) → the gate
(unless nothing can outlive us anyway) → ``prlimit`` (inside, where processes are counted per
sandbox) → the program.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.kernel.errors import BadRequest
from appliance.kernel.process.kill import MARK, RUN
from appliance.kernel.process.profile import (
    HOME,
    MIB,
    Command,
    Limits,
    Profile,
    environment,
)
from appliance.kernel.process.start import Data, Gate, Word

UID = 2000  # "vcap" inside, as on Cloud Foundry's cells; outside it is the sandbox's user
TMP = 64 * MIB  # bytes of RAM that /tmp may take
SHM = 8 * MIB  # bytes of RAM that /dev/shm may take

PASSWD = f"""\
root:x:0:0:root:/:/usr/sbin/nologin
vcap:x:{UID}:{UID}:vcap:{HOME}:/bin/bash
"""
GROUP = f"""\
root:x:0:
vcap:x:{UID}:
"""
HOSTS = """\
127.0.0.1 localhost
::1 localhost
"""
NSSWITCH = """\
passwd: files
group: files
hosts: files dns
"""

#: Says that it is there, waits to hear that the appliance is too, closes its end and goes on.
#: By bash, since other shells lose variables with dots in their names.
GATE = """\
APPLIANCE_GATE=$1; shift
echo >&"$APPLIANCE_GATE"
read -r -u "$APPLIANCE_GATE" APPLIANCE_WORD || exit 1
exec {APPLIANCE_GATE}>&-
exec "$@"
"""

#: What runtimes of any kind read below /etc; absent ones are left out.
CONFIGURATION = (
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/php",
    "/etc/pki",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl",
)
#: What finding hosts by name takes, with the machine's network.
NAMES = ("/etc/gai.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf")

#: A program with a proxy for a network: its socket, what listens for it, and how it is named.
EGRESS_PLACE = "/run/egress"
SHIM_PLACE = "/run/egress_shim.py"
SHIM = Path(__file__).with_name("egress_shim.py")
PROXY_PORT = 3128  # on the sandbox's own loopback
PROXY_ENV = {
    name: f"http://127.0.0.1:{PROXY_PORT}"
    for upper in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    for name in (upper, upper.lower())
} | {"NO_PROXY": "", "no_proxy": ""}


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What was found on this machine."""

    bwrap: str
    prlimit: str
    python: tuple[str, ...] = ()  # for the shim of an egress: the program, and its folder if own
    setpriv: str = ""  # only root needs it
    bash: str = ""  # for the gate; "" goes without
    uid: int | None = None  # the user to become, from root; None: stay who we are
    roots: tuple[str, ...] = ()  # words that lay out /usr and its links, see `layout`
    extra: tuple[str, ...] = ()  # more of CONFIGURATION, e.g. /etc/java-17-openjdk
    seccomp: bytes | None = None  # the filter, where one is known for the processor
    files_most: int = 1024  # the hard limit of open files, which cannot be raised


@dataclass(frozen=True, kw_only=True)
class Bubblewrap:
    """Builds command lines; *alias* tells where the sandbox's user finds a host path."""

    tools: Tools
    alias: Callable[[Path], Path] = field(default=lambda path: path)
    prepare: Callable[[Sequence[Path]], None] | None = None  # before a start, makes aliases

    def command(self, profile: Profile, argv: Sequence[str | Path]) -> Command:
        """*argv* in a sandbox. Environment and paths do not show in the list of processes."""
        tools = self.tools
        paths = [profile.home, *profile.read_only, *profile.writable]
        if profile.egress:
            paths.append(profile.egress)
        prepare = self.prepare
        words: list[Word] = [
            *_drop(tools),
            tools.bwrap,
            "--args",
            Data(
                "options",
                "\0".join(self.options(profile)).encode("utf-8", "surrogateescape"),
                prepare=(lambda: prepare(paths)) if prepare else None,
            ),
            "--file",
            Data("passwd", PASSWD),
            "/etc/passwd",
            "--file",
            Data("group", GROUP),
            "/etc/group",
        ]
        if profile.network != "host":
            words += ["--file", Data("hosts", HOSTS), "/etc/hosts"]
            words += ["--file", Data("nsswitch", NSSWITCH), "/etc/nsswitch.conf"]
        if profile.network == "egress":
            words += ["--file", Data("shim", SHIM.read_bytes()), SHIM_PLACE]
        if tools.seccomp is not None:
            # Consumed by its reader, therefore made afresh for each start, as all of these.
            words += ["--seccomp", Data("seccomp", tools.seccomp)]
        # Last, when all is in place. Without it a program could fill RAM through "/".
        words += ["--remount-ro", "/", "--"]
        if tools.bash:
            words += [tools.bash, "-p", "-c", GATE, "gate", Gate("gate")]
        words += [tools.prlimit, *limits(profile.limits, tools), "--"]
        if profile.network == "egress":
            words += [tools.python[0], "-I", "-S", SHIM_PLACE, EGRESS_PLACE, str(PROXY_PORT)]
        words += argv
        return Command(argv=words, env={"PATH": "/usr/bin:/bin", RUN: ""}, cwd=None)

    def order(self, profile: Profile, argv: Sequence[str | Path]) -> dict[str, Any]:
        """What `landlock.launch` is to do in a sandbox of *profile*, once it is in there."""
        wanted = profile.limits
        return {
            "name": profile.name,
            "mark": MARK,
            "parent": os.getpid(),
            "uid": None,  # the namespaces bring it along
            "limits": {
                "RLIMIT_DATA": wanted.memory,
                "RLIMIT_FSIZE": wanted.disk,
                "RLIMIT_NPROC": wanted.processes,
                "RLIMIT_NOFILE": min(wanted.files, self.tools.files_most),
                "RLIMIT_CORE": 0,
            },
            "ruleset": b"",
            "rules": [],
            "seccomp": self.tools.seccomp or b"",
            "env": environment(profile, HOME),
            "tmp": "",  # there is a /tmp
            "cwd": profile.cwd,
            "argv": [os.fspath(word) for word in argv],
        }

    def options(self, profile: Profile) -> list[str]:
        """What goes through ``--args``: everything but the generated files."""
        words = ["--unshare-all", "--unshare-user", "--uid", str(UID), "--gid", str(UID)]
        if profile.network == "host":
            words.append("--share-net")
        words += ["--die-with-parent", "--new-session", "--hostname", hostname(profile.name)]
        if self.tools.seccomp is None:
            # The filter would have kept new user namespaces away.
            words.append("--disable-userns")
        words.append("--clearenv")
        env = environment(profile, HOME)
        if profile.network == "egress":
            env |= PROXY_ENV
        for key, value in env.items():
            words += ["--setenv", key, value]
        words += self.tools.roots
        names = NAMES if profile.network == "host" else ()
        for path in (*CONFIGURATION, *self.tools.extra, *names):
            words += ["--ro-bind-try", path, path]
        words += ["--proc", "/proc", "--dev", "/dev"]
        # /dev is a tmpfs too: closed after /dev/shm, which stays writable, has its size.
        words += ["--size", str(SHM), "--perms", "1777", "--tmpfs", "/dev/shm"]
        words += ["--remount-ro", "/dev"]
        words += ["--size", str(TMP), "--perms", "1777", "--tmpfs", "/tmp"]
        words += ["--bind", str(self.alias(profile.home)), HOME]
        for path, place in profile.read_only.items():
            words += ["--ro-bind-try", str(self.alias(path)), place]
        for path, place in profile.writable.items():
            words += ["--bind-try", str(self.alias(path)), place]
        if profile.network == "egress":
            if profile.egress is None or not self.tools.python:
                raise BadRequest(f"{profile.name} asks for a proxy, and there is none.")
            words += ["--bind", str(self.alias(profile.egress)), EGRESS_PLACE]
            for folder in self.tools.python[1:]:
                words += ["--ro-bind-try", folder, folder]
        words += ["--chdir", profile.cwd]
        if any("\0" in word for word in words):
            raise BadRequest(f"A path of {profile.name} holds a NUL byte.")
        return words


def limits(wanted: Limits, tools: Tools) -> list[str]:
    """The options of prlimit. DATA, not AS: Node, Go and Java reserve address space freely."""
    files = min(wanted.files, tools.files_most)
    return [
        f"--data={wanted.memory}",
        f"--fsize={wanted.disk}",
        f"--nproc={wanted.processes}",
        f"--nofile={files}",
        "--core=0",
    ]


def layout(root: Path = Path("/")) -> tuple[str, ...]:
    """Words that show this machine's programs: /usr, and /bin, /lib and so on as they are here."""
    words = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = root / name
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), f"/{name}"]
        elif path.is_dir():
            words += ["--ro-bind", f"/{name}", f"/{name}"]
    return tuple(words)


def hostname(name: str) -> str:
    """*name* as a host name: letters, digits and hyphens, at most 63."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-")[:63].strip("-") or "app"


def _drop(tools: Tools) -> list[str]:
    if tools.uid is None:
        return []
    return [
        tools.setpriv,
        f"--reuid={tools.uid}",
        f"--regid={tools.uid}",
        "--clear-groups",
        "--no-new-privs",
        "--",
    ]
