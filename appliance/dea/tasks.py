"""The tasks of one DEA: they live as instances do, but are to end, and tell of it otherwise."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from appliance.dea.dea import Dea, is_id
from appliance.dea.ending import Ending
from appliance.dea.instance import Instance, folder_name
from appliance.dea.life import Life
from appliance.dea.messages import Start
from appliance.dea.messages_tasks import TaskCancel, TaskHeartbeat, TaskStart, TaskStatus

KEPT = 600.0  # seconds that DEAs tell of a task that has ended
MOST = 1000  # ended tasks that are told of
AT_ONCE = 500  # tasks in one message, which is then well below the bus's limit

LIVE = ("PENDING", "RUNNING")


class Tasks:
    """Takes tasks, and tells how they go on. No method waits but `ended`."""

    def __init__(self, dea: Dea) -> None:
        self._dea = dea
        self._kit = dea.shared.kit
        self._known: dict[str, TaskStatus] = {}  # by guid; the order is that of the last changes

    def start(self, order: TaskStart) -> None:
        """Take *order*, or say at once why not."""
        if order.task in self._known or order.task in self._dea.lives:
            self._kit.trace.event("task.repeated", task=order.task)
            return
        dea = self._dea
        status = TaskStatus(
            task=order.task, app_id=order.app_id, state="PENDING", state_timestamp=0
        )
        why = ""
        if not is_id(order.task):
            why = "The task's guid may have letters, digits, '_' and '-' only, and at most 64"
        elif dea.draining or not dea.room.takes(order.limits.mem):
            why = "insufficient resources"
        if why:
            self._kit.trace.event("task.refused", task=order.task, why=why)
            self._tell(replace(status, state="FAILED", failure_reason=why))
            return
        start = as_order(order)
        instance = Instance(
            order=start,
            id=order.task,
            private_id="",
            folder=dea.apps / folder_name(start, order.task),
            host=dea.shared.config.host,
            uris=[],
            since=self._kit.clock.time(),
            isolated=dea.isolated,
            task=order.name,
        )
        self._kit.trace.event("task.accepted", app=order.app_name, task=order.task)
        self._tell(status)
        dea.begin(Life(instance, dea.shared, self))

    def cancel(self, order: TaskCancel) -> None:
        """End a task that lives here."""
        if order.task in self._known and (life := self._dea.lives.get(order.task)):
            life.stop()

    def heartbeat(self) -> None:
        """Tell of all tasks, unless there are none."""
        self._reap()
        if self._known:
            for report in self.reports():
                self._kit.publish(report)

    def reports(self) -> Iterator[TaskHeartbeat]:
        """All tasks in as many messages as they need, at least one."""
        tasks = list(self._known.values())
        for first in range(0, max(1, len(tasks)), AT_ONCE):
            yield TaskHeartbeat(dea=self._dea.id, tasks=tasks[first : first + AT_ONCE])

    # What lives tell.

    def running(self, instance: Instance) -> None:
        """Its program has begun."""
        instance.enter("RUNNING", self._kit.clock.time())
        self._tell(replace(self._known[instance.id], state="RUNNING"))

    def routable(self, instance: Instance) -> None:
        """Tasks get no requests, and nobody looks whether they want any."""

    def ending(self, instance: Instance) -> None:
        """It will be gone soon."""
        instance.leaving = True

    async def ended(self, instance: Instance, ending: Ending) -> None:
        """It is gone: say how, and leave nothing."""
        state, why = verdict(ending)
        self._kit.trace.event("task.ended", task=instance.id, state=state, why=why or None)
        self._dea.over(instance)
        self._dea.discard(instance)
        status = self._known[instance.id]
        self._tell(replace(status, state=state, failure_reason=why, exit_status=ending.status))

    def _tell(self, status: TaskStatus) -> None:
        self._known.pop(status.task, None)
        status = replace(status, state_timestamp=self._kit.clock.time())
        self._known[status.task] = status
        self._kit.publish(TaskHeartbeat(dea=self._dea.id, tasks=[status]))

    def _reap(self) -> None:
        """Forget what ended long ago, and the oldest of very many."""
        oldest = self._kit.clock.time() - KEPT
        ended = [one for one in self._known.values() if one.state not in LIVE]
        for number, status in enumerate(ended):
            if status.state_timestamp < oldest or number < len(ended) - MOST:
                del self._known[status.task]


def as_order(task: TaskStart) -> Start:
    """*task* as the order for an instance: one without a port, which is healthy as it is."""
    return Start(
        droplet=task.task,
        index=0,
        name=task.app_name,
        version=task.version,
        sha1=task.sha1,
        sha256=task.sha256,
        executableFile=task.executableFile,
        executableUri=task.executableUri,
        executableUris=task.executableUris,
        services=task.services,
        services_as=task.services_as,
        env=task.env,
        limits=task.limits,
        app_id=task.app_id,
        process_type="task",
        command=task.command,
        instance_guid=task.task,
        health_check={"type": "process"},
        port_wanted=False,
        vcap_application=task.vcap_application,
    )


def verdict(ending: Ending) -> tuple[str, str]:
    """State and reason of a task that ended so."""
    if ending.reason == "STOPPED":
        return "FAILED", "task was cancelled"
    if ending.reason == "DEA_SHUTDOWN":
        return "FAILED", "The DEA was stopped while the task ran"
    if ending.status == 0:
        return "SUCCEEDED", ""
    return "FAILED", ending.description or "The task could not be started"
