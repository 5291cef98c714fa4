"""Rooms that fail: shown, started again after a while, given up at last; others never notice."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

import appliance
from appliance.boot import anywhere
from appliance.config import Config
from appliance.kernel.health import Health
from appliance.kernel.http.sockets import listen
from appliance.kernel.kit import Kit
from appliance.kernel.trace import Event, Trace
from appliance.supervisor import Listeners, Room, delay, last_line


@pytest.mark.parametrize(
    ("failures", "streak", "wanted"),
    [
        ([0.0], 1, 0.2),
        ([0.0, 1.0], 2, 0.4),
        ([0.0, 1.0, 2.0, 3.0], 4, 1.6),
        ([0.0, 1.0, 2.0, 3.0, 4.0], 5, None),
        ([0.0, 1.0, 2.0, 3.0, 60.5], 5, 3.2),  # the first is a minute ago
        ([0.0, 1.0, 2.0, 3.0, 59.9], 5, None),
        ([1000.0], 9, 10.0),
        ([1000.0], 5000, 10.0),
    ],
)
def test_how_long_a_room_waits(failures: list[float], streak: int, wanted: float | None) -> None:
    """0.2 s, doubled up to 10 s; no more after five failures within a minute."""
    assert delay(failures, streak) == wanted


@dataclass(frozen=True)
class Settings:
    """Of a room for these tests."""

    bind: str = ""


def a_kit(events: list[Event]) -> Kit:
    """A kit that tells *events*."""
    nothing = cast(Any, None)
    return Kit(room="toy", bus=nothing, http=nothing, spawner=nothing,
               trace=Trace("toy", [events.append]), health=Health())  # fmt: skip


def a_room(
    serve: Any, events: list[Event], *, bind: str = "", supervised: bool = True
) -> Room:  # fmt: skip
    """A room that *serve* is."""
    return Room(name="toy", serve=serve, settings=Settings(bind), kit=a_kit(events), more={},
                supervised=supervised)  # fmt: skip


async def test_a_room_that_fails_is_started_again(autojump_clock: MockClock) -> None:
    """After 0.2, 0.4 and 0.8 s; ready in the end, and every fault was shown."""
    events: list[Event] = []
    starts: list[float] = []

    async def serve(settings: Any, kit: Kit, *, task_status: trio.TaskStatus[str]) -> None:
        starts.append(trio.current_time())
        kit.health.mark("toy", "ready")
        task_status.started("http://toy")
        if len(starts) < 4:
            async with trio.open_nursery():
                raise KeyError("in the middle")
        await kit.stopping.wait()

    room = a_room(serve, events)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        assert await nursery.start(room.run) == "http://toy"
        await trio.sleep(5)
        assert room.kit.health.report() == {"toy": {"state": "ready"}}
        room.kit.stopping.set()
    assert [round(at - began, 3) for at in starts] == [0, 0.2, 0.6, 1.4]
    assert [event.what for event in events] == ["room.failed", "room.restarted"] * 3
    assert events[0].data["error"] == "KeyError: 'in the middle'"
    assert str(events[0].data["where"]).startswith("test_supervisor.py:")
    assert room.over.is_set()


async def test_a_room_that_goes_on_failing_is_given_up(autojump_clock: MockClock) -> None:
    """Five times in a minute: unhealthy, with a reason, and no sixth start."""
    events: list[Event] = []
    starts = 0

    async def serve(settings: Any, kit: Kit, *, task_status: trio.TaskStatus[str]) -> None:
        nonlocal starts
        starts += 1
        task_status.started("")
        if starts == 3:
            return  # without being asked to: a fault, too
        raise ValueError("as always, password=c4n4ry")

    room = a_room(serve, events)
    async with trio.open_nursery() as nursery:
        await nursery.start(room.run)
        await room.over.wait()
    assert starts == 5
    assert [event.what for event in events][-2:] == ["room.failed", "room.given-up"]
    assert events[4].data["error"] == "it ended by itself"
    state, reason = room.kit.health.rooms["toy"]
    assert state == "unhealthy"
    assert reason == ("It failed 5 times within a minute (ValueError: as always, password=***).")


async def forever(room: Room) -> None:
    """Run *room*, whatever comes."""
    async with trio.open_nursery() as nursery:
        await nursery.start(room.run)
        await trio.sleep_forever()


async def test_who_fails_now_and_then_is_never_given_up(autojump_clock: MockClock) -> None:
    """A fault an hour is started again each time after the shortest wait."""
    events: list[Event] = []

    async def serve(settings: Any, kit: Kit, *, task_status: trio.TaskStatus[str]) -> None:
        task_status.started("")
        with trio.move_on_after(3600):
            await kit.stopping.wait()
            return
        raise ValueError("again")

    room = a_room(serve, events)
    async with trio.open_nursery() as nursery:
        await nursery.start(room.run)
        await trio.sleep(20 * 3601)
        room.kit.stopping.set()
    waits = {event.data["after"] for event in events if event.what == "room.restarted"}
    assert waits == {0.2}
    assert len(events) >= 38


async def test_what_cannot_start_at_first_is_not_tried_again() -> None:
    """A wrong setting, a taken port: the person who starts it must read that at once."""

    async def serve(settings: Any, kit: Kit, *, task_status: trio.TaskStatus[str]) -> None:
        raise ValueError("not like this")

    events: list[Event] = []
    with pytest.raises(ExceptionGroup):
        async with trio.open_nursery() as nursery:
            await nursery.start(a_room(serve, events).run)
    assert events == []


async def test_unsupervised_a_bug_is_raised() -> None:
    """As tests want it: with its traceback, at once."""

    async def serve(settings: Any, kit: Kit, *, task_status: trio.TaskStatus[str]) -> None:
        task_status.started("")
        raise ValueError("a bug")

    events: list[Event] = []
    with pytest.raises(ExceptionGroup) as raised:
        await forever(a_room(serve, events, supervised=False))
    assert raised.group_contains(ValueError, match="a bug")
    assert events == []


async def test_ports_stay_bound_between_two_attempts() -> None:
    """Who connects while a room is down waits, and is served by the next attempt."""
    (opened,) = listen("127.0.0.1:0")
    address = opened.getsockname()
    attempts = 0

    async def serve(settings: Settings, kit: Kit, *, task_status: trio.TaskStatus[str]) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 2:
            raise ValueError("before it took its socket")
        (listening,) = listen(settings.bind)
        with listening:
            task_status.started("")
            if attempts == 1:
                raise ValueError("a bug")
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
            async with await listener.accept() as stream:
                await stream.send_all(b"served")
            await kit.stopping.wait()

    files = len(os.listdir("/proc/self/fd"))
    room = a_room(serve, [], bind=f"fd://{opened.detach()}")
    async with trio.open_nursery() as nursery:
        await nursery.start(room.run)
        with trio.fail_after(5):
            async with await trio.open_tcp_stream(*address) as stream:
                assert await stream.receive_some(100) == b"served"
        assert attempts == 3
        room.kit.stopping.set()
    assert len(os.listdir("/proc/self/fd")) < files
    with pytest.raises(ConnectionRefusedError), socket.create_connection(address):
        pass


def test_a_loan_returns_only_what_nobody_took() -> None:
    """A number that is another file's by now is left alone."""
    (opened,) = listen("127.0.0.1:0")
    with Listeners(f"fd://{opened.detach()}") as listeners:
        with listeners.lent() as bind:
            number = int(bind.removeprefix("fd://"))
            os.close(number)
            other = os.open("/dev/null", os.O_RDONLY)
            assert other == number
        os.close(other)  # it is still there
        with listeners.lent() as bind:
            number = int(bind.removeprefix("fd://"))
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(number)


