"""Tasks: placed on a DEA like an instance, run once, and watched until they have ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from appliance.dea.messages import Discover, Hello, Limits
from appliance.dea.messages_tasks import TaskCancel, TaskHeartbeat, TaskStart, TaskStatus
from appliance.kernel.bus import NoResponders, RequestTimeout
from fake_controller.controller import Controller
from fake_controller.features import services_as
from fake_controller.model import App, Droplet, Process, Task
from fake_controller.model.tasks import UNFINISHED
from fake_controller.running import DISCOVER_TIMEOUT, archiver_urls, desired, vcap_application
from fake_controller.services.bound import bound_services
from fake_controller.store import Tx
from fake_controller.surroundings import as_lines, running_variables

SILENCE = 25.0  # seconds without a word after which a task is lost with its DEA
LOOK_EVERY = 5.0  # seconds between looks for lost tasks


@dataclass
class Tasks:
    """Starts tasks, and learns from the DEAs what becomes of them."""

    cc: Controller
    ended: Callable[[Tx, Task], None] = lambda _tx, _task: None  # in the transaction of its end
    _heard: dict[str, float] = field(default_factory=dict)  # task: trio's time of its last word

    async def start(self, task: Task) -> None:
        """Find a DEA with room for *task* and hand it over; without one it has failed."""
        kit = self.cc.kit
        self._heard[task.guid] = trio.current_time()
        question = Discover(droplet=task.guid, limits=_limits(task), name=task.name)
        try:
            hello = await kit.request(question, Hello, timeout=DISCOVER_TIMEOUT)
        except (NoResponders, RequestTimeout):
            why = f"insufficient resources: no DEA has {task.memory_in_mb} MB free"
            await self._end(task.guid, "FAILED", why)
            return
        order = await self.cc.store.read(lambda tx: task_start(tx, self.cc, task))
        kit.trace.event("task.ordered", task=task.guid, name=task.name, dea=hello.id)
        kit.publish(order, subject=f"dea.{hello.id}.task.start")

    def cancel(self, task: Task) -> None:
        """Tell the DEAs to end *task*; it counts as cancelled when one says so."""
        self.cc.kit.publish(TaskCancel(task=task.guid))

    async def listen(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Take in what the DEAs say of their tasks, until cancelled."""
        async with self.cc.kit.subscribe(TaskHeartbeat) as inbox:
            task_status.started()
            async for received in inbox:
                for status in received.body.tasks:
                    await self._hear(status)

    async def watch(self) -> None:
        """Give up tasks that nobody speaks of any more, until cancelled."""
        while True:
            await trio.sleep(LOOK_EVERY)
            now = trio.current_time()
            for task in await self.cc.store.find(Task, state=UNFINISHED):
                # What was there before this controller gets the same patience.
                if now - self._heard.setdefault(task.guid, now) > SILENCE:
                    await self._end(task.guid, "FAILED", "The DEA that ran the task is gone.")

    async def _hear(self, status: TaskStatus) -> None:
        self._heard[status.task] = trio.current_time()
        if status.state in ("SUCCEEDED", "FAILED"):
            await self._end(status.task, status.state, status.failure_reason or None)
        elif status.state == "RUNNING":

            def work(tx: Tx) -> None:
                task = tx.get(Task, status.task)
                if task and task.state == "PENDING":
                    tx.change(task, state="RUNNING")

            await self.cc.store.write(work)
            self.cc.build_changed()

    async def _end(self, guid: str, state: str, why: str | None) -> None:
        self._heard.pop(guid, None)

        def work(tx: Tx) -> None:
            task = tx.get(Task, guid)
            # DEAs repeat how a task ended; it ends once.
            if task and task.state in UNFINISHED:
                self.ended(tx, tx.change(task, state=state, failure_reason=why))

        await self.cc.store.write(work)
        self.cc.build_changed()


def task_start(tx: Tx, cc: Controller, task: Task) -> TaskStart:
    """The order for *task*, as on the wire."""
    app, droplet = tx.need(App, task.app_guid), tx.need(Droplet, task.droplet_guid)
    first, *others = archiver_urls(cc, droplet)
    web = tx.latest(Process, app_guid=app.guid, type="web")
    facts = vcap_application(desired(tx, web), cc) if web else {}
    facts["limits"] = {"fds": 16384, "mem": task.memory_in_mb, "disk": task.disk_in_mb}
    for name in ("process_id", "process_type"):
        facts.pop(name, None)
    return TaskStart(
        task=task.guid,
        name=task.name,
        command=task.command,
        app_id=app.guid,
        app_name=app.name,
        sha1=droplet.sha1 or "",
        sha256=droplet.sha256,
        executableUri=first,
        executableUris=others,
        services=bound_services(tx, app.guid),
        services_as=services_as(app.features),
        env=as_lines(running_variables(tx, app)),
        limits=_limits(task),
        vcap_application=facts,
    )


def _limits(task: Task) -> Limits:
    return Limits(mem=task.memory_in_mb, disk=task.disk_in_mb, log_rate=task.log_rate)
