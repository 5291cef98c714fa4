"""The health manager as a room: listens to DEAs, reads the desired state, sends orders."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from appliance.config import HealthManagerConfig
from appliance.dea.messages import DropletExited, Heartbeat
from appliance.health_manager.bulk import read_desired
from appliance.health_manager.compare import Desired, Picture
from appliance.health_manager.messages import (
    HealthManagerStart,
    HealthReply,
    HealthRequest,
    StatusReply,
    StatusRequest,
)
from appliance.kernel.component import serve_component
from appliance.kernel.errors import ApplianceError
from appliance.kernel.kit import Kit
from fake_controller.messages import DropletUpdated

RETRY = 1.0  # seconds before a controller that did not answer is asked again
SETTLE = 0.1  # seconds in which several changes become one look

Source = Callable[[], Awaitable[dict[str, Desired]]]


async def serve(
    config: HealthManagerConfig,
    kit: Kit,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the health manager until `kit.stopping`; ``started()`` gets the URL of its /varz."""

    async def source() -> dict[str, Desired]:
        return await read_desired(config.controller, kit)

    manager = HealthManager(config, kit, source)
    async with trio.open_nursery() as nursery:

        async def status(*, task_status: trio.TaskStatus[str]) -> None:
            await serve_component(
                kit,
                "HealthManager",
                config.bind,
                varz=manager.figures,
                config=config,
                task_status=task_status,
            )

        url = await nursery.start(status)
        working = await nursery.start(manager.run)
        kit.health.mark(kit.room, "ready")
        task_status.started(url)
        await kit.stopping.wait()
        working.cancel()
    kit.health.mark(kit.room, "stopped")


@dataclass
class HealthManager:
    """Keeps the picture, and acts on it."""

    config: HealthManagerConfig
    kit: Kit
    source: Source
    picture: Picture = field(init=False)
    _wake: trio.Event = field(default_factory=trio.Event)
    _look: bool = True  # the desired state may have changed

    def __post_init__(self) -> None:
        self.picture = Picture(self.config)

    def figures(self) -> dict[str, object]:
        """What /varz tells."""
        states = [one.state for one in self.picture.seen.values()]
        return {
            "total_apps": len(self.picture.desired),
            "total_instances": sum(one.instances for one in self.picture.desired.values()),
            "running_instances": states.count("RUNNING"),
            "starting_instances": states.count("STARTING"),
            "crashed_instances": len(self.picture.crashes),
        }

    async def run(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """Listen and compare until the scope given to ``started()`` is cancelled."""
        async with trio.open_nursery() as nursery:
            for listener in (self._heartbeats, self._exits, self._updates, self._status,
                             self._health):  # fmt: skip
                await nursery.start(listener)
            self.kit.publish(HealthManagerStart())
            nursery.start_soon(self._manage)
            nursery.start_soon(self._after_outages)
            task_status.started(nursery.cancel_scope)

    async def _manage(self) -> None:
        looked_at = -self.config.look_every
        while True:
            wake = self._wake
            now = trio.current_time()
            if self._look or now - looked_at >= self.config.look_every:
                self._look = False
                if await self._read():
                    looked_at = trio.current_time()
                else:
                    self._look = True
            self._order()
            await self._pause(wake, looked_at)

    async def _after_outages(self) -> None:
        """Look again when the bus is back: changes and exits may have been missed."""
        while True:
            await self.kit.bus.reconnected()
            self.kit.publish(HealthManagerStart())
            self._look = True
            self._changed()

    async def _read(self) -> bool:
        try:
            self.picture.wanted(await self.source())
        except ApplianceError as error:
            # At start the controller's door may not be open yet: that is no news.
            self.kit.trace.event("desired.unread", why=str(error))
            return False
        return True

    def _order(self) -> None:
        orders = self.picture.compare(trio.current_time(), self.kit.clock.time())
        for order in orders:
            self.kit.trace.event(
                "order.sent",
                op=order.op,
                droplet=order.droplet,
                indices=",".join(map(str, order.indices)) or None,
            )
            self.kit.publish(order)

    async def _pause(self, wake: trio.Event, looked_at: float) -> None:
        now = trio.current_time()
        until = [looked_at + self.config.look_every]
        if self._look:
            until = [now + RETRY]
        if (due := self.picture.next_due(now)) is not None:
            until.append(due)
        with trio.move_on_at(min(until)):
            await wake.wait()
            # Changes come in flocks: a push alone makes several.
            await trio.sleep(SETTLE)

    def _changed(self) -> None:
        self._wake.set()
        self._wake = trio.Event()

    async def _heartbeats(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with self.kit.subscribe(Heartbeat) as inbox:
            task_status.started()
            async for received in inbox:
                self.picture.heard(received.body, trio.current_time())

    async def _exits(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with self.kit.subscribe(DropletExited) as inbox:
            task_status.started()
            async for received in inbox:
                self.picture.exited(received.body, trio.current_time())
                self._changed()

    async def _updates(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with self.kit.subscribe(DropletUpdated) as inbox:
            task_status.started()
            async for _ in inbox:
                self._look = True
                self._changed()

    async def _status(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with self.kit.subscribe(StatusRequest) as inbox:
            task_status.started()
            async for received in inbox:
                asked = received.body
                self.kit.respond(received, self._status_of(asked))

    def _status_of(self, asked: StatusRequest) -> StatusReply:
        if asked.state == "FLAPPING":
            flapping = self.picture.flapping(asked.droplet, asked.version)
            return StatusReply(
                indices=[{"index": index, "since": self._wall(at)} for index, at in flapping]
            )
        crashed = [
            crash
            for key, crash in sorted(self.picture.crashes.items())
            if key[:2] == (asked.droplet, asked.version)
        ]
        return StatusReply(
            instances=[
                {"instance": crash.instance, "since": self._wall(crash.last)} for crash in crashed
            ]
        )

    async def _health(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with self.kit.subscribe(HealthRequest) as inbox:
            task_status.started()
            async for received in inbox:
                for one in received.body.droplets:
                    droplet, version = one.get("droplet", ""), one.get("version", "")
                    healthy = self.picture.running(droplet, version)
                    self.kit.respond(received, HealthReply(droplet=droplet, healthy=healthy))

    def _wall(self, at: float) -> int:
        """A time on trio's clock as seconds since 1970."""
        return int(self.kit.clock.time() - (trio.current_time() - at))
