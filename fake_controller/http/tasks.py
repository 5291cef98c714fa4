"""Tasks: commands of an app that run once."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Response

from fake_controller import present
from fake_controller.access import SUPPORTERS, changed_in_space
from fake_controller.acting import Acting
from fake_controller.consumption import check_task
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.relations import Guid, Metadata, new_labels
from fake_controller.model import App, Droplet, Process, Task
from fake_controller.model.tasks import UNFINISHED

MOST = 2**31 - 1  # MB

FILTERS = {
    "guids": "guid",
    "names": "name",
    "states": "state",
    "app_guids": "app_guid",
    "space_guids": "app.space_guid",
    "organization_guids": "app.space.organization_guid",
    "sequence_ids": "sequence_id",
}
TASKS = Listing(
    kind=Task,
    filters=FILTERS,
    present=lambda record, base, _: present.task(record, base),
)
OF_ALL_APPS = Listing(
    kind=Task,
    filters=FILTERS,
    present=lambda record, base, _: present.task(record, base, command=False),
)


class Template(msgspec.Struct):
    process: Guid


class NewTask(msgspec.Struct):
    command: str | None = None
    name: str | None = None
    memory_in_mb: int | None = None
    disk_in_mb: int | None = None
    log_rate_limit_in_bytes_per_second: int | None = None
    droplet_guid: str | None = None
    template: Template | None = None
    metadata: Metadata | None = None


def routes(api: Api) -> None:
    """``/v3/tasks`` and ``/v3/apps/:guid/tasks``."""
    cc = api.cc
    api.lists("/v3/tasks", OF_ALL_APPS)
    api.shows("/v3/tasks/<guid>", TASKS)
    api.labels("/v3/tasks/<guid>", TASKS)
    api.lists("/v3/apps/<guid>/tasks", TASKS, below=App, by="app_guid")

    @api.post("/v3/apps/<guid>/tasks", body=NewTask)
    async def create(guid: str, wanted: NewTask) -> Response:
        task = await api.write(lambda acting: _create(acting, guid, wanted, api))
        cc.log(guid, f"Creating task for app with guid {guid}")
        cc.work.start_soon(api.workers.tasks.start, task)
        return await api.show(TASKS, task.guid, 202)

    @api.post("/v3/tasks/<guid>/actions/cancel")
    async def cancel(guid: str) -> Response:
        return await _cancel(api, guid)

    # The CLI's own spelling.
    @api.put("/v3/tasks/<guid>/cancel")
    async def put_cancel(guid: str) -> Response:
        return await _cancel(api, guid)


async def _cancel(api: Api, guid: str) -> Response:
    def work(acting: Acting) -> Task:
        rule = changed_in_space("app.space_guid", SUPPORTERS)
        task = acting.change(Task, guid, rule=rule)
        if task.state not in UNFINISHED:
            raise unprocessable(f"Task state is {task.state} and therefore cannot be canceled")
        app = acting.tx.need(App, task.app_guid)
        acting.audit("audit.app.task.cancel", app, {"task_guid": guid})
        return acting.tx.change(task, state="CANCELING")

    api.workers.tasks.cancel(await api.write(work))
    return await api.show(TASKS, guid, 202)


def _create(acting: Acting, guid: str, wanted: NewTask, api: Api) -> Task:
    tx, config = acting.tx, api.cc.config
    acting.need_enabled("task_creation")
    app = acting.change(App, guid)
    template = _template(acting, app, wanted)
    droplet = tx.get(Droplet, wanted.droplet_guid or app.droplet_guid)
    if droplet is None or droplet.app_guid != app.guid or droplet.state != "STAGED":
        raise unprocessable(
            "Task must have a droplet. Specify droplet or assign current droplet to app."
        )
    command = wanted.command
    if command is None and template:
        command = template.command or droplet.process_types.get(template.type)
    if not command or not command.strip():
        raise unprocessable("Command can't be blank")
    memory = wanted.memory_in_mb or (template.memory_in_mb if template else config.default_memory)
    disk = wanted.disk_in_mb or (template.disk_in_mb if template else config.default_disk)
    for name, value in (("Memory", memory), ("Disk", disk)):
        if not 0 < value <= MOST:
            raise unprocessable(f"{name} in mb must be greater than 0")
    rate = wanted.log_rate_limit_in_bytes_per_second
    if rate is not None and not -1 <= rate <= MOST:
        raise unprocessable(
            "Log rate limit in bytes per second must be greater than or equal to -1"
        )
    last = tx.find(Task, app_guid=app.guid, order_by="-sequence_id", limit=1)
    task = tx.new(
        Task,
        app_guid=app.guid,
        droplet_guid=droplet.guid,
        sequence_id=last[0].sequence_id + 1 if last else 1,
        name=wanted.name or tx.ids.hex(4),
        command=command,
        memory_in_mb=memory,
        disk_in_mb=disk,
        log_rate=-1 if rate is None else rate,
        **new_labels(wanted),
    )
    check_task(tx, task)
    hidden: dict[str, Any] = {"name": task.name, "memory_in_mb": memory}
    facts = {"task_guid": task.guid, "request": hidden | {"command": "[PRIVATE DATA HIDDEN]"}}
    acting.audit("audit.app.task.create", app, facts)
    return task


def _template(acting: Acting, app: App, wanted: NewTask) -> Process | None:
    if wanted.template is None:
        return None
    process = acting.sees(Process, wanted.template.process.guid)
    if process is None or process.app_guid != app.guid:
        raise unprocessable(
            "Invalid process. Ensure that the process exists and belongs to the app."
        )
    return process