def test_the_last_line_is_of_the_error_itself() -> None:
    """Groups are how errors travel, and tell nobody anything."""
    error = ExceptionGroup("outer", [ExceptionGroup("inner", [OSError(5, "no luck")])])
    assert last_line(error) == ("OSError: [Errno 5] no luck", "")


def failing(serve: Any, name: str, fail: trio.Event) -> Callable[..., Any]:
    """*serve*, which fails in a task of its own when *fail* is set, once."""

    async def wrapped(
        config: Any, kit: Kit, *, task_status: trio.TaskStatus[str], **more: Any
    ) -> None:
        async def saboteur() -> None:
            await fail.wait()
            raise ZeroDivisionError("a bug in " + name)

        async with trio.open_nursery() as nursery:
            if kit.room == name and not fail.is_set():
                nursery.start_soon(saboteur)
            await nursery.start(partial(_serve, serve, config, kit, more))
            task_status.started("")
            await kit.stopping.wait()
            nursery.cancel_scope.deadline = trio.current_time() + 5
            if not fail.is_set():
                nursery.cancel_scope.cancel()

    return wrapped


async def _serve(
    serve: Any, config: Any, kit: Kit, more: dict[str, Any], *, task_status: Any
) -> None:  # fmt: skip
    await serve(config, kit, task_status=task_status, **more)


@pytest.mark.parametrize("room", ["router", "archiver-0", "registry"])
async def test_the_others_go_on_answering(room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in one room of a whole appliance: it comes back at the same port, nobody else stops."""
    import importlib

    service = importlib.import_module(f"appliance.{room.partition('-')[0]}.service")
    fail = trio.Event()
    monkeypatch.setattr(service, "serve", failing(service.serve, room, fail))
    seen: list[Event] = []
    config = anywhere(Config())
    async with appliance.running(config, sinks=[seen.append], supervised=True) as running:
        found = running.endpoints
        ask = running.kit.http.request
        urls = {"router": found.apps, "archiver-0": found.archivers[0], "registry": found.registry}
        before = (await ask("GET", urls[room] + "/healthz")).status
        fail.set()
        with trio.fail_after(10):
            while "room.failed" not in {event.what for event in seen}:
                await trio.lowlevel.checkpoint()
            assert (await ask("GET", found.api + "/healthz")).status == 200
            # Asked while it is down: the port is bound, and the next attempt answers.
            assert (await ask("GET", urls[room] + "/healthz")).status == before
            while not running.health.ready():
                await trio.lowlevel.checkpoint()
    (failed,) = [event for event in seen if event.what == "room.failed"]
    assert failed.room == room
    assert failed.data["error"] == f"ZeroDivisionError: a bug in {room}"
    assert [event.what for event in seen if event.what.startswith("room.")] == [
        "room.failed", "room.restarted",
    ]  # fmt: skip


async def test_in_tests_a_bug_ends_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """`running()` as it is raises what went wrong in any room."""
    from appliance.registry import service

    fail = trio.Event()
    monkeypatch.setattr(service, "serve", failing(service.serve, "registry", fail))

    async def use() -> None:
        async with appliance.running():
            fail.set()
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as raised:
        await use()
    assert raised.group_contains(ZeroDivisionError)
