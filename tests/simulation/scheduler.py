"""Runs trio so that a seed decides the order of everything. The only file with private names."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
import trio._core._run as private
from trio.testing import MockClock

T = TypeVar("T")


def run(main: Callable[[], Awaitable[T]], seed: int) -> T:
    """Run *main* on a clock that jumps; runnable tasks take turns as *seed* says.

    Nothing in *main* may use threads, sockets, the real time, or the order of a set.
    """
    before = private._ALLOW_DETERMINISTIC_SCHEDULING
    state = private._r.getstate()
    private._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    private._r.seed(seed)
    gc.disable()  # it would run finalizers at moments that no seed decides
    try:
        return trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        gc.enable()
        private._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]
        private._r.setstate(state)
