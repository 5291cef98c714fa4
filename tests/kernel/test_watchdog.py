"""The watchdog of the loop: what is too long is told, with its stack; else it costs nothing."""

from __future__ import annotations

import threading
import time

import trio
import trio.lowlevel

from appliance.kernel.clock import Clock
from appliance.kernel.trace import Event, Trace
from appliance.kernel.watchdog import LAG, LOOK_EVERY, Watchdog, stack_of, watch_loop


def block_the_loop(seconds: float) -> None:
    """What no task may do."""
    time.sleep(seconds)


async def test_what_holds_up_the_loop_is_told_with_its_stack() -> None:
    """A blocking call of half a second: its length, and where it was."""
    events: list[Event] = []
    async with watch_loop(Trace("boot", [events.append]), Clock()):
        await trio.sleep(0.01)
        block_the_loop(0.5)
        await trio.sleep(0.01)
    (event,) = events
    assert event.what == "loop.lagged"
    assert 500 <= float(event.data["ms"] or 0) < 2000
    first = str(event.data["stack"]).partition(" < ")[0]
    assert first.startswith("kernel/test_watchdog.py:")
    assert first.endswith(" block_the_loop")


async def test_a_loop_that_waits_does_not_lag() -> None:
    """Waiting for a thread or for time is what a loop is for; short turns are not told."""
    events: list[Event] = []
    async with watch_loop(Trace("boot", [events.append]), Clock()):
        await trio.to_thread.run_sync(time.sleep, 2 * LAG)
        await trio.sleep(2 * LAG)
        for _ in range(5):
            block_the_loop(LAG / 10)
            await trio.lowlevel.checkpoint()
    assert events == []


def test_a_loop_that_goes_on_lagging_is_told_of_now_and_then() -> None:
    """One event in five seconds; the next one says how many there were between them."""

    class FakeClock(Clock):
        now = 100.0

        def monotonic(self) -> float:
            return self.now

    clock, events = FakeClock(), list[Event]()

    async def turns() -> None:
        watched = Watchdog(Trace("boot", [events.append]), clock)
        for _ in range(30):
            watched.after_io_wait(0)
            clock.now += 0.5
            watched.before_io_wait(0)

    trio.run(turns)
    assert [event.data["more"] for event in events] == [0, 9, 9]
    assert {event.data["ms"] for event in events} == {500}
    assert {event.data["stack"] for event in events} == {""}


def test_the_thread_looks_at_the_turn_that_lags() -> None:
    """A stack is told only with the turn it was taken in."""
    events: list[Event] = []

    async def main() -> None:
        clock = Clock()
        watched = Watchdog(Trace("boot", [events.append]), clock)
        watched._busy_since = clock.monotonic() - 10
        looker = threading.Thread(target=watched.look)
        looker.start()
        with trio.fail_after(5):
            while not watched._seen[1]:  # noqa: ASYNC110  # it has no event
                await trio.sleep(0.01)
        watched.over.set()
        looker.join()
        watched.after_io_wait(0)
        watched._busy_since = clock.monotonic() - 1  # another turn
        watched.before_io_wait(0)

    trio.run(main)
    assert [event.data["stack"] for event in events] == [""]


async def test_it_is_cheap_and_leaves_nothing() -> None:
    """At most four looks a second, a thread that ends, and no instrument left."""
    before = threading.active_count()
    async with watch_loop(Trace("boot", []), Clock()):
        began = time.process_time()
        await trio.sleep(0.5)
        spent = time.process_time() - began
    assert LOOK_EVERY >= 0.25
    assert spent < 0.05
    with trio.fail_after(5):
        while threading.active_count() > before:  # noqa: ASYNC110  # nor has that
            await trio.sleep(0.01)


def test_a_stack_ends_at_the_task() -> None:
    """The loop's own frames tell nobody anything."""
    shown: list[str] = []

    async def task() -> None:
        import sys

        shown.append(stack_of(sys._getframe()))

    trio.run(task)
    assert shown[0].count(" < ") == 0
    assert shown[0].endswith(" task")
