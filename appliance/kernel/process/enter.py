"""Runs one more program in a sandbox that is there already: a shell, or a copying of files.

Under bubblewrap a helper goes into the namespaces of the sandbox, takes on its limits and its
system call filter, and becomes the program. Elsewhere the launcher that has started the first
program starts this one in the same way. Either sees what the first one sees, and may do what it
may do, no more.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import sys
import termios
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from appliance.kernel.errors import ApplianceError
from appliance.kernel.process.kill import MARK, RUN, program_in
from appliance.kernel.process.profile import Profile
from appliance.kernel.process.spawner import Child, Spawner
from appliance.kernel.process.start import Data, Word

#: In the order of going in. The mounts come last: after them the helper's files are out of reach.
SPACES = ("user", "cgroup", "ipc", "uts", "net", "pid", "mnt")

START = f"""\
import sys
sys.path.append({str(Path(__file__).parent)!r})
import enter_helper
enter_helper.main()
"""

TIOCSPTLCK, TIOCGPTPEER = 0x40045431, 0x5441  # asm-generic/ioctls.h


class NotThere(ApplianceError):
    """The sandbox has ended, or not yet begun, or the kernel does not let us in."""

    code, status, exit_code = "sandbox-not-there", 409, 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Terminal:
    """A terminal that a program is to have."""

    columns: int = 80
    rows: int = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Errand:
    """What is to be run.

    With a *script*, a Python file that needs nothing but the standard library, its
    ``main(argv)`` is called, whose result is the exit status. It is loaded outside, so it needs
    no Python in the sandbox, and works in there as a program would.
    """

    argv: tuple[str, ...]
    script: Path | None = None
    terminal: Terminal | None = None


@dataclass(frozen=True, kw_only=True)
class Entered:
    """The program, and the terminal that takes the place of its three streams, if it has one."""

    child: Child
    terminal: trio.lowlevel.FdStream | None = None

    def resize(self, columns: int, rows: int) -> None:
        """Tell the program that its terminal has another size. Without one, nothing."""
        if self.terminal is not None:
            with suppress(OSError, trio.ClosedResourceError):
                termios.tcsetwinsize(self.terminal.fileno(), (rows, columns))

    async def aclose(self) -> None:
        """Kill what is left, and close the streams."""
        with trio.CancelScope(shield=True):
            if self.terminal is not None:
                await self.terminal.aclose()
            await self.child.aclose()


async def enter(spawner: Spawner, host: Child, profile: Profile, errand: Errand) -> Entered:
    """Start *errand* in the sandbox of *host*, which has been started with *profile*.

    Environment and folder are those of *profile*, where they may differ from what *host* got.

    Raises:
      NotThere: *host* does not run.
      SpawnFailed: there is no room for another program.
    """
    sandbox = spawner.sandbox
    order: dict[str, Any] = sandbox.builder.order(profile, errand.argv)
    order |= {"script": str(errand.script or ""), "terminal": errand.terminal is not None}
    way = await spawner.call(
        partial(_way_in, host, errand.terminal, sandbox.uid, isolated=sandbox.isolated)
    )
    try:
        order |= {"spaces": way.spaces, "become": sandbox.uid if way.spaces else None}
        argv: list[Word] = [
            sys.executable, "-I", "-S", "-c", START, Data("order", marshal.dumps(order)),
        ]  # fmt: skip
        env = {RUN: ""} if way.spaces else {MARK: profile.name}
        spawn = partial(
            spawner.spawn,
            argv,
            env=env | {"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"},
            pass_fds=tuple(way.spaces.values()),
            beside=host,
        )
        if way.slave is None or way.master is None:
            return Entered(child=await spawn(stdin="pipe"))
        child = await spawn(stdin=way.slave, stdout=way.slave, stderr=way.slave)
        master, way.master = way.master, None
        return Entered(child=child, terminal=trio.lowlevel.FdStream(master))
    finally:
        way.close()


@dataclass(kw_only=True)
class _Way:
    """Descriptors, to be closed: namespaces by name, and the two ends of a terminal."""

    spaces: dict[str, int] = field(default_factory=dict)
    master: int | None = None
    slave: int | None = None

    def close(self) -> None:
        for number in (*self.spaces.values(), self.master, self.slave):
            if number is not None:
                os.close(number)


def _way_in(host: Child, terminal: Terminal | None, uid: int | None, *, isolated: bool) -> _Way:
    """Open what it takes. On the spawner's thread: the pid is nobody else's meanwhile."""
    if host.returncode is not None:
        raise NotThere("It has ended.")
    way = _Way()
    try:
        pid = program_in(host.pid)
        if isolated:
            _open_spaces(way, pid)
        if terminal is not None:
            _open_terminal(way, pid if isolated else None)
            assert way.slave is not None
            termios.tcsetwinsize(way.slave, (terminal.rows, terminal.columns))
            if uid is not None:
                os.fchown(way.slave, uid, -1)
                os.fchmod(way.slave, 0o620)
    except (OSError, termios.error) as error:
        way.close()
        raise NotThere(f"It cannot be entered: {error}.") from error
    except BaseException:
        way.close()
        raise
    return way


def _open_spaces(way: _Way, pid: int) -> None:
    """Those of *pid* that are not ours."""
    for name in SPACES:
        with suppress(FileNotFoundError):  # a kernel without this kind
            number = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            if os.path.samestat(os.fstat(number), os.stat(f"/proc/self/ns/{name}")):
                os.close(number)
            else:
                way.spaces[name] = number
    if not {"user", "pid", "mnt"} <= way.spaces.keys():
        raise NotThere("It has not begun.")


def _open_terminal(way: _Way, pid: int | None) -> None:
    """A new terminal, of the sandbox of *pid* so that programs in there find it by its name."""
    if pid is None:
        way.master, way.slave = os.openpty()
        return
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    way.master = os.open(f"/proc/{pid}/root/dev/pts/ptmx", flags)
    fcntl.ioctl(way.master, TIOCSPTLCK, bytes(4))
    way.slave = fcntl.ioctl(way.master, TIOCGPTPEER, flags)
