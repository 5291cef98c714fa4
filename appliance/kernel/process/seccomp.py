"""The system calls that a sandboxed program may not make, as a classic BPF program. Pure.

A deny list, since a platform for any language cannot list what all of them need. It closes what
has no use in an app and a record of holes: mounts, namespaces, modules, bpf, io_uring, keys,
tracing other processes, typing into a terminal, rare address families.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from errno import EAFNOSUPPORT, ENOSYS, EPERM
from typing import NamedTuple


class Machine(NamedTuple):
    """What differs between processors: the audit number and the system calls' numbers."""

    audit: int  # AUDIT_ARCH_… of linux/audit.h
    column: int  # in NUMBERS
    clone: int
    clone3: int
    ioctl: int
    socket: int
    x32: bool  # whether a second set of numbers starts at bit 30


MACHINES: Mapping[str, Machine] = {
    "x86_64": Machine(0xC000003E, 0, clone=56, clone3=435, ioctl=16, socket=41, x32=True),
    "aarch64": Machine(0xC00000B7, 1, clone=220, clone3=435, ioctl=29, socket=198, x32=False),
}

#: name: numbers on x86_64 and aarch64, from the kernel's unistd headers; None: not there.
NUMBERS: Mapping[str, tuple[int, int | None]] = {
    # mounts and roots
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    # namespaces (those made by clone are looked at below)
    "unshare": (272, 97),
    "setns": (308, 268),
    # the kernel itself
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "create_module": (174, None),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "syslog": (103, 116),
    "acct": (163, 89),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "nfsservctl": (180, 42),
    "lookup_dcookie": (212, 18),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "vhangup": (153, 58),
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    # large surfaces with a record
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    # the machine's clock
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
}

#: CLONE_NEW{TIME,NS,CGROUP,UTS,IPC,USER,PID,NET}; CLONE_NEWTIME shares its bit with the exit
#: signal's byte (0x80), which no signal uses.
CLONE_NEW = 0x80 | 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000
CLONE_NEW |= 0x20000000 | 0x40000000

TIOCSTI = 0x5412  # puts keys into the input of a terminal
TIOCLINUX = 0x541C  # pastes into a console

#: AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6, AF_NETLINK (getifaddrs needs the last).
FAMILIES = (0, 1, 2, 10, 16)

# Classic BPF (linux/filter.h, linux/bpf_common.h) and what seccomp answers (linux/seccomp.h).
_LOAD = 0x20  # LD | W | ABS: a 32-bit word of struct seccomp_data
_EQUAL, _AT_LEAST, _ANY_BIT = 0x15, 0x35, 0x45  # JMP | (JEQ, JGE, JSET) | K
_RETURN = 0x06
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_NUMBER, _ARCH, _ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data


def deny_list(machine: str) -> bytes | None:
    """The filter for *machine* (``os.uname().machine``); None for one that is not known.

    Everything is allowed but `NUMBERS` and making namespaces by clone (EPERM), clone3 (ENOSYS:
    its flags are in memory where a filter cannot look, and every libc then uses clone) and
    address families other than `FAMILIES` (EAFNOSUPPORT).
    """
    known = MACHINES.get(machine)
    if known is None:
        return None
    program = [(_LOAD, 0, 0, _ARCH), *_unless(known.audit, ENOSYS), (_LOAD, 0, 0, _NUMBER)]
    if known.x32:
        program += _when(_AT_LEAST, 0x40000000, ENOSYS)
    for numbers in NUMBERS.values():
        if (number := numbers[known.column]) is not None:
            program += _when(_EQUAL, number, EPERM)
    program += _when(_EQUAL, known.clone3, ENOSYS)
    program += _only_for(known.clone, [_argument(0), *_when(_ANY_BIT, CLONE_NEW, EPERM)])
    program += _only_for(
        known.ioctl,
        [_argument(1), *_when(_EQUAL, TIOCSTI, EPERM), *_when(_EQUAL, TIOCLINUX, EPERM)],
    )
    program += _only_for(known.socket, [_argument(0), *_none_of(FAMILIES, EAFNOSUPPORT)])
    program.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *step) for step in program)


_Step = tuple[int, int, int, int]  # code, jump if true, jump if false, value


def _argument(index: int) -> _Step:
    """Load the lower half of an argument; both processors are little-endian."""
    return (_LOAD, 0, 0, _ARGUMENT + 8 * index)


def _when(test: int, value: int, errno: int) -> list[_Step]:
    return [(test, 0, 1, value), (_RETURN, 0, 0, _ERRNO | errno)]


def _unless(value: int, errno: int) -> list[_Step]:
    return [(_EQUAL, 1, 0, value), (_RETURN, 0, 0, _ERRNO | errno)]


def _none_of(values: tuple[int, ...], errno: int) -> list[_Step]:
    """Refuse what is none of *values*."""
    left = len(values)
    tests = [(_EQUAL, left - index, 0, value) for index, value in enumerate(values)]
    return [*tests, (_RETURN, 0, 0, _ERRNO | errno)]


def _only_for(number: int, steps: list[_Step]) -> list[_Step]:
    """*steps* for one system call; they lose its number, so they end in allowing it."""
    block = [*steps, (_RETURN, 0, 0, _ALLOW)]
    return [(_EQUAL, 0, len(block), number), *block]
