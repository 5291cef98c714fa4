"""How a stager's answer is got when stagers and servers vanish in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from appliance.kernel.bus import NoResponders, RequestTimeout
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.http.client import Client
from appliance.kernel.kit import Kit
from appliance.kernel.process.spawner import Spawner
from appliance.kernel.trace import Trace
from appliance.stager.messages import (
    Properties,
    StagingReply,
    StagingRequest,
    TaskQuestion,
    TaskState,
)
from fake_controller.asking import StagerLost, ask_stager

REPLY = StagingReply(task_id="t1", task_log="done")
REQUEST = StagingRequest(
    app_id="a", download_uri="x", upload_uri="y", properties=Properties(), task_id="t1"
)


class ShakyBus(LocalBus):
    """A bus whose outages the test makes."""

    def __init__(self) -> None:
        super().__init__()
        self.back = trio.Event()

    async def reconnected(self) -> None:
        await self.back.wait()


@dataclass
class Scene:
    """A stager that does what it is told."""

    kit: Kit
    bus: ShakyBus
    nursery: trio.Nursery
    asked: trio.Event = field(default_factory=trio.Event)
    questions: int = 0

    async def take(
        self, *, reply_after: trio.Event | None, task_status: trio.TaskStatus[None]
    ) -> None:
        """Take one request, and answer when *reply_after* is set; None: never."""
        async with self.kit.subscribe(StagingRequest, queue="staging") as inbox:
            task_status.started()
            received = await inbox.__anext__()
            self.asked.set()
            if reply_after is not None:
                await reply_after.wait()
                self.kit.respond(received, REPLY)
            await trio.sleep_forever()

    async def tell(self, states: list[TaskState], *, task_status: trio.TaskStatus[None]) -> None:
        """Say how the task is, as often as there are *states*; then nothing any more."""
        async with self.kit.subscribe(TaskQuestion) as inbox:
            task_status.started()
            async for received in inbox:
                assert received.subject == "staging.task.t1"
                self.questions += 1
                if states:
                    self.kit.respond(received, states.pop(0))


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """Everything is in memory, so that a test may skip time."""
    bus = ShakyBus()
    kit = Kit(room="test", bus=bus, http=cast(Client, None), spawner=cast(Spawner, None),
              trace=Trace("test", []))  # fmt: skip
    async with trio.open_nursery() as nursery:
        yield Scene(kit, bus, nursery)
        nursery.cancel_scope.cancel()


async def start(scene: Scene, reply_after: trio.Event | None) -> None:
    async def take(*, task_status: trio.TaskStatus[None]) -> None:
        await scene.take(reply_after=reply_after, task_status=task_status)

    await scene.nursery.start(take)


async def test_the_answer_comes_by_itself(scene: Scene, autojump_clock: MockClock) -> None:
    """As with every stager; nobody is asked how it is."""
    now = trio.Event()
    now.set()
    await start(scene, now)
    await scene.nursery.start(scene.tell, [])

    assert await ask_stager(scene.kit, REQUEST, timeout=60) == REPLY
    assert scene.questions == 0


async def test_a_lost_answer_is_fetched(scene: Scene, autojump_clock: MockClock) -> None:
    """The stager knows what it answered."""
    await start(scene, None)
    await scene.nursery.start(
        scene.tell, [TaskState(state="running"), TaskState(state="finished", reply=REPLY)]
    )

    assert await ask_stager(scene.kit, REQUEST, timeout=900) == REPLY
    assert trio.current_time() < 10


async def test_a_stager_that_says_nothing_any_more_is_gone(
    scene: Scene, autojump_clock: MockClock
) -> None:
    """Long before the task's own limit."""
    await start(scene, None)
    await scene.nursery.start(scene.tell, [TaskState(state="running")])

    with pytest.raises(StagerLost):
        await ask_stager(scene.kit, REQUEST, timeout=900)
    assert trio.current_time() < 20


async def test_a_stager_of_2012_is_waited_for(scene: Scene, autojump_clock: MockClock) -> None:
    """It never says how it is, and answers all the same."""
    late = trio.Event()
    await start(scene, late)

    async def answer_late() -> None:
        await trio.sleep(500)
        late.set()

    scene.nursery.start_soon(answer_late)
    assert await ask_stager(scene.kit, REQUEST, timeout=900) == REPLY


async def test_a_request_that_was_lost_in_an_outage_is_known_to_be(
    scene: Scene, autojump_clock: MockClock
) -> None:
    """Nobody knows of it once the bus is back."""
    await start(scene, None)

    async def fail() -> None:
        await scene.asked.wait()
        await trio.sleep(60)
        scene.bus.back.set()

    scene.nursery.start_soon(fail)
    with pytest.raises(StagerLost):
        await ask_stager(scene.kit, REQUEST, timeout=900)
    assert 60 <= trio.current_time() < 80


async def test_nobody_and_too_late_are_told_as_ever(
    scene: Scene, autojump_clock: MockClock
) -> None:
    """By their own errors."""
    with pytest.raises(NoResponders):
        await ask_stager(scene.kit, REQUEST, timeout=900)
    await start(scene, None)
    with pytest.raises(RequestTimeout):
        await ask_stager(scene.kit, REQUEST, timeout=100)
