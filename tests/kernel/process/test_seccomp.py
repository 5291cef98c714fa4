"""The filter, run by an interpreter of classic BPF: for both processors, without a kernel."""

from __future__ import annotations

import struct
from errno import EAFNOSUPPORT, ENOSYS, EPERM

import pytest

from appliance.kernel.process.seccomp import MACHINES, NUMBERS, deny_list

ALLOW = 0x7FFF0000
READ = {"x86_64": 0, "aarch64": 63}
OTHER = {"x86_64": "aarch64", "aarch64": "x86_64"}


def verdict(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the filter answers: 0 for allowed, else an errno."""
    program = deny_list(machine)
    assert program is not None
    known = MACHINES[machine].audit if audit is None else audit
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("<IIQ6Q", number, known, 0, *padded)
    steps = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    while True:
        code, true, false, value = steps[at]
        at += 1
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif code == 0x06:
            return 0 if value == ALLOW else value & 0xFFFF
        else:
            tests = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }
            at += true if tests[code] else false


@pytest.fixture(params=sorted(MACHINES))
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_everything_on_the_list_is_refused(machine: str) -> None:
    """Each number of the table, on each processor that has it."""
    column = MACHINES[machine].column
    for name, numbers in NUMBERS.items():
        if (number := numbers[column]) is not None:
            assert verdict(machine, number) == EPERM, name


def test_the_rest_is_allowed(machine: str) -> None:
    """Reading, and numbers that no kernel of today has."""
    assert verdict(machine, READ[machine]) == 0
    assert verdict(machine, 600) == 0


@pytest.mark.parametrize("flag", [0x80, 0x20000, 0x10000000, 0x20000000, 0x40000000, 0x4000000])
def test_clone_makes_threads_but_no_namespaces(machine: str, flag: int) -> None:
    """The flags of pthread_create and fork pass; any CLONE_NEW… does not."""
    clone = MACHINES[machine].clone
    threads, forks = 0x3D0F00, 0x1200011
    assert verdict(machine, clone, threads) == 0
    assert verdict(machine, clone, forks) == 0
    assert verdict(machine, clone, forks | flag) == EPERM
    assert verdict(machine, MACHINES[machine].clone3) == ENOSYS


def test_terminals_cannot_be_typed_into(machine: str) -> None:
    """TIOCSTI and TIOCLINUX; a size may be asked for. The upper half does not count."""
    ioctl = MACHINES[machine].ioctl
    assert verdict(machine, ioctl, 0, 0x5413) == 0
    assert verdict(machine, ioctl, 0, 0x5412) == EPERM
    assert verdict(machine, ioctl, 0, 0x541C) == EPERM
    assert verdict(machine, ioctl, 0, 0xFFFFFFFF_00005412) == EPERM


def test_only_common_address_families(machine: str) -> None:
    """Unix, IPv4, IPv6 and netlink; neither packets nor virtual machines nor kernel crypto."""
    socket = MACHINES[machine].socket
    assert {verdict(machine, socket, family) for family in (0, 1, 2, 10, 16)} == {0}
    assert {verdict(machine, socket, family) for family in (3, 17, 38, 40)} == {EAFNOSUPPORT}


def test_no_way_around_by_another_calling_convention(machine: str) -> None:
    """Numbers of another processor mean other calls; x32 has a second set on x86_64."""
    other = MACHINES[OTHER[machine]].audit
    assert verdict(machine, READ[machine], audit=other) == ENOSYS
    assert verdict("x86_64", 0x40000000 | 165) == ENOSYS


def test_unknown_processors_get_no_filter() -> None:
    """Wrong numbers would be worse than none."""
    assert deny_list("riscv64") is None
    program = deny_list("x86_64")
    assert program is not None
    assert len(program) // 8 < 4096  # the kernel's limit
