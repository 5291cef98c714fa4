"""How one child is started; all of it runs on the spawner's thread."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from appliance.kernel.errors import ApplianceError
from appliance.kernel.process.kill import MARK


class Data(str):
    """A word of a command line that stands for the number of a file descriptor.

    The descriptor is an anonymous file with *content*, made afresh for each start and not
    visible in the list of processes. *prepare* is called on the spawner's thread before the
    start. As a text it is ``<name>``.
    """

    __slots__ = ("content", "prepare")

    content: bytes
    prepare: Callable[[], None] | None

    def __new__(
        cls, name: str, content: bytes | str, *, prepare: Callable[[], None] | None = None
    ) -> Data:
        word = super().__new__(cls, f"<{name}>")
        word.content = content.encode() if isinstance(content, str) else content
        word.prepare = prepare
        return word


class Gate(str):
    """A word of a command line that stands for the number of one end of a socket pair.

    The program writes a line to it when it is about to begin, and waits for one. It gets none
    when the appliance has died, and must end then: bwrap asks the kernel for a death signal
    late in its start, and does not look whether its parent still lives (bubblewrap 633).
    """

    __slots__ = ()


Word = str | Path  # of a command line; `Data` and `Gate` are str


class SpawnFailed(ApplianceError):
    """The system could not start a program at all: it is missing, or there are no resources."""

    code, status, exit_code = "spawn-failed", 500, 40

    def __init__(self, program: str, reason: str) -> None:
        super().__init__(f"Cannot start {program}: {reason}.")
        self.program = program


@dataclass(frozen=True)
class Made:
    """What the spawner's thread hands over."""

    popen: subprocess.Popen[bytes]
    pidfd: int | None
    mark: str
    gate: socket.socket | None
    stdin: int | None
    stdout: int | None
    stderr: int | None


@dataclass(frozen=True)
class Order:
    """One child to be made; `make` runs on the spawner's thread."""

    argv: list[Word]
    env: dict[str, str]
    cwd: Path | None
    pass_fds: tuple[int, ...]

    SPECIAL: ClassVar[dict[str, int]] = {"null": subprocess.DEVNULL, "stdout": subprocess.STDOUT}

    def make(self, stdin: str | int, stdout: str | int, stderr: str | int) -> Made:
        """Start the process. Its ends of the pipes are closed here, ours stay open."""
        ours: list[int | None] = []
        theirs: list[int] = []
        given: list[int] = []
        gate: socket.socket | None = None

        def connect(wanted: str | int, *, write: bool) -> None:
            ours.append(None)
            if wanted == "pipe":
                ends = os.pipe()
                ours[-1], their = ends if write else ends[::-1]
                theirs.append(their)
                given.append(their)
            else:
                given.append(wanted if isinstance(wanted, int) else self.SPECIAL[wanted])

        try:
            argv, data, gate = self._open_data(theirs)
            connect(stdin, write=False)
            connect(stdout, write=True)
            connect(stderr, write=True)
            popen = subprocess.Popen(
                argv,
                stdin=given[0],
                stdout=given[1],
                stderr=given[2],
                env=self.env,
                cwd=self.cwd,
                pass_fds=(*self.pass_fds, *data),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL byte somewhere
            for fd in ours:
                if fd is not None:
                    os.close(fd)
            if gate is not None:
                gate.close()
            raise SpawnFailed(str(self.argv[0]), _why(error)) from error
        finally:
            for fd in theirs:
                os.close(fd)
        return Made(popen, _pidfd(popen.pid), self.env.get(MARK, ""), gate, *ours)

    def _open_data(self, opened: list[int]) -> tuple[list[str], list[int], socket.socket | None]:
        """The command line with numbers for `Data` and `Gate`, and our end of the gate.

        Those numbers, also put in *opened*, are for the child alone.
        """
        argv: list[str] = []
        numbers: list[int] = []
        gate: socket.socket | None = None
        for word in self.argv:
            if isinstance(word, Data):
                if word.prepare is not None:
                    word.prepare()
                fd = _nameless_file()
                opened.append(fd)
                numbers.append(fd)
                with open(fd, "wb", closefd=False) as file:
                    file.write(word.content)
                os.lseek(fd, 0, os.SEEK_SET)
                argv.append(str(fd))
            elif isinstance(word, Gate):
                gate, their = socket.socketpair()
                gate.setblocking(False)
                opened.append(their.fileno())
                numbers.append(their.fileno())
                argv.append(str(their.detach()))
            else:
                argv.append(os.fspath(word))
        return argv, numbers, gate


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):
        return str(error)
    reason = error.strerror or str(error)
    return f"{reason} ({error.filename})" if error.filename else reason


def _nameless_file() -> int:
    """An empty file for one child; in memory where there is such a thing."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("data")
    import tempfile

    with tempfile.TemporaryFile(buffering=0) as file:
        return os.dup(file.fileno())


def _pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when *pid* ends; None where the kernel has none."""
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return None
    try:
        return int(opener(pid))
    except OSError:
        return None
