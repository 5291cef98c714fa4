"""Makes every child process, from one thread that lives as long as the appliance's run.

The thread matters: a parent-death signal (``bwrap --die-with-parent``) is tied to the *thread*
that made the child, and the worker thread in which trio makes children ends after 10 s idle,
which kills the child (bubblewrap issue 692).
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import outcome
import trio

from appliance.kernel.process.cgroups import Group, Groups, Join, find
from appliance.kernel.process.folders import our_ledger
from appliance.kernel.process.kill import MARK, RUN, anyone, kill_group, kill_tree, send_signal
from appliance.kernel.process.ledger import Ledger
from appliance.kernel.process.output import Completed, Lines, Tail
from appliance.kernel.process.profile import Limits
from appliance.kernel.process.start import Data, Made, Order, SpawnFailed, Word

if TYPE_CHECKING:
    from appliance.kernel.process.reach import Reach
    from appliance.kernel.process.sandbox import Sandbox

__all__ = ["MARK", "Child", "Completed", "Data", "SpawnFailed", "Spawner", "Word", "open_spawner"]

T = TypeVar("T")

CHUNK = 64 * 1024  # bytes; the size of a pipe
LEFTOVER = 0.5  # seconds that output may still come after the command itself has ended
SHORT = 0.05  # seconds: what ends sooner gets no control group
GATE = 10.0  # seconds for a sandbox to come up, which takes 10 ms
UNKILLABLE = 10.0  # seconds after SIGKILL until a child (in a broken file system) is given up


class Child:
    """One child process, the leader of a session of its own.

    The streams are None unless they were asked for as ``"pipe"``. Whoever spawned it closes
    them; the process itself is reaped as soon as it ends, whether or not somebody waits.
    """

    def __init__(self, spawner: Spawner, made: Made, note: int) -> None:
        self._spawner = spawner
        self._popen = made.popen
        self._pidfd = made.pidfd
        self._mark = made.mark
        self._note = note
        self._group: Group | None = None
        self._ended = trio.Event()
        self._placed = trio.Event()  # it is in its groups, or never will be in any
        self.pid = made.popen.pid
        self.stdin = trio.lowlevel.FdStream(made.stdin) if made.stdin is not None else None
        self.stdout = trio.lowlevel.FdStream(made.stdout) if made.stdout is not None else None
        self.stderr = trio.lowlevel.FdStream(made.stderr) if made.stderr is not None else None
        self.returncode: int | None = None  # negative: the signal that ended it
        self.out_of_memory = False  # once it has ended: the kernel has killed part of it for that

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
        self._do(lambda: send_signal(self.pid, number))

    def kill(self) -> None:
        """Kill the process and everything below it, very soon; `wait` tells when it is gone."""
        self._do(self._kill)

    async def aclose(self) -> None:
        """Kill what is left, wait for its end, close the streams. Not stopped by cancellation."""
        with trio.CancelScope(shield=True):
            self.kill()
            with trio.move_on_after(UNKILLABLE):
                await self._ended.wait()
            for stream in (self.stdin, self.stdout, self.stderr):
                if stream is not None:
                    await stream.aclose()

    async def ending(self) -> None:
        """Wait until the process has ended, without collecting it. For the spawner only."""
        if self._pidfd is not None:
            await trio.lowlevel.wait_readable(self._pidfd)
            os.close(self._pidfd)
        else:
            await trio.to_thread.run_sync(
                os.waitid, os.P_PID, self.pid, os.WEXITED | os.WNOWAIT, limiter=self._spawner.waits
            )

    async def reap(self) -> None:
        """Collect the ended process, and whom it left behind. For the spawner only."""
        self.returncode = await self._spawner.call(self._collect)
        self._ended.set()

    # Whatever uses the pid happens on the spawner's thread, one after the other: it cannot have
    # been given to another process meanwhile.

    def _do(self, act: Callable[[], None]) -> None:
        def unless_collected() -> None:
            if self._popen.returncode is None:
                act()

        if self.returncode is None:
            self._spawner.post(unless_collected)

    async def join_groups(self, limits: Limits) -> None:
        """Put it into groups of its own, unless it ends soon. For the spawner only."""
        groups = self._spawner.groups
        if groups is None or await self._ends_soon():
            return
        # Nobody collects it meanwhile, so that its pid stays its own.
        self._group = await trio.to_thread.run_sync(
            groups.join, self.pid, limits, limiter=self._spawner.waits
        )

    async def join_beside(self, other: Child) -> None:
        """Put it into the groups of *other*, unless it ends soon. For the spawner only."""
        # Who comes right after the start of *other* may be here before it has groups.
        await other._placed.wait()
        if other._group is not None and not await self._ends_soon():
            with suppress(OSError):  # they are gone: *other* has just ended, and it is to end too
                await trio.to_thread.run_sync(
                    other._group.take, self.pid, limiter=self._spawner.waits
                )

    async def _ends_soon(self) -> bool:
        if self._pidfd is None:
            return True
        with trio.move_on_after(SHORT):
            await trio.lowlevel.wait_readable(self._pidfd)
            return True
        return False

    def _kill(self) -> None:
        if self._group is not None:
            self._group.kill()
        kill_tree(self.pid, self._mark)

    def _collect(self) -> int:
        # Whoever stayed behind would outlive the program whose part it was.
        kill_group(self.pid)
        if self._group is not None:
            self.out_of_memory = self._group.out_of_memory
            self._group.kill()
        elif self._mark and anyone(self._mark):
            kill_tree(self.pid, self._mark)
        status = self._popen.wait()
        if self._group is not None and self._spawner.groups is not None:
            self._spawner.groups.remove(self._group)
        self._spawner.forget(self._note)
        return status


class Spawner:
    """Starts children. Get one from `open_spawner`; it is part of every room's kit.

    *confined* says that this process is in a PID namespace of its own: then nothing outlives
    it anyway, and neither notes in the *ledger* nor gates are needed.
    """

    sandbox: Sandbox  # set by `open_spawner`
    reach: Reach | None = None
    groups: Groups | None = None  # control groups for sandboxes, where we may make them

    def __init__(self, ledger: Ledger, *, confined: bool = False) -> None:
        self.confined = confined
        self._ledger = ledger
        self.children: set[Child] = set()
        self.waits = trio.CapacityLimiter(1000)  # threads that wait, where pidfds are missing
        self._token = trio.lowlevel.current_trio_token()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._marks = 0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="spawner", daemon=True)
        self._thread.start()

    async def spawn(
        self,
        argv: Sequence[Word],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        stdin: Literal["null", "pipe"] | int = "null",
        stdout: Literal["null", "pipe"] | int = "pipe",
        stderr: Literal["null", "pipe", "stdout"] | int = "pipe",
        pass_fds: Sequence[int] = (),
        beside: Child | None = None,
    ) -> Child:
        """Start *argv* in a session of its own; it has exactly the environment *env*.

        An *int* for a stream is a file descriptor, which stays the caller's to close. Nothing
        but *pass_fds* is inherited; they keep their numbers. The child lives until it ends or
        is killed, at the latest until `open_spawner` is left. It counts in the control groups
        of the child *beside*, and ends with them.

        Raises:
          SpawnFailed: the program is missing, may not be run, or there is no room for it.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise SpawnFailed(str(argv[0]), "the appliance is stopping")
        given = dict(env)
        if MARK in given:
            self._marks += 1
            given[MARK] = f"{self._ledger.run}.{self._marks}"
        if RUN in given:
            given[RUN] = self._ledger.run
        limits = next((word.limits for word in argv if isinstance(word, Join)), None)
        argv = [word for word in argv if not isinstance(word, Join)]
        order = Order(argv, given, cwd, tuple(pass_fds))

        def make() -> tuple[Made, int]:
            made = order.make(stdin, stdout, stderr)
            return made, -1 if self.confined else self._ledger.child(made.popen.pid)

        made, note = await self.call(make)
        child = Child(self, made, note)
        self.children.add(child)
        # A task of the system's: an error in the caller's body must reach it as it is, not in
        # the group that a nursery of our own would wrap around it.
        trio.lowlevel.spawn_system_task(self._look_after, child, limits, beside)
        if made.gate is not None:
            await _let_in(child, made.gate, str(argv[0]))
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
        child: Child | None = None
        out, err = Tail(limit), Tail(limit)
        try:
            with trio.move_on_after(timeout) as patience:
                child = await self.spawn(argv, env=env, cwd=cwd, stdin="pipe" if input else "null")
                assert child.stdout is not None
                assert child.stderr is not None
                async with trio.open_nursery() as pumps:
                    pumps.start_soon(_feed, child.stdin, input)
                    pumps.start_soon(_drain, child.stdout, out, on_line, False)
                    pumps.start_soon(_drain, child.stderr, err, on_line, True)
                    await child.wait()
                    # A background process may hold the pipes open for ever.
                    pumps.cancel_scope.deadline = trio.current_time() + LEFTOVER
        finally:
            if child is not None:
                await child.aclose()
        status = None if child is None else child.returncode
        return Completed(
            returncode=-signal.SIGKILL if status is None else status,
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

    def forget(self, note: int) -> None:
        """Take back a note in the ledger."""
        if note >= 0:
            self._ledger.forget(note)

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
        self._closed = True
        self._jobs.put(None)
        self._thread.join()
        if self.reach:
            self.reach.close()
        if self.groups:
            self.groups.close(self._ledger.forget)

    def use_groups(self) -> None:
        """Have control groups from now on, where they may be made. On the spawner's thread."""
        name = f"appliance-{self._ledger.run}-{os.urandom(3).hex()}"
        if trees := find(name, self._ledger.group, self._ledger.forget):
            self.groups = Groups(trees)

    async def _look_after(self, child: Child, limits: Limits | None, beside: Child | None) -> None:
        if beside is not None:
            await child.join_beside(beside)
        elif limits is not None:
            await child.join_groups(limits)
        child._placed.set()
        await child.ending()
        if not self._closed:  # else it was given up, and there is no thread to collect it
            await child.reap()
        self.children.discard(child)

    def _work(self) -> None:
        while job := self._jobs.get():
            result = outcome.capture(job)
            if isinstance(result, outcome.Error):
                self._token.run_sync_soon(result.unwrap)


@asynccontextmanager
async def open_spawner(
    sandbox_mode: str = "auto", *, ledger: Ledger | None = None, confined: bool = False
) -> AsyncIterator[Spawner]:
    """A spawner and its sandbox; leaving the block kills every child and ends its thread.

    Args:
      sandbox_mode: ``"auto"``, ``"require"`` or ``"off"``, see `probe`.
      ledger: Where children are noted; by default in the one of this process.
      confined: Whether this process is in a PID namespace of its own, see `Spawner`.

    Raises:
      SandboxRefused: *sandbox_mode* is ``"require"`` and programs cannot be isolated.
    """
    from appliance.kernel.process.sandbox import probe

    with nullcontext(ledger) if ledger else our_ledger() as notes:
        spawner = Spawner(notes, confined=confined)
        try:
            await spawner.call(spawner.use_groups)
            spawner.sandbox = await probe(spawner, sandbox_mode)
            yield spawner
        finally:
            await spawner.close()


async def _let_in(child: Child, gate: socket.socket, program: str) -> None:
    """Tell *child*, when it says that it is there, that we still are; it waits for that."""
    try:
        with gate, trio.fail_after(GATE):
            await trio.lowlevel.wait_readable(gate)
            # It may have ended instead, and has told why on its stderr.
            with suppress(BrokenPipeError, ConnectionResetError):
                gate.send(b"\n")
    except trio.TooSlowError:
        await child.aclose()
        raise SpawnFailed(program, f"it did not begin within {GATE:g} s") from None
    except BaseException:
        await child.aclose()
        raise


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
