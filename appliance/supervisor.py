"""Keeps rooms running: a bug in one of them must not end a demo, nor be hidden.

In tests nothing of this happens: there a bug ends the whole appliance with its traceback.
"""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import trio

from appliance.kernel.kit import Kit
from appliance.kernel.redact import redact

RETRY_FIRST = 0.2  # seconds before a room that failed is started again; doubled each time
RETRY_MOST = 10.0  # seconds; the longest of these waits
WINDOW = 60.0  # seconds; a room that ran that long begins anew with RETRY_FIRST
GIVEN_UP_AFTER = 5  # failures within WINDOW

Serve = Callable[..., Awaitable[None]]


def delay(failures: Sequence[float], streak: int) -> float | None:
    """Seconds until a room is started again; None when it is given up.

    Args:
      failures: When it failed so far, on one clock; the last one is now.
      streak: How many of these came without a WINDOW of quiet running between them.
    """
    recent = [at for at in failures if at > failures[-1] - WINDOW]
    if len(recent) >= GIVEN_UP_AFTER:
        return None
    # The exponent is bounded, since a room may fail now and then for months.
    return float(min(RETRY_MOST, RETRY_FIRST * 2 ** min(streak - 1, 16)))


@dataclass(eq=False, kw_only=True)
class Room:
    """One room: what serves it, with which settings and kit, and when it is over.

    Args:
      kit: Its own; its `stopping` is this room's alone.
      more: Keyword arguments of *serve* besides those that all rooms have.
      supervised: Whether a fault is shown and the room started again. The first start
        is never tried again: what prevents it is for a person to read.
    """

    name: str
    serve: Serve
    settings: Any
    kit: Kit
    more: dict[str, Any]
    supervised: bool
    over: trio.Event = field(default_factory=trio.Event)
    _failures: list[float] = field(default_factory=list)
    _streak: int = 0

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `kit.stopping`; ``started()`` gets the room's URL, the first time."""
        try:
            if self.supervised:
                await self._supervise(task_status)
            else:
                await self.serve(self.settings, self.kit, task_status=task_status, **self.more)
        finally:
            self.over.set()

    async def _supervise(self, task_status: trio.TaskStatus[str]) -> None:
        with Listeners(getattr(self.settings, "bind", "")) as listeners:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._close_when_stopping, listeners)
                await self._attempts(listeners, task_status)
                nursery.cancel_scope.cancel()

    async def _close_when_stopping(self, listeners: Listeners) -> None:
        # The room closes its own; as long as ours are open, clients would wait in vain.
        await self.kit.stopping.wait()
        listeners.close()

    async def _attempts(self, listeners: Listeners, task_status: trio.TaskStatus[str]) -> None:
        once = _Once(task_status)
        while True:
            began = trio.current_time()
            try:
                with listeners.lent() as bind:
                    settings = replace(self.settings, bind=bind) if bind else self.settings
                    await self.serve(settings, self.kit, task_status=once, **self.more)
                if self.kit.stopping.is_set():
                    return
                fault = "it ended by itself"
                where = ""
            except Exception as error:
                if not once.called:
                    raise
                fault, where = last_line(error)
                fault = redact(fault)  # it becomes the room's health, which everybody may read
            if not await self._pause(fault, where, trio.current_time() - began):
                return

    async def _pause(self, fault: str, where: str, ran: float) -> bool:
        """Show the fault and wait; False when the room is not to be started again."""
        kit, now = self.kit, trio.current_time()
        self._failures = [at for at in self._failures if at > now - WINDOW] + [now]
        self._streak = 1 if ran >= WINDOW else self._streak + 1
        kit.trace.event("room.failed", error=fault, where=where, ran=round(ran, 3))
        kit.health.mark(self.name, "unhealthy", f"It failed ({fault}).")
        if kit.stopping.is_set():
            return False
        wait = delay(self._failures, self._streak)
        if wait is None:
            why = f"It failed {len(self._failures)} times within a minute ({fault})."
            kit.health.mark(self.name, "unhealthy", why)
            kit.trace.event("room.given-up", failures=len(self._failures), error=fault)
            return False
        with trio.move_on_after(wait):
            await kit.stopping.wait()
            return False
        kit.health.mark(self.name, "starting", f"It failed ({fault}).")
        kit.trace.event("room.restarted", after=wait)
        return True


class _Once:
    """A task status that passes on the first ``started()``: the room is known by then."""

    def __init__(self, task_status: trio.TaskStatus[str]) -> None:
        self._task_status = task_status
        self.called = False

    def started(self, value: str = "") -> None:
        """The room serves."""
        if not self.called:
            self.called = True
            self._task_status.started(value)


class Listeners:
    """Listening sockets that outlive the rooms they are lent to, so that ports stay bound.

    *bind* is ``fd://N[,fd://M]``, and these descriptors are this object's from now on;
    with any other address a room binds by itself, each time anew.
    """

    def __init__(self, bind: str) -> None:
        self._sockets: list[socket.socket] = []
        if bind.startswith("fd://"):
            numbers = [int(one.strip().removeprefix("fd://")) for one in bind.split(",")]
            self._sockets = [socket.socket(fileno=number) for number in numbers]

    def __enter__(self) -> Listeners:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nobody listens there any more, once the room has closed its own."""
        for opened in self._sockets:
            opened.close()
        self._sockets = []

    def lent(self) -> Loan:
        """Duplicates for one attempt of the room."""
        return Loan(self._sockets)


class Loan:
    """Duplicates of listening sockets, as an address; what is not taken over is closed again."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self._lent: list[tuple[int, int]] = []  # descriptor, inode
        for opened in sockets:
            descriptor = os.dup(opened.fileno())
            self._lent.append((descriptor, os.fstat(descriptor).st_ino))

    def __enter__(self) -> str:
        return ",".join(f"fd://{descriptor}" for descriptor, _ in self._lent)

    def __exit__(self, *_: object) -> None:
        for descriptor, inode in self._lent:
            # A room that failed early has not taken it. The number may be another file's by
            # now, but no other file is this socket.
            with suppress(OSError):
                if os.fstat(descriptor).st_ino == inode:
                    os.close(descriptor)


def last_line(error: BaseException) -> tuple[str, str]:
    """The last line of the traceback of *error*, and where that was: ``file.py:12 in name``.

    Of a group the first real error is told.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    line = traceback.format_exception_only(error)[-1].strip()
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return line, ""
    frame = frames[-1]
    return line, f"{os.path.basename(frame.filename)}:{frame.lineno} in {frame.name}"
