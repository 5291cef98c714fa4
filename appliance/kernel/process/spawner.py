"""Makes every child process, from one thread that lives as long as the appliance's run.

The thread matters: a parent-death signal (``bwrap --die-with-parent``) is tied to the *thread*
that made the child, and the worker thread in which trio makes children ends after 10 s idle,
which kills the child (bubblewrap issue 692).
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

import outcome
import trio

from appliance.kernel.errors import ApplianceError
from appliance.kernel.process.output import Completed, Lines, Tail
from appliance.kernel.process.usage import process_table, read_process, tree

if TYPE_CHECKING:
    from appliance.kernel.process.reach import Reach
    from appliance.kernel.process.sandbox import Sandbox

T = TypeVar("T")

#: A child whose environment has this variable gets a value of its own in it, which those below
#: it inherit: the way to find what has left the tree of processes.
MARK = "APPLIANCE_MARK"

CHUNK = 64 * 1024  # bytes; the size of a pipe
LEFTOVER = 0.5  # seconds that output may still come after the command itself has ended
UNKILLABLE = 10.0  # seconds after SIGKILL until a child (in a broken file system) is given up


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


Word = str | Path  # of a command line; `Data` is a str


class SpawnFailed(ApplianceError):
    """The system could not start a program at all: it is missing, or there are no resources."""

    code, status, exit_code = "spawn-failed", 500, 40

    def __init__(self, program: str, reason: str) -> None:
        super().__init__(f"Cannot start {program}: {reason}.")
        self.program = program


class Child:
    """One child process, the leader of a session of its own.

    The streams are None unless they were asked for as ``"pipe"``. Whoever spawned it closes
    them; the process itself is reaped as soon as it ends, whether or not somebody waits.
    """

    def __init__(self, spawner: Spawner, made: _Made) -> None:
        self._spawner = spawner
        self._popen = made.popen
        self._pidfd = made.pidfd
        self._mark = made.mark
        self._ended = trio.Event()
        self.pid = made.popen.pid
        self.stdin = trio.lowlevel.FdStream(made.stdin) if made.stdin is not None else None
        self.stdout = trio.lowlevel.FdStream(made.stdout) if made.stdout is not None else None
        self.stderr = trio.lowlevel.FdStream(made.stderr) if made.stderr is not None else None
        self.returncode: int | None = None  # negative: the signal that ended it

    async def wait(self) -> int:
        """Wait until the process has ended; its exit status, negative for a signal.

        Any number of tasks may wait. Being cancelled leaves the process alone.
        """
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the program and its process group; nothing if it has ended.

        Inside a bubblewrap sandbox that is the group of the first program in it, not bwrap,
        which would take the whole sandbox down at the first SIGTERM.
        """
        if self.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(os.getpgid(program_in(self.pid)), number)

    def kill(self) -> None:
        """Kill the process and everything below it, very soon; `wait` tells when it is gone."""
        if self.returncode is None:
            self._spawner.post(self._kill_tree)

    async def aclose(self) -> None:
        """Kill what is left, wait for its end, close the streams. Not stopped by cancellation."""
        with trio.CancelScope(shield=True):
            self.kill()
            with trio.move_on_after(UNKILLABLE):
                await self._ended.wait()
            for stream in (self.stdin, self.stdout, self.stderr):
                if stream is not None:
                    await stream.aclose()

    async def reap(self) -> None:
        """Wait for the end and collect the status. Runs once per child, by the spawner."""
        if self._pidfd is not None:
            await trio.lowlevel.wait_readable(self._pidfd)
            os.close(self._pidfd)
        else:
            await trio.to_thread.run_sync(
                os.waitid, os.P_PID, self.pid, os.WEXITED | os.WNOWAIT, limiter=self._spawner.waits
            )
        # Before the pid is given back: whoever stayed behind in the session's first group
        # would otherwise outlive the program whose part it was.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        left = bool(self._mark) and await self._spawner.call(lambda: _anyone(self._mark))
        if left:
            await self._spawner.call(self._kill_tree)
        with self._spawner.reaping:
            self.returncode = self._popen.wait()
        self._ended.set()

    def _kill_tree(self) -> None:
        # On the spawner's thread; the pid cannot be given to another process meanwhile.
        with self._spawner.reaping:
            if self.returncode is None:
                kill_tree(self.pid, self._mark)


