"""Confines programs, as far as this machine allows; what it allows is found out by trying.

Layers: a user of its own when started by root, no new privileges, limits; then bubblewrap
(namespaces, an own file system, seccomp). Where that does not run, a launcher closes what
Landlock can close, else nothing more: then `Sandbox.isolated` is False and says why.
"""

from __future__ import annotations

import glob
import os
import resource
import shutil
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from appliance.kernel.errors import ApplianceError
from appliance.kernel.process.bubblewrap import Bubblewrap, Tools, layout
from appliance.kernel.process.cgroups import Join
from appliance.kernel.process.folders import noted_folder
from appliance.kernel.process.landlock import abi_version
from appliance.kernel.process.launcher import Launcher
from appliance.kernel.process.output import Completed
from appliance.kernel.process.profile import HOME, MIB, Command, Limits, Profile
from appliance.kernel.process.profile import inside as place_of
from appliance.kernel.process.reach import Reach
from appliance.kernel.process.seccomp import deny_list
from appliance.kernel.process.spawner import Spawner, SpawnFailed

__all__ = ["HOME", "MIB", "Command", "Limits", "Profile", "Sandbox", "SandboxRefused", "probe"]

UID = 22000  # what root becomes for its sandboxes; belongs to nobody on common systems
PROBE = 5.0  # seconds for a start that takes 10 ms
TIDY = 600.0  # seconds for changing or removing a tree of files

TOOLS_ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


class SandboxRefused(ApplianceError):
    """Isolation was required and this machine does not give it."""

    code, status, exit_code = "sandbox-refused", 500, 11
    hint = "Install bubblewrap and allow user namespaces, or start with --sandbox=auto."


class TreeFailed(ApplianceError):
    """A tree of files could not be handed over or removed."""

    code, status, exit_code = "tree-failed", 500, 40


class Builder(Protocol):
    """Turns a profile and a command into a confined command."""

    def command(self, profile: Profile, argv: Sequence[str | Path]) -> Command:
        """*argv*, confined by *profile*."""

    def order(self, profile: Profile, argv: Sequence[str | Path]) -> dict[str, Any]:
        """What `landlock.launch` is to do for *argv* in a sandbox that is there, see `enter`."""


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """How programs are confined on this machine; made by `probe`, found at `Spawner.sandbox`."""

    kind: Literal["bubblewrap", "landlock", "plain"]
    reason: str  # why it is not isolated, in the words of what failed; "" when it is
    builder: Builder
    spawner: Spawner
    uid: int | None = None  # the user that programs run as; None: the appliance's own
    reach: Reach | None = None

    @property
    def isolated(self) -> bool:
        """Whether programs are kept from the machine, its processes and from each other."""
        return self.kind == "bubblewrap"

    def command(self, profile: Profile, argv: Sequence[str | Path]) -> Command:
        """What to spawn so that *argv* runs confined by *profile*. Changes nothing.

        *argv* is in the program's own terms: `inside` translates paths of the machine.
        """
        command = self.builder.command(profile, argv)
        if self.spawner.groups is None:
            return command
        return replace(command, argv=[Join(profile.limits), *command.argv])

    def inside(self, profile: Profile, host_path: Path) -> str:
        """Where the program finds the machine's *host_path*.

        Raises:
          ValueError: it does not see it at all.
        """
        if self.isolated:
            return place_of(profile, host_path)
        for root in (profile.home, *profile.read_only, *profile.writable):
            if self.reach and host_path.is_relative_to(root):
                return str(self.reach.of(root) / host_path.relative_to(root))
        return str(host_path)

    def make_root(self, path: Path) -> None:
        """Make the folder in which homes are kept: passable for the user, closed to readers."""
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o700 if self.uid is None else 0o711)

    async def hand_over(self, path: Path) -> None:
        """Give the tree at *path* to the user that programs run as. Only for trees of our making:
        where programs are not isolated, another name of a foreign file would be given away too.
        """
        if self.uid is not None:
            await self._tidy("chown", "-R", "-h", "-P", f"{self.uid}:{self.uid}", "--", path)

    async def reclaim(self, path: Path) -> None:
        """Take the tree at *path* back, so that the appliance can read all of it."""
        if self.uid is not None:
            await self._tidy("chown", "-R", "-h", "-P", "0:0", "--", path)
        else:
            await self._tidy("chmod", "-R", "u+rwX", "--", path)

    async def remove(self, path: Path) -> None:
        """Remove the tree at *path*, however deep, and whatever its modes; none is fine too.

        By ``rm``: Python's own ways recurse, and fail on 2,000 folders in each other.
        """
        if self.reach:
            reach = self.reach
            await self.spawner.call(lambda: reach.drop(path))
        argv = ("rm", "-rf", "--one-file-system", "--", path)
        done = await self.spawner.run(argv, env=TOOLS_ENV, timeout=TIDY)
        if done.returncode and self.uid is None:
            await self.reclaim(path)
            done = await self.spawner.run(argv, env=TOOLS_ENV, timeout=TIDY)
        if done.returncode:
            raise TreeFailed(f"Cannot remove {path}: {_last_line(done)}.")

    async def _tidy(self, *argv: str | Path) -> None:
        done = await self.spawner.run(argv, env=TOOLS_ENV, timeout=TIDY)
        if done.returncode:
            raise TreeFailed(f"Cannot {argv[0]} {argv[-1]}: {_last_line(done)}.")


