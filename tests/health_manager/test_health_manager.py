"""The health manager on a bus: what it hears, what it orders, and when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock

from appliance.config import HealthManagerConfig
from appliance.dea.messages import DropletExited, Heartbeat, HeartbeatInstance
from appliance.health_manager.compare import Desired
from appliance.health_manager.messages import (
    HealthManagerStart,
    HealthReply,
    HealthRequest,
    Order,
    StatusReply,
    StatusRequest,
)
from appliance.health_manager.service import HealthManager
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.clock import Clock
from appliance.kernel.errors import Unavailable
from appliance.kernel.http.client import Client
from appliance.kernel.kit import Kit
from appliance.kernel.process.spawner import Spawner
from appliance.kernel.trace import Event, Trace
from fake_controller.messages import DropletUpdated

CONFIG = HealthManagerConfig(grace=3, restart_first=1, restart_most=60, look_every=30)


class SteadyClock(Clock):
    """Wall time that goes with trio's clock."""

    def time(self) -> float:
        """Seconds since 1970, in a simulated 2001."""
        return 1e9 + trio.current_time()


@dataclass
class World:
    """A controller that wants things, and a bus."""

    kit: Kit
    desired: dict[str, Desired] = field(default_factory=dict)
    reads: list[float] = field(default_factory=list)
    away: bool = False
    orders: list[tuple[float, Order]] = field(default_factory=list)

    async def source(self) -> dict[str, Desired]:
        """What the health manager reads."""
        self.reads.append(trio.current_time())
        if self.away:
            raise Unavailable("nobody is there")
        return dict(self.desired)

    def beat(self, instance: str, state: str = "RUNNING") -> None:
        """A DEA speaks of an instance of droplet "a"."""
        item = HeartbeatInstance(
            droplet="a", version="v", instance=instance, index=0, state=state, state_timestamp=0
        )
        self.kit.publish(Heartbeat(droplets=[item], dea="d"))

    def crash(self, instance: str) -> None:
        """It crashed."""
        self.kit.publish(
            DropletExited(droplet="a", version="v", instance=instance, index=0, reason="CRASHED")
        )


@asynccontextmanager
async def world(spawner: Spawner, *, away: bool = False) -> AsyncIterator[World]:
    """A health manager that runs, and everything it orders."""
    events: list[Event] = []
    trace = Trace("test", [events.append])
    kit = Kit(room="health_manager", bus=LocalBus(), http=Client(), spawner=spawner, trace=trace,
              clock=SteadyClock())  # fmt: skip
    made = World(kit, {"a": Desired(instances=1, version="v", updated_at=0)}, away=away)
    async with trio.open_nursery() as nursery, kit.subscribe(Order) as orders:

        async def note() -> None:
            async for received in orders:
                made.orders.append((trio.current_time(), received.body))

        nursery.start_soon(note)
        started = trio.current_time()
        assert started == 0
        await nursery.start(HealthManager(CONFIG, kit, made.source).run)
        yield made
        nursery.cancel_scope.cancel()


@pytest.fixture
def spawner() -> Spawner:
    """Nothing here starts a child."""
    return object.__new__(Spawner)


async def test_missing_is_ordered(autojump_clock: MockClock, spawner: Spawner) -> None:
    """After the grace, and again when nothing came of it."""
    async with world(spawner) as made:
        await trio.sleep(14)

    assert [(at, order.op, order.indices) for at, order in made.orders] == [
        (3, "START", [0]),
        (13, "START", [0]),
    ]


async def test_a_crash_is_answered_after_the_delay(
    autojump_clock: MockClock, spawner: Spawner
) -> None:
    """One second after the first crash, two after the second."""
    async with world(spawner) as made:
        made.beat("i1")
        await trio.sleep(5)
        made.crash("i1")
        await trio.sleep(2)
        made.beat("i2")
        await trio.sleep(1)
        made.crash("i2")
        await trio.sleep(5)

    assert [round(at) for at, _ in made.orders] == [6, 10]


async def test_a_change_is_looked_at_soon(autojump_clock: MockClock, spawner: Spawner) -> None:
    """``droplet.updated`` makes it read; several in a row make one look."""
    async with world(spawner) as made:
        made.beat("i1")
        await trio.sleep(10)
        before = len(made.reads)
        for _ in range(5):
            made.kit.publish(DropletUpdated(droplet="a"))
        await trio.sleep(1)

    assert len(made.reads) == before + 1


async def test_it_waits_for_a_controller(autojump_clock: MockClock, spawner: Spawner) -> None:
    """A controller that is away is asked again, and nothing is ordered meanwhile."""
    async with world(spawner, away=True) as made:
        await trio.sleep(10)
        assert made.orders == []
        assert len(made.reads) >= 5
        made.away = False
        await trio.sleep(5)

    assert len(made.orders) == 1


async def test_it_answers_who_asks(autojump_clock: MockClock, spawner: Spawner) -> None:
    """``healthmanager.health`` and ``healthmanager.status``, as the controller of 2012 asked."""
    async with world(spawner) as made:
        made.beat("i1")
        await trio.sleep(0.5)
        asked = HealthRequest(droplets=[{"droplet": "a", "version": "v"}])
        health = await made.kit.request(asked, HealthReply, timeout=1)
        made.crash("i1")
        await trio.sleep(0.5)
        question = StatusRequest(droplet="a", version="v", state="CRASHED")
        status = await made.kit.request(question, StatusReply, timeout=1)

    assert health == HealthReply(droplet="a", healthy=1)
    assert status.instances == [{"instance": "i1", "since": 1_000_000_000}]


async def test_it_says_that_it_began(autojump_clock: MockClock, spawner: Spawner) -> None:
    """DEAs send a heartbeat at once when they hear it."""
    kit = Kit(room="t", bus=LocalBus(), http=Client(), spawner=spawner, trace=Trace("t", []))
    async with kit.subscribe(HealthManagerStart) as heard, trio.open_nursery() as nursery:
        made = World(kit)
        await nursery.start(HealthManager(CONFIG, kit, made.source).run)
        with trio.fail_after(1):
            await heard.__anext__()
        nursery.cancel_scope.cancel()
