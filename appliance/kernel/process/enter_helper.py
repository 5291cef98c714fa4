"""Does an errand in a sandbox that is there already, see `enter`.

Run by ``python -I -S``, with the number of a descriptor as its last argument, where its order
is. A process cannot go into a PID namespace itself, only its children begin there: so one of
ours stays outside, passes signals on and ends as the program ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import marshal
import os
import resource
import signal
import sys
import termios
import warnings
from typing import Any, NoReturn

import landlock  # type: ignore[import-not-found] # our neighbour; there are no packages here
import syscalls  # type: ignore[import-not-found]

LATER = (resource, warnings)  # what `landlock` and `os` load when they need it

NS_GET_USERNS = 0xB701  # linux/nsfs.h
PR_SET_PDEATHSIG, PR_CAPBSET_DROP = 1, 24
PASSED = (
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip


def enter(spaces: dict[str, int], uid: int | None, parent: int) -> None:
    """Move to *spaces* and go on as a process that was born there.

    What the user of the sandbox owns, its user namespace opens; a second one, in which it is
    nobody but itself, is below that.

    Raises:
      OSError: the kernel does not let us.
    """
    libc = syscalls.load()

    def setns(descriptor: int) -> None:
        if libc.setns(descriptor, 0):
            number = ctypes.get_errno()
            raise OSError(number, f"setns: {os.strerror(number)}")

    inner = spaces.pop("user")
    outer = fcntl.ioctl(spaces["mnt"], NS_GET_USERNS)
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    # What is not loaded by now may not be found in there: not even tried, wherever Python is.
    sys.path.clear()
    setns(outer)
    for descriptor in spaces.values():
        setns(descriptor)
    syscalls.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)  # the appliance has ended before the kernel was told to tell us
    waited = {*PASSED, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    if child := os.fork():
        stand_in_for(child)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.setsid()
    if not os.path.samestat(os.fstat(inner), os.fstat(outer)):
        setns(inner)
    for descriptor in (inner, outer, *spaces.values()):
        os.close(descriptor)
    drop_capabilities(libc)


def drop_capabilities(libc: Any) -> None:
    """Give up what coming into a user namespace gave us, for good."""
    capability = 0
    while libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    syscalls.drop_capabilities()


def stand_in_for(child: int) -> NoReturn:
    """Pass signals on to *child* and its group, and end as it ends; its group ends with it."""
    try:
        os.closerange(0, min(os.sysconf("SC_OPEN_MAX"), 1 << 20))
        while True:
            received = signal.sigwaitinfo({*PASSED, signal.SIGCHLD}).si_signo
            if received != signal.SIGCHLD:
                signal_group(child, received)
            elif os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                signal_group(child, signal.SIGKILL)
                break
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status < 0:
            end_by(-status)
        os._exit(status)
    finally:
        os._exit(70)  # a bug here must not become a second program


def signal_group(leader: int, number: int) -> None:
    """Signal the group of *leader*, or it alone while it leads none yet."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        os.kill(leader, number)
    except PermissionError:
        pass  # all that is left of it has ended already


def end_by(number: int) -> None:
    """End by the signal *number*, where that is possible."""
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)


def main() -> None:
    """Run the order in the file descriptor that the last argument names."""
    with open(int(sys.argv[-1]), "rb") as file:
        order = marshal.load(file)
    if mark := os.environ.get(order["mark"]):
        order["env"][order["mark"]] = mark
    script = None
    if order["script"]:
        folder, name = os.path.split(order["script"])
        sys.path.append(folder)
        script = __import__(name.removesuffix(".py"))
    try:
        if order["spaces"]:
            enter(order["spaces"], order["become"], order["parent"])
            order["parent"] = 0  # as a child sees one that is outside of its namespace
        if order["terminal"]:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if not os.path.isdir(order["cwd"]):
            order["cwd"] = os.path.dirname(order["cwd"])
        if script is None:
            landlock.launch(order)
        else:
            landlock.confine(order)
            sys.exit(script.main(order["argv"]))
    except (landlock.Refused, OSError) as error:
        sys.exit(f"{order['name']}: cannot be entered: {error}")
