"""The stager as a room: takes requests from its queues, a few at a time, and answers each once."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import trio

from appliance.config import StagerConfig
from appliance.kernel.bus import Message, Subscription
from appliance.kernel.bus.codec import Undecodable, decode, encode
from appliance.kernel.component import serve_component
from appliance.kernel.kit import Inbox, Kit
from appliance.kernel.process.folders import room_folder
from appliance.stager.buildpacks.shelf import Shelf
from appliance.stager.caches import Caches
from appliance.stager.errors import StagerBusy, StagerStopping, StagingError
from appliance.stager.messages import (
    ClearBuildCaches,
    StagingReply,
    StagingRequest,
    TaskQuestion,
    TaskState,
)
from appliance.stager.task import FAILED, Task

DRAIN = 20.0  # seconds that running tasks get to finish when the stager stops
REMEMBERED = 200  # finished tasks whose reply is kept for a repeated request


async def serve(
    config: StagerConfig,
    kit: Kit,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run one stager until `kit.stopping`; ``started()`` gets the URL of its /varz.

    When it stops it takes no more requests; running tasks have `DRAIN` seconds to finish,
    and those that wait are answered with an error at once.
    """
    async with room_folder(config.root, "stager") as root:
        await _serve(config, kit, root, task_status)


async def _serve(
    config: StagerConfig, kit: Kit, root: Path, task_status: trio.TaskStatus[str]
) -> None:
    sandbox = kit.spawner.sandbox
    tasks, packs, cache = root / "tasks", root / "buildpacks", root / "cache"
    for folder in (tasks, packs):
        await sandbox.remove(folder)  # what a crash left behind, perhaps in the middle
    for folder in (root, tasks, packs, cache):
        sandbox.make_root(folder)
    desk = Desk(
        config=config,
        kit=kit,
        folder=tasks,
        packs=packs,
        caches=Caches(cache, sandbox, config.max_build_cache),
    )
    try:
        async with trio.open_nursery() as background:

            async def component(*, task_status: trio.TaskStatus[str]) -> None:
                await serve_component(
                    kit,
                    "Stager",
                    config.bind,
                    varz=desk.figures,
                    counters=("staged", "failed"),
                    config=config,
                    task_status=task_status,
                )

            url = await background.start(component)
            telling = await background.start(desk.tell)
            async with trio.open_nursery() as working:
                async with AsyncExitStack() as subscriptions, trio.open_nursery() as listening:
                    for queue in config.queues:
                        subscription = await subscriptions.enter_async_context(
                            kit.bus.subscribe(queue, queue=queue)
                        )
                        listening.start_soon(desk.take, subscription, working)
                    clears = await subscriptions.enter_async_context(
                        kit.subscribe(ClearBuildCaches)
                    )
                    listening.start_soon(desk.clear, clears)
                    kit.health.mark(kit.room, "ready")
                    task_status.started(url)
                    await kit.stopping.wait()
                    kit.health.mark(kit.room, "draining")
                    listening.cancel_scope.cancel()
                working.cancel_scope.deadline = trio.current_time() + DRAIN
            telling.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await sandbox.remove(tasks)
    kit.health.mark(kit.room, "stopped")