class Spawner:
    """Starts children. Get one from `open_spawner`; it is part of every room's kit."""

    sandbox: Sandbox  # set by `open_spawner`
    reach: Reach | None = None

    def __init__(self) -> None:
        self.children: set[Child] = set()
        self.reaping = threading.Lock()  # held while a pid is signalled or given back
        self.waits = trio.CapacityLimiter(1000)  # threads that wait, where pidfds are missing
        self._token = trio.lowlevel.current_trio_token()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._marks = 0
        self._thread = threading.Thread(target=self._work, name="spawner", daemon=True)
        self._thread.start()

    async def spawn(
        self,
        argv: Sequence[Word],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        stdin: Literal["null", "pipe"] = "null",
        stdout: Literal["null", "pipe"] | int = "pipe",
        stderr: Literal["null", "pipe", "stdout"] | int = "pipe",
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Start *argv* in a session of its own; it has exactly the environment *env*.

        An *int* for an output is a file descriptor, which stays the caller's to close. Nothing
        but *pass_fds* is inherited; they keep their numbers. The child lives until it ends or
        is killed, at the latest until `open_spawner` is left.

        Raises:
          SpawnFailed: the program is missing, may not be run, or there is no room for it.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        given = dict(env)
        if MARK in given:
            self._marks += 1
            given[MARK] = f"{os.getpid()}.{self._marks}"
        order = _Order(list(argv), given, cwd, tuple(pass_fds))
        child = Child(self, await self.call(lambda: order.make(stdin, stdout, stderr)))
        self.children.add(child)
        # A task of the system's: an error in the caller's body must reach it as it is, not in
        # the group that a nursery of our own would wrap around it.
        trio.lowlevel.spawn_system_task(self._look_after, child)
        return child

    async def run(
        self,
        argv: Sequence[Word],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        timeout: float,
        input: bytes = b"",
        limit: int = 1024 * 1024,
        on_line: Callable[[str, bool], None] | None = None,
    ) -> Completed:
        """Run *argv* to its end and return what it said. A status other than 0 is no error.

        Args:
          timeout: Seconds; then, and when cancelled, the whole tree is killed.
          input: What the program can read from its standard input.
          limit: Bytes kept of each output: the beginning and the end, see `Completed`.
          on_line: Called for each line, without its end, as it arrives; True for stderr.

        Raises:
          SpawnFailed: as `spawn`.
        """
        child = await self.spawn(argv, env=env, cwd=cwd, stdin="pipe" if input else "null")
        out, err = Tail(limit), Tail(limit)
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            with trio.move_on_after(timeout) as patience:
                async with trio.open_nursery() as pumps:
                    pumps.start_soon(_feed, child.stdin, input)
                    pumps.start_soon(_drain, child.stdout, out, on_line, False)
                    pumps.start_soon(_drain, child.stderr, err, on_line, True)
                    await child.wait()
                    # A background process may hold the pipes open for ever.
                    pumps.cancel_scope.deadline = trio.current_time() + LEFTOVER
        finally:
            await child.aclose()
        assert child.returncode is not None
        return Completed(
            returncode=child.returncode,
            stdout=out.kept(),
            stderr=err.kept(),
            timed_out=patience.cancelled_caught,
        )

    async def call(self, job: Callable[[], T]) -> T:
        """Run *job* on the spawner's thread. It always runs to its end, cancelled or not."""
        task = trio.lowlevel.current_task()

        def work() -> None:
            result = outcome.capture(job)
            self._token.run_sync_soon(trio.lowlevel.reschedule, task, result)

        self._jobs.put(work)
        return await trio.lowlevel.wait_task_rescheduled(  # type: ignore[no-any-return]
            lambda _: trio.lowlevel.Abort.FAILED
        )

    def post(self, job: Callable[[], None]) -> None:
        """Run *job* on the spawner's thread soon; an error in it ends the run loudly."""
        self._jobs.put(job)

    async def close(self) -> None:
        """Kill every child that is left, wait for them, end the thread."""
        with trio.CancelScope(shield=True):
            for child in list(self.children):
                child.kill()
            with trio.move_on_after(UNKILLABLE):
                for child in list(self.children):
                    await child.wait()
        self._jobs.put(None)
        self._thread.join()
        if self.reach:
            self.reach.close()

    async def _look_after(self, child: Child) -> None:
        await child.reap()
        self.children.discard(child)

    def _work(self) -> None:
        while job := self._jobs.get():
            result = outcome.capture(job)
            if isinstance(result, outcome.Error):
                self._token.run_sync_soon(result.unwrap)


@asynccontextmanager
async def open_spawner(
    sandbox_mode: str = "auto",
) -> AsyncIterator[Spawner]:
    """A spawner and its sandbox; leaving the block kills every child and ends its thread.

    Raises:
      SandboxRefused: *sandbox_mode* is ``"require"`` and programs cannot be isolated.
    """
    from appliance.kernel.process.sandbox import probe

    spawner = Spawner()
    try:
        spawner.sandbox = await probe(spawner, sandbox_mode)
        yield spawner
    finally:
        await spawner.close()


def program_in(pid: int) -> int:
    """The program that the child *pid* runs: itself, or the first one inside its sandbox.

    bwrap stays on as two processes, one outside and one as the sandbox's init.
    """
    process = read_process(pid)
    if process is None or process.name != "bwrap":
        return pid
    table = process_table()
    inside = pid
    while (at := table.get(inside)) and at.name == "bwrap":
        below = [other.pid for other in table.values() if other.parent == inside]
        if not below:
            return pid  # nothing runs inside yet: bwrap itself is all there is to signal
        inside = min(below, key=lambda other: table[other].born)
    return inside


def kill_tree(root: int, mark: str = "") -> None:
    """Kill *root*, its descendants and the sessions they lead, even while they are forking.

    With a *mark* also whoever has it in its environment, which a daemon that has left tree and
    session still has. They are stopped first, and looked for again until nobody new is found,
    so that none can slip away between the looking and the killing. Only to be called while
    *root* cannot have been reaped.
    """
    found: set[tuple[int, int]] = set()
    for _ in range(100):
        table = process_table()
        family = tree(root, table)
        if mark:
            family += [one for one in table.values() if _marked(one.pid, mark)]
        members = {(one.pid, one.born) for one in family if one.state != "Z"}
        if not members - found:
            break
        for pid, _born in members - found:
            _signal(pid, signal.SIGSTOP)
        found |= members
    for pid, born in found:
        process = read_process(pid)
        if process is not None and process.born == born:
            _signal(pid, signal.SIGKILL)
    _signal(root, signal.SIGKILL)


def _marked(pid: int, mark: str) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as environ:
            return f"{MARK}={mark}".encode() in environ.read().split(b"\0")
    except OSError:
        return False


def _anyone(mark: str) -> bool:
    """Whether any living process has *mark*; cheaper than a table of all."""
    return any(_marked(int(name), mark) for name in os.listdir("/proc") if name.isdecimal())


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


@dataclass(frozen=True)
class _Made:
    """What the spawner's thread hands over."""

    popen: subprocess.Popen[bytes]
    pidfd: int | None
    mark: str
    stdin: int | None
    stdout: int | None
    stderr: int | None


@dataclass(frozen=True)
class _Order:
    """One child to be made; `make` runs on the spawner's thread."""

    argv: list[Word]
    env: dict[str, str]
    cwd: Path | None
    pass_fds: tuple[int, ...]

    SPECIAL: ClassVar[dict[str, int]] = {"null": subprocess.DEVNULL, "stdout": subprocess.STDOUT}

    def make(self, stdin: str, stdout: str | int, stderr: str | int) -> _Made:
        """Start the process. Its ends of the pipes are closed here, ours stay open."""
        ours: list[int | None] = []
        theirs: list[int] = []
        given: list[int] = []

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
            argv, data = self._open_data(theirs)
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
        except OSError as error:
            for fd in ours:
                if fd is not None:
                    os.close(fd)
            raise SpawnFailed(str(self.argv[0]), _why(error)) from error
        finally:
            for fd in theirs:
                os.close(fd)
        return _Made(popen, _pidfd(popen.pid), self.env.get(MARK, ""), *ours)

    def _open_data(self, opened: list[int]) -> tuple[list[str], list[int]]:
        """The command line with numbers for `Data`, and those numbers, also put in *opened*."""
        argv: list[str] = []
        numbers: list[int] = []
        for word in self.argv:
            if isinstance(word, Data):
                if word.prepare is not None:
                    word.prepare()
                fd = os.memfd_create("data")
                opened.append(fd)
                numbers.append(fd)
                with open(fd, "wb", closefd=False) as file:
                    file.write(word.content)
                os.lseek(fd, 0, os.SEEK_SET)
                argv.append(str(fd))
            else:
                argv.append(os.fspath(word))
        return argv, numbers


def _why(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{reason} ({error.filename})" if error.filename else reason


def _pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when *pid* ends; None where the kernel has none."""
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return None
    try:
        return int(opener(pid))
    except OSError:
        return None


async def _feed(stream: trio.lowlevel.FdStream | None, data: bytes) -> None:
    if stream is not None:
        # The program need not read all of its input, or any.
        with suppress(trio.BrokenResourceError):
            await stream.send_all(data)
        await stream.aclose()


async def _drain(
    stream: trio.lowlevel.FdStream,
    keep: Tail,
    on_line: Callable[[str, bool], None] | None,
    is_stderr: bool,
) -> None:
    lines = Lines(lambda line: on_line(line, is_stderr)) if on_line else None
    try:
        while chunk := await stream.receive_some(CHUNK):
            keep.add(chunk)
            if lines:
                lines.add(chunk)
    finally:
        if lines:
            lines.end()
