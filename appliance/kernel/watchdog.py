"""Notices when something holds up the event loop, and shows what it is.

Everything of this process waits while one task computes or blocks. The loop notes when it
begins to run tasks and when it goes back to waiting: two clock readings per turn, and
nothing at all while it is idle. A thread looks four times a second whether one turn has
gone on for too long, and then takes the stack of the loop's thread while it is still there.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

import trio

from appliance.kernel.clock import Clock
from appliance.kernel.trace import Trace

LAG = 0.1  # seconds of one turn that are told
LOOK_EVERY = 0.25  # seconds
TELL_EVERY = 5.0  # seconds between two events; those in between are counted
FRAMES = 8  # of the stack, innermost first


@asynccontextmanager
async def watch_loop(trace: Trace, clock: Clock) -> AsyncIterator[None]:
    """Tell ``loop.lagged`` {ms, stack, more} while the context is open.

    *stack* is "" for a turn that was over before the thread came by; *more* counts the
    turns that lagged, but too soon after another to be told.
    """
    watchdog = Watchdog(trace, clock)
    thread = threading.Thread(target=watchdog.look, name="loop watchdog", daemon=True)
    trio.lowlevel.add_instrument(watchdog)
    thread.start()
    try:
        yield
    finally:
        watchdog.over.set()
        trio.lowlevel.remove_instrument(watchdog)


class Watchdog(trio.abc.Instrument):
    """Measures each turn of the loop it is added to."""

    def __init__(self, trace: Trace, clock: Clock) -> None:
        self._trace = trace
        self._now = clock.monotonic
        self._loop = threading.get_ident()
        self._busy_since: float | None = self._now()  # None while the loop waits
        self._seen: tuple[float, str] = (0.0, "")  # the turn that was looked at, and its stack
        self._told = -TELL_EVERY
        self._untold = 0
        self.over = threading.Event()

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002  # as trio calls it
        """The loop begins a turn."""
        self._busy_since = self._now()

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002
        """The loop has run every task that could run."""
        began, self._busy_since = self._busy_since, None
        if began is not None and (now := self._now()) - began > LAG:
            self._lagged(began, now)

    def _lagged(self, began: float, now: float) -> None:
        if now - self._told < TELL_EVERY:
            self._untold += 1
            return
        looked_at, stack = self._seen
        self._told = now
        more, self._untold = self._untold, 0
        self._trace.event(
            "loop.lagged",
            ms=round((now - began) * 1000),
            stack=stack if looked_at == began else "",
            more=more,
        )

    def look(self) -> None:
        """The thread: sleep, and look whether a turn goes on for too long."""
        pause = LOOK_EVERY
        while not self.over.wait(pause):
            pause = LOOK_EVERY
            began = self._busy_since
            if began is None or began == self._seen[0]:
                continue
            ran = self._now() - began
            if ran < LAG:
                pause = LAG - ran  # it may yet become one
                continue
            frame = sys._current_frames().get(self._loop)
            # Taken first and compared then: a stack of the next turn would accuse the wrong one.
            if frame is not None and self._busy_since == began:
                self._seen = (began, stack_of(frame))


def stack_of(frame: FrameType | None) -> str:
    """The innermost frames as ``file.py:12 name < file.py:34 name``, down to the task's own."""
    shown: list[str] = []
    while frame is not None and len(shown) < FRAMES:
        code = frame.f_code
        if code.co_filename.endswith("trio/_core/_run.py"):
            break
        file = "/".join(code.co_filename.rsplit("/", 2)[-2:])
        shown.append(f"{file}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return " < ".join(shown)
