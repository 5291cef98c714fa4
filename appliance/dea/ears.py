"""What a DEA hears on the bus, and what it does then."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

import trio

from appliance.dea import answers
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
from appliance.dea.messages_ssh import OpenSession
from appliance.dea.messages_tasks import FindTasks, TaskCancel, TaskStart
from appliance.dea.sessions import Sessions
from appliance.dea.tasks import Tasks
from appliance.health_manager.messages import HealthManagerStart
from appliance.kernel.bus import Subscription
from appliance.kernel.kit import Received
from appliance.router.messages import RouterStart


@dataclass(frozen=True, slots=True)
class Signal:
    """A message that counts because it came, whatever is in it."""

    subject: ClassVar[str] = ""


Handler = Callable[[Received[Any]], None]


class Ears:
    """The subscriptions of one DEA. No handler waits, so orders take effect as they were given."""

    def __init__(self, dea: Dea, sessions: Sessions, tasks: Tasks) -> None:
        self._dea = dea
        self._tasks = tasks
        self._sessions = sessions
        self._kit = dea.shared.kit
        self._handlers: dict[str, tuple[type[Any], Handler]] = {
            f"dea.{dea.id}.start": (Start, lambda order: dea.start(order.body)),
            Stop.subject: (Stop, lambda order: dea.stop(order.body)),
            Update.subject: (Update, self._update),
            Discover.subject: (Discover, self._discover),
            Status.subject: (Status, self._status),
            FindDroplet.subject: (FindDroplet, self._find),
            DropletStatus.subject: (DropletStatus, self._stats),
            f"dea.{dea.id}.task.start": (TaskStart, lambda order: tasks.start(order.body)),
            TaskCancel.subject: (TaskCancel, lambda order: tasks.cancel(order.body)),
            FindTasks.subject: (Signal, self._find_tasks),
            OpenSession.subject: (OpenSession, self._session),
            Locate.subject: (Signal, lambda _: dea.advertise()),
            RouterStart.subject: (Signal, lambda _: dea.register_all()),
            HealthManagerStart.subject: (Signal, lambda _: dea.heartbeat()),
        }

    async def listen(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Hear everything until cancelled; ``started()`` when nothing is missed any more."""
        # One subscription for all orders: a stop must not overtake the start before it. What
        # DEAs say themselves comes along, and is passed over.
        subjects = (
            "dea.>", DropletStatus.subject, RouterStart.subject, HealthManagerStart.subject,
        )  # fmt: skip
        async with AsyncExitStack() as stack, trio.open_nursery() as hearing:
            for subject in subjects:
                heard = await stack.enter_async_context(self._kit.bus.subscribe(subject))
                hearing.start_soon(self._hear, heard)
            task_status.started()

    async def _hear(self, heard: Subscription) -> None:
        async for message in heard:
            if known := self._handlers.get(message.subject):
                kind, handle = known
                received = self._kit.receive(message, kind)
                if received is not None:
                    handle(received)

    def _update(self, order: Received[Update]) -> None:
        self._dea.update(str(order.body.droplet), order.body.uris, order.body.routing)

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
        self._kit.respond(question, answers.status(self._dea))

    def _find(self, question: Received[FindDroplet]) -> None:
        for found in answers.found(self._dea, question.body):
            self._kit.respond(question, found)

    def _session(self, question: Received[OpenSession]) -> None:
        if place := self._sessions.admit(question.body):
            self._kit.respond(question, place)

    def _find_tasks(self, question: Received[Signal]) -> None:
        for report in self._tasks.reports():
            self._kit.respond(question, report)

    def _stats(self, question: Received[DropletStatus]) -> None:
        for stats in answers.all_stats(self._dea):
            self._kit.respond(question, stats)