async def probe(
    spawner: Spawner,
    mode: str = "auto",
    *,
    layers: Collection[str] = ("bubblewrap", "landlock"),
) -> Sandbox:
    """The strongest confinement that works here: each is tried by really running a program.

    Never decided by version or presence: a bubblewrap that is there may still be forbidden
    user namespaces, by AppArmor or by the container around us.

    *mode* is ``"auto"``, ``"require"`` or ``"off"``: with the last nothing is tried. *layers* are
    those that may be tried; the tests leave some out.

    Raises:
      SandboxRefused: *mode* is ``"require"`` and programs cannot be isolated.
    """
    uid = UID if os.geteuid() == 0 else None
    if uid is not None and spawner.reach is None:
        spawner.reach = Reach(uid)
    reach = spawner.reach
    filter_ = deny_list(os.uname().machine)
    launcher = Launcher(uid=uid, extra=_extra())
    if reach:
        launcher = replace(launcher, alias=reach.of, prepare=reach.make)
    plain = Sandbox(
        kind="plain",
        reason="switched off by --sandbox=off",
        builder=launcher,
        spawner=spawner,
        uid=uid,
        reach=reach,
    )
    if mode == "off":
        reasons = ["switched off by --sandbox=off"]
    else:
        wrapped, why = None, "left out"
        if "bubblewrap" in layers:
            wrapped, why = _bubblewrap(plain, filter_)
        if wrapped and not (why := await _fault(wrapped)):
            return wrapped
        reasons = [f"bubblewrap: {why}"]
        if mode == "require":
            raise SandboxRefused(f"Apps cannot be isolated on this machine: {reasons[0]}.")
        launcher = replace(launcher, seccomp=filter_)
        if "landlock" in layers and (abi := abi_version()):
            ruled = replace(plain, kind="landlock", builder=replace(launcher, abi=abi))
            if not (why := await _fault(ruled)):
                return replace(ruled, reason=reasons[0])
            reasons.append(f"landlock: {why}")
    return await _plainest(replace(plain, builder=launcher), launcher, reasons)


async def _plainest(sandbox: Sandbox, launcher: Launcher, reasons: list[str]) -> Sandbox:
    """Without walls; give up the filter, then the user, if the machine forbids even those."""
    tries = [launcher, replace(launcher, seccomp=None), replace(launcher, seccomp=None, uid=None)]
    for attempt in tries:
        sandbox = replace(sandbox, builder=attempt, uid=attempt.uid, reason="; ".join(reasons))
        if not (why := await _fault(sandbox)):
            return sandbox
        reasons.append(f"plain: {why}")
    raise SandboxRefused(f"Programs cannot be started on this machine: {'; '.join(reasons)}.")


def _bubblewrap(plain: Sandbox, filter_: bytes | None) -> tuple[Sandbox | None, str]:
    """The sandbox with bubblewrap if its tools are installed, else the name of what is missing."""
    found = {name: shutil.which(name) for name in ("bwrap", "prlimit", "setpriv")}
    if plain.uid is None:
        del found["setpriv"]
    if missing := [name for name, path in found.items() if not path]:
        return None, f"{' and '.join(missing)} not installed"
    if not plain.spawner.confined and (bash := shutil.which("bash")):
        found["bash"] = bash
    tools = Tools(
        **{name: path for name, path in found.items() if path},
        python=_python(),
        uid=plain.uid,
        roots=layout(),
        extra=_extra(),
        seccomp=filter_,
        files_most=_files_most(),
    )
    builder = Bubblewrap(tools=tools)
    if plain.reach:
        builder = replace(builder, alias=plain.reach.of, prepare=plain.reach.make)
    return replace(plain, kind="bubblewrap", reason="", builder=builder), ""


async def _fault(sandbox: Sandbox) -> str:
    """Run one program in *sandbox*; what it said if that failed, else nothing."""
    try:
        with noted_folder("probe") as home:
            try:
                if sandbox.uid is not None:
                    os.chown(home, sandbox.uid, sandbox.uid)
                profile = Profile(name="probe", home=home, cwd=HOME)
                command = sandbox.command(profile, ["true"])
                done = await sandbox.spawner.run(
                    command.argv, env=command.env, cwd=command.cwd, timeout=PROBE
                )
            finally:
                if sandbox.reach:
                    reach = sandbox.reach
                    await sandbox.spawner.call(lambda: reach.drop(home))
                os.chown(home, os.getuid(), -1)
    except SpawnFailed as error:
        return str(error).removesuffix(".")
    if done.timed_out:
        return f"did not start within {PROBE:g} s"
    return _last_line(done) if done.returncode else ""


def _last_line(done: Completed) -> str:
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return said[-1].removesuffix(".") if said else f"exit status {done.returncode}"


def _python() -> tuple[str, ...]:
    """Our interpreter as sandboxes see it, and the folder that it takes if that is not in /usr."""
    program = os.path.realpath(sys.executable)
    if program.startswith("/usr/"):
        return (program,)
    return program, os.path.realpath(sys.base_prefix)


def _extra() -> tuple[str, ...]:
    """Configuration whose name holds a version."""
    return tuple(sorted(glob.glob("/etc/java-*")))


def _files_most() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return hard if hard != resource.RLIM_INFINITY else 1 << 20
