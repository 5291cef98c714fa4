"""The fallback without bubblewrap: a launcher that gives up rights and then runs the program.

Imported, it builds the launcher's orders (pure). `main`, run by ``python -I -S``, *is* the
launcher: it becomes the sandbox's user, sets limits, lets Landlock close the file system where
the kernel has it, loads the seccomp filter, and becomes the program. It therefore imports
nothing but small parts of the standard library, and those late: it takes 7 ms.

Landlock hides no processes, and counts neither memory nor UDP; see `Sandbox.isolated`.
"""

from __future__ import annotations

import os
import sys

# linux/landlock.h. Which rights exist depends on the kernel's ABI version.
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
FIRST_RIGHTS = (1 << 13) - 1  # ABI 1
LATER_RIGHTS = {2: REFER, 3: TRUNCATE, 5: IOCTL_DEV}
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV  # the rest is for folders
BIND_TCP, CONNECT_TCP = 1, 2  # ABI 4
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1, 2  # ABI 6

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every processor
PATH_BENEATH = 1
GIVE_VERSION = 1

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
SECCOMP_MODE_FILTER = 2

#: Below these every program reads and executes, whatever the profile.
PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")


def rights(abi: int) -> int:
    """Every right over files that the kernel with this *abi* can take away."""
    handled = FIRST_RIGHTS
    for version, bits in LATER_RIGHTS.items():
        if abi >= version:
            handled |= bits
    return handled


def ruleset(abi: int, *, network: bool) -> bytes:
    """``struct landlock_ruleset_attr``: all that is forbidden unless a rule allows it."""
    attribute = [rights(abi)]
    if abi >= 4:
        attribute.append(0 if network else BIND_TCP | CONNECT_TCP)
    if abi >= 6:
        attribute.append(SCOPE_SIGNALS | (0 if network else SCOPE_ABSTRACT_SOCKETS))
    return b"".join(number.to_bytes(8, sys.byteorder) for number in attribute)


def rules(
    abi: int, *, readable: tuple[str, ...], writable: tuple[str, ...]
) -> list[tuple[str, int]]:
    """Paths, and the rights below each."""
    everything = rights(abi)
    read = EXECUTE | READ_FILE | READ_DIR
    device = (READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV) & everything
    return [
        *((path, read) for path in PROGRAMS),
        *((path, device) for path in DEVICES),
        ("/proc", READ_FILE | READ_DIR),
        *((path, read) for path in readable),
        *((path, everything) for path in writable),
    ]


def abi_version() -> int:
    """The kernel's Landlock ABI; 0 when it has none, or has it switched off."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if not (sys.platform.startswith("linux") and hasattr(libc, "syscall")):
        return 0  # the number would be another call
    return max(0, int(libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), GIVE_VERSION)))


class Refused(Exception):
    """One step failed; the text names it."""


def launch(order: dict) -> None:  # type: ignore[type-arg]
    """Do what *order* says, ending as another program."""
    # What `os` loads to look for a program. Afterwards it may be closed to us, wherever Python is.
    import warnings  # noqa: F401

    confine(order)
    argv = order["argv"]
    try:
        os.execvpe(argv[0], argv, order["env"])
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{argv[0]}: {getattr(error, 'strerror', error)}\n")
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


def confine(order: dict) -> None:  # type: ignore[type-arg]
    """Become what *order* says, all but its program: user, limits, rules, filter, folder."""
    import resource

    for name, value in order["limits"].items():
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (value, value))
    if (uid := order["uid"]) is not None:
        os.setgroups([])
        # Root sets all of its ids at once, also where there are only the older calls.
        getattr(os, "setresgid", lambda gid, *_: os.setgid(gid))(uid, uid, uid)
        getattr(os, "setresuid", lambda uid, *_: os.setuid(uid))(uid, uid, uid)
    _restrict(order)
    # Python ignores these, and what is ignored stays so in the program that follows. The module
    # behind `signal`, which takes 3 ms to load for its enumerations.
    import _signal  # type: ignore[import-not-found]

    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)
    try:  # noqa: SIM105 (contextlib is not loaded here)
        os.mkdir(order["tmp"])
    except OSError:
        pass  # it exists, or the program will say what is wrong with its home
    os.chdir(order["cwd"])


def _restrict(order: dict) -> None:  # type: ignore[type-arg]
    import ctypes

    sys.path.clear()  # what is not loaded by now may be closed to us: shown with every Python
    libc = ctypes.CDLL(None, use_errno=True)

    def check(step: str, result: int) -> int:
        if result < 0:
            raise Refused(f"{step}: {os.strerror(ctypes.get_errno())}")
        return result

    def prctl(step: str, option: int, *values: int) -> None:
        padded = [*values, 0, 0, 0, 0][:4]
        check(step, libc.prctl(option, *(ctypes.c_ulong(value) for value in padded)))

    if not hasattr(libc, "prctl"):  # not Linux
        if order["ruleset"] or order["seccomp"]:
            raise Refused("this system has neither Landlock nor seccomp")
        return
    prctl("no_new_privs", PR_SET_NO_NEW_PRIVS, 1)
    prctl("parent-death signal", PR_SET_PDEATHSIG, 9)
    if os.getppid() != order["parent"]:
        raise Refused("the appliance has ended")  # before the kernel could be told to tell us
    if attribute := order["ruleset"]:
        size = ctypes.c_size_t(len(attribute))
        ruled = check("landlock", libc.syscall(CREATE_RULESET, attribute, size, 0))
        for path, allowed in order["rules"]:
            try:
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue  # what is not there needs no rule
            if not os.path.isdir(path):
                allowed &= ON_FILES
            beneath = allowed.to_bytes(8, sys.byteorder) + fd.to_bytes(4, sys.byteorder)
            check(
                f"landlock rule for {path}",
                libc.syscall(ADD_RULE, ruled, PATH_BENEATH, beneath, 0),
            )
            os.close(fd)
        check("landlock", libc.syscall(RESTRICT_SELF, ruled, 0))
        os.close(ruled)
    if program := order["seccomp"]:
        code = ctypes.create_string_buffer(program, len(program))

        class Program(ctypes.Structure):  # struct sock_fprog
            _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

        wrapped = Program(len(program) // 8, ctypes.addressof(code))
        prctl("seccomp", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(wrapped))


def main() -> None:
    """Run the order in the file descriptor that the last argument names."""
    import marshal

    with open(int(sys.argv[-1]), "rb") as file:
        order = marshal.load(file)
    if mark := os.environ.get(order["mark"]):
        order["env"][order["mark"]] = mark
    try:
        launch(order)
    except (Refused, OSError) as error:
        sys.exit(f"{order['name']}: cannot be confined: {error}")
