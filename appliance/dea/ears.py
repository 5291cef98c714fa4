"""What a DEA hears on the bus, and what it does then."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

import trio

from appliance.dea.dea import Dea
from appliance.dea.messages import (
    Discover,
    DropletStatus,
    FindDroplet,
    Locate,
    Start,
    Status,
    Stop,
    Update,
)
from appliance.health_manager.messages import HealthManagerStart
from appliance.kernel.kit import Inbox, Received
from appliance.router.messages import RouterStart


@dataclass(frozen=True, slots=True)
class Signal:
    """A message that counts because it came, whatever is in it."""

    subject: ClassVar[str] = ""


class Ears:
    """The subscriptions of one DEA. No handler waits, so messages take effect in their order."""

    def __init__(self, dea: Dea) -> None:
        self._dea = dea
        self._kit = dea.shared.kit

    async def listen(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Hear everything until cancelled; ``started()`` when nothing is missed any more."""
        dea = self._dea
        subscriptions: list[tuple[type[Any], str, Callable[[Received[Any]], None]]] = [
            (Start, f"dea.{dea.id}.start", lambda order: dea.start(order.body)),
            (Stop, Stop.subject, lambda order: dea.stop(order.body)),
            (Update, Update.subject, self._update),
            (Discover, Discover.subject, self._discover),
            (Status, Status.subject, self._status),
            (FindDroplet, FindDroplet.subject, self._find),
            (DropletStatus, DropletStatus.subject, self._stats),
            (Signal, Locate.subject, lambda _: dea.advertise()),
            (Signal, RouterStart.subject, lambda _: dea.register_all()),
            (Signal, HealthManagerStart.subject, lambda _: dea.heartbeat()),
        ]
        async with AsyncExitStack() as stack, trio.open_nursery() as hearing:
            for kind, subject, handle in subscriptions:
                inbox = await stack.enter_async_context(self._kit.subscribe(kind, subject=subject))
                hearing.start_soon(_hear, inbox, handle)
            task_status.started()

    def _update(self, order: Received[Update]) -> None:
        self._dea.update(str(order.body.droplet), order.body.uris)

    def _discover(self, question: Received[Discover]) -> None:
        delay = self._dea.eagerness(question.body)
        if delay is not None:
            self._dea.nursery.start_soon(self._offer, question, delay)

    async def _offer(self, question: Received[Discover], delay: float) -> None:
        await trio.sleep(delay)
        # Others may have been taken meanwhile.
        if self._dea.would_take(question.body):
            self._kit.respond(question, self._dea.hello)

    def _status(self, question: Received[Status]) -> None:
        self._kit.respond(question, self._dea.status())

    def _find(self, question: Received[FindDroplet]) -> None:
        for found in self._dea.find(question.body):
            self._kit.respond(question, found)

    def _stats(self, question: Received[DropletStatus]) -> None:
        for stats in self._dea.all_stats():
            self._kit.respond(question, stats)


async def _hear(inbox: Inbox[Any], handle: Callable[[Received[Any]], None]) -> None:
    async for message in inbox:
        handle(message)
