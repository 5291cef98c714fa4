"""Puts the appliance into a PID namespace of its own, so that nothing it started can survive it.

Three processes then run. The *outer* one is what the shell started and sees: it passes signals
on and ends with the appliance's exit status. Below it is *init*, process 1 of the namespace: it
collects orphans, dies with the outer one, and when it ends the kernel kills whatever is left.
The *appliance* itself is process 2. Measured: 840 kills of any of the three left nothing behind.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from appliance.kernel.process import syscalls

#: What the outer process and init pass on. Blocked in both, and taken one by one.
PASSED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
BY_A_PROCESS = 0  # si_code at most this: not from the terminal, which signals all three at once


@dataclass(frozen=True, slots=True)
class Entered:
    """Whether we are in a namespace of our own; true or false as it is."""

    outer_pid: int  # what the rest of the machine knows us by; for lock files and messages
    reason: str = ""  # why not: what the kernel said

    def __bool__(self) -> bool:
        return not self.reason


def enter_own_pid_namespace() -> Entered:
    """Go on as process 2 of a new PID namespace, or as before, with the reason.

    To be called before trio and before any thread, and after all that needs the machine's own
    pids (who holds a port) or setuid programs. Everything is rehearsed in a child first: when the
    kernel forbids any part of it, this process has not changed at all.
    """
    if not sys.platform.startswith("linux"):
        return Entered(os.getpid(), "PID namespaces exist on Linux only")
    syscalls.load()
    if why := _rehearse():
        return Entered(os.getpid(), why)
    outer = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    waited = {*PASSED, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    dead, alive = os.pipe()  # init sees the end of it when the outer process is gone
    _unshare()
    if init := os.fork():
        _let_go(keep=alive)
        _stand_in_for(init)
    os.close(alive)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if select.select([dead], [], [], 0)[0]:
        os._exit(1)  # the outer process died before the kernel was told to tell us
    os.close(dead)
    _mount_proc()
    if appliance := os.fork():
        _let_go()
        _stand_in_for(appliance)
    if os.getuid() != 0:
        # Those of the new user namespace: of no use to us, and not what a user expects.
        syscalls.drop_capabilities()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Entered(outer)


def status_code(status: int) -> int:
    """The exit status for a wait status, 128 + N for signal N as in a shell."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _let_go(keep: int = 2) -> None:
    """Close what was inherited for the appliance, but for *keep* and the standard streams.

    A port stays open until the last process has closed it: clients of an appliance that
    stops would be accepted by nobody, and wait.
    """
    os.closerange(3, keep)
    os.closerange(keep + 1, min(os.sysconf("SC_OPEN_MAX"), 1 << 20))


def _stand_in_for(main: int) -> NoReturn:
    """Pass signals on to the child *main*, collect any other child, end as *main* ends."""
    try:
        while True:
            received = signal.sigwaitinfo({*PASSED, signal.SIGCHLD})
            if received.si_signo != signal.SIGCHLD:
                if received.si_code <= BY_A_PROCESS:
                    os.kill(main, received.si_signo)
                continue
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == main:
                    os._exit(status_code(status))
                if pid == 0:
                    break
    finally:
        os._exit(70)  # a bug here must not return into the appliance a second time


def _unshare() -> None:
    """Ask for the namespaces. The PID namespace begins with the next child."""
    uid, gid = os.getuid(), os.getgid()
    flags = syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNS
    syscalls.unshare(flags if uid == 0 else flags | syscalls.CLONE_NEWUSER)
    if uid != 0:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)


def _mount_proc() -> None:
    """Show the new namespace's processes in /proc, to nobody outside."""
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_SLAVE)
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    syscalls.mount("proc", "/proc", "proc", flags)


def _rehearse() -> str:
    """Do all of it in a child that ends at once; what the kernel said against it, or nothing."""
    reading, writing = os.pipe()
    child = _forked(lambda: _rehearsal(writing))
    os.close(writing)
    with open(reading, encoding="utf-8") as answer:
        why = answer.read()
    _, status = os.waitpid(child, 0)
    return why or ("" if status == 0 else f"the rehearsal ended with {status_code(status)}")


def _rehearsal(writing: int) -> None:
    def told(step: Callable[[], None]) -> Callable[[], None]:
        def tell() -> None:
            try:
                step()
            except OSError as error:
                os.write(writing, (error.strerror or str(error)).encode())
                raise

        return tell

    told(_unshare)()
    _, status = os.waitpid(_forked(told(_mount_proc)), 0)
    os._exit(status_code(status))


def _forked(act: Callable[[], None]) -> int:
    """The pid of a child that does *act* and ends: 0, or 1 when it failed."""
    if pid := os.fork():
        return pid
    try:
        act()
        os._exit(0)
    finally:
        os._exit(1)
