"""Usage events: noted where records change, so no way to change them can forget it."""

from __future__ import annotations

from typing import Any

from fake_controller.model import (
    App,
    AppUsageEvent,
    Process,
    Record,
    ServiceInstance,
    ServiceUsageEvent,
    Space,
    Task,
)
from fake_controller.model.tasks import UNFINISHED
from fake_controller.store import Tx, Watcher

KEPT = 20_000  # events of each kind; older ones are forgotten
PRUNED = 500  # at a time, so that pruning is rare


def watch_process(tx: Tx, before: Process | None, after: Process | None) -> None:
    """Instances or memory of a started app's process changed."""
    process = after or before
    app = tx.get(App, process.app_guid) if process else None
    if app is None or app.state != "STARTED":
        return
    if after is None:
        _note(tx, app, before, None, "STOPPED", "STARTED")
    elif before is None or _size(before) != _size(after):
        _note(tx, app, before, after, "STARTED", "STARTED" if before else "STOPPED")


def watch_app(tx: Tx, before: App | None, after: App | None) -> None:
    """An app started or stopped, and with it each of its processes."""
    old = before.state if before else "STOPPED"
    new = after.state if after else "STOPPED"
    app = after or before
    if app is not None and old != new:
        for process in tx.find(Process, app_guid=app.guid):
            _note(tx, app, process, process, new, old)


def watch_task(tx: Tx, before: Task | None, after: Task | None) -> None:
    """A task was made, or has ended."""
    task = after or before
    ran, runs = _runs(before), _runs(after)
    app = tx.get(App, task.app_guid) if task else None
    if task is None or app is None or ran == runs:
        return
    _add(
        tx,
        AppUsageEvent,
        state="TASK_STARTED" if runs else "TASK_STOPPED",
        previous_state="TASK_STARTED" if ran else "TASK_STOPPED",
        memory_in_mb=task.memory_in_mb,
        previous_memory_in_mb=task.memory_in_mb,
        previous_instances=1,
        about=_place(tx, app) | {"task": {"guid": task.guid, "name": task.name}},
    )


def watch_service(tx: Tx, before: ServiceInstance | None, after: ServiceInstance | None) -> None:
    """A service instance came, went, or has another name or plan."""
    instance = after or before
    if instance is None:
        return
    if before is None or after is None:
        state = "CREATED" if after else "DELETED"
    elif (before.name, before.service_plan_guid) != (after.name, after.service_plan_guid):
        state = "UPDATED"
    else:
        return
    about = {
        "service_instance": {
            "guid": instance.guid,
            "name": instance.name,
            "type": f"{instance.type.replace('-', '_')}_service_instance",
        }
    }
    for name, path in (
        ("service_plan", "service_plan"),
        ("service_offering", "service_plan.service_offering"),
        ("service_broker", "service_plan.service_offering.service_broker"),
    ):
        about[name] = _named(tx.follow([instance], path)) if instance.managed else _named([])
    space = tx.get(Space, instance.space_guid)
    _add(
        tx,
        ServiceUsageEvent,
        state=state,
        type=about["service_instance"]["type"],
        service_offering_guid=about["service_offering"]["guid"],
        about=about | _of_space(space),
    )


#: What a store calls when a record of such a kind changes.
WATCHERS: dict[type[Record], Watcher] = {
    Process: watch_process,
    App: watch_app,
    Task: watch_task,
    ServiceInstance: watch_service,
}


def seed_apps(tx: Tx) -> None:
    """Forget all events of apps, and begin with one for each process that runs."""
    for event in tx.find(AppUsageEvent):
        tx.delete(event)
    for app in tx.find(App, state="STARTED"):
        for process in tx.find(Process, app_guid=app.guid):
            _note(tx, app, None, process, "STARTED", None)


def seed_services(tx: Tx) -> None:
    """Forget all events of services, and begin with one for each instance."""
    for event in tx.find(ServiceUsageEvent):
        tx.delete(event)
    for instance in tx.find(ServiceInstance):
        watch_service(tx, None, instance)


def _note(
    tx: Tx,
    app: App,
    before: Process | None,
    after: Process | None,
    state: str,
    previous: str | None,
) -> None:
    process = after or before
    assert process is not None
    old = before or process
    _add(
        tx,
        AppUsageEvent,
        state=state,
        previous_state=previous,
        instances=process.instances,
        previous_instances=old.instances if previous else None,
        memory_in_mb=process.memory_in_mb,
        previous_memory_in_mb=old.memory_in_mb if previous else None,
        about=_place(tx, app) | {"process": {"guid": process.guid, "type": process.type}},
    )


def _add(tx: Tx, kind: type[Record], **values: Any) -> None:
    if tx.count(kind) >= KEPT + PRUNED:
        for old in tx.find(kind, limit=PRUNED):
            tx.delete(old)
    tx.new(kind, **values)


def _size(process: Process) -> tuple[int, int]:
    return process.instances, process.memory_in_mb


def _runs(task: Task | None) -> bool:
    return task is not None and task.state in UNFINISHED


def _place(tx: Tx, app: App) -> dict[str, dict[str, Any]]:
    space = tx.get(Space, app.space_guid)
    return {"app": {"guid": app.guid, "name": app.name}, **_of_space(space)}


def _of_space(space: Space | None) -> dict[str, dict[str, Any]]:
    return {
        "space": {"guid": space.guid, "name": space.name} if space else _named([]),
        "organization": {"guid": space.organization_guid if space else None},
    }


def _named(records: list[Any]) -> dict[str, Any]:
    record = records[0] if records else None
    return {"guid": record.guid, "name": record.name} if record else {"guid": None, "name": None}