@dataclass(kw_only=True)
class Desk:
    """Takes requests in, and knows which tasks wait, run and have finished."""

    config: StagerConfig
    kit: Kit
    folder: Path
    packs: Path  # where unpacked buildpacks are kept
    caches: Caches
    shelf: Shelf = field(init=False)
    waiting: int = 0
    running: int = 0
    staged: int = 0
    failed: int = 0
    slots: trio.CapacityLimiter = field(init=False)
    threads: trio.CapacityLimiter = field(init=False)
    _known: OrderedDict[str, Outcome] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.slots = trio.CapacityLimiter(self.config.max_active_tasks)
        self.threads = trio.CapacityLimiter(2 * self.config.max_active_tasks)
        most = self.config.max_buildpack
        self.shelf = Shelf(root=self.packs, kit=self.kit, most=most, limiter=self.threads)

    def figures(self) -> dict[str, object]:
        """What /varz tells about the tasks."""
        return {
            "max_active_tasks": self.config.max_active_tasks,
            "active_tasks": self.running,
            "waiting_tasks": self.waiting,
            "staged": self.staged,
            "failed": self.failed,
            "sandbox": self.kit.spawner.sandbox.kind,
        }

    async def take(self, requests: Subscription, working: trio.Nursery) -> None:
        """Start one task per request, or answer at once why there is none."""
        async for message in requests:
            self.kit.join(message)
            try:
                request = decode(message.data, StagingRequest)
            except Undecodable as error:
                # The original never answered such a request, and its sender timed out.
                self.kit.trace.event("message.refused", subject=message.subject, why=str(error))
                task_id = self.kit.ids.hex()
                self.answer(
                    message,
                    StagingReply(
                        task_id=task_id,
                        task_log="",
                        error=FAILED + str(error),
                        error_code=error.code,
                        exit_code=StagingError.exit_code,
                    ),
                )
                continue
            if request.task_id and (known := self._known.get(request.task_id)):
                working.start_soon(self._repeat, known, message)
            elif self.waiting + self.running >= self._most():
                task = self._task(request)
                self.answer(message, task.failed(StagerBusy(self.waiting)))
                task.log.flush()
            else:
                self.waiting += 1  # until it has a slot
                task = self._task(request)
                outcome = self._known[task.id] = Outcome()
                working.start_soon(self._work, task, message, outcome)

    async def clear(self, requests: Inbox[ClearBuildCaches]) -> None:
        """Forget build caches when it is wished, one wish after the other."""
        async for received in requests:
            await self.caches.clear(received.body.app_id)
            self.kit.trace.event("cache.cleared", app=received.body.app_id or "all")

    async def tell(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """Answer questions about our tasks until the scope given to ``started()`` is cancelled.

        Those about others are for others to answer.
        """
        with trio.CancelScope() as scope:
            async with self.kit.bus.subscribe(TaskQuestion.subject) as questions:
                task_status.started(scope)
                async for question in questions:
                    known = self._known.get(question.subject.rpartition(".")[2])
                    if known is not None:
                        state = "finished" if known.reply else "running"
                        self.answer(question, TaskState(state=state, reply=known.reply))

    def _most(self) -> int:
        return self.config.max_active_tasks + self.config.max_waiting_tasks

    def answer(self, message: Message, reply: StagingReply | TaskState) -> None:
        """Send *reply* to whoever sent *message*."""
        if message.reply:
            self.kit.bus.publish(message.reply, encode(reply), headers=self.kit.headers())

    def _task(self, request: StagingRequest) -> Task:
        task_id = request.task_id or self.kit.ids.hex()
        return Task(
            id=task_id,
            request=request,
            config=self.config,
            kit=self.kit,
            caches=self.caches,
            shelf=self.shelf,
            folder=self.folder / self.kit.ids.hex(),
            limiter=self.threads,
        )

    async def _repeat(self, known: Outcome, message: Message) -> None:
        await known.finished.wait()
        assert known.reply is not None
        self.answer(message, known.reply)

    async def _work(self, task: Task, message: Message, outcome: Outcome) -> None:
        """Wait for a free slot, stage, answer; the answer is sent even when we are stopped."""
        reply: StagingReply | None = None
        try:
            if await self._slot(task):
                reply = await self._stage(task)
            else:
                reply = task.failed(StagerStopping())
        except Exception:
            # A bug of ours ends the room, but whoever asked must not wait for it in vain.
            reply = task.failed(StagingError("The stager failed; its trace tells more."))
            raise
        finally:
            if reply is None:  # cancelled in the middle
                reply = task.failed(StagerStopping())
            self.staged += reply.error is None
            self.failed += reply.error is not None
            outcome.reply = reply
            outcome.finished.set()
            task.log.flush()
            self.answer(message, reply)
            self._forget()

    async def _slot(self, task: Task) -> bool:
        """Wait for a free slot; False when the stager stops before there is one."""
        try:
            with trio.CancelScope() as until_stopping:
                async with trio.open_nursery() as watching:
                    watching.start_soon(_cancel_when, self.kit.stopping, until_stopping)
                    await self.slots.acquire_on_behalf_of(task)
                    watching.cancel_scope.cancel()
            return not until_stopping.cancelled_caught
        finally:
            self.waiting -= 1

    async def _stage(self, task: Task) -> StagingReply:
        sandbox = self.kit.spawner.sandbox
        self.running += 1
        try:
            sandbox.make_root(task.folder)
            return await task.run()
        finally:
            self.running -= 1
            self.slots.release_on_behalf_of(task)
            with trio.CancelScope(shield=True):
                await sandbox.remove(task.folder)
                await self.caches.prune()
                await self.shelf.prune()

    def _forget(self) -> None:
        finished = [key for key, known in self._known.items() if known.finished.is_set()]
        for key in finished[: max(0, len(finished) - REMEMBERED)]:
            del self._known[key]


@dataclass
class Outcome:
    """How a task ended, for those who ask again."""

    finished: trio.Event = field(default_factory=trio.Event)
    reply: StagingReply | None = None


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
