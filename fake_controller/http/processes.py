"""Processes: how many of what, and how their health is found out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from quart import Response

from fake_controller import present
from fake_controller.access import SUPPORTERS, changed_in_space
from fake_controller.acting import Acting
from fake_controller.consumption import check_process
from fake_controller.errors import deployment_in_progress, unprocessable
from fake_controller.events import HIDDEN
from fake_controller.http.api import Api
from fake_controller.http.instances import embedded, of_app
from fake_controller.http.listing import Listing
from fake_controller.http.relations import Metadata, plain, relabelled
from fake_controller.model import App, Deployment, Droplet, Process
from fake_controller.model.apps import MOST_INSTANCES
from fake_controller.sidecars import check_memory
from fake_controller.store import Tx

SUPPORTED = changed_in_space("app.space_guid", SUPPORTERS)
MOST = 2**31 - 1  # MB: what the platform stores
#: What can be scaled: its least value, and the rule in words.
LEAST = (
    ("instances", 0, "greater than or equal to 0"),
    ("memory_in_mb", 1, "greater than 0"),
    ("disk_in_mb", 1, "greater than 0"),
    ("log_rate_limit_in_bytes_per_second", -1, "greater than or equal to -1"),
)


def _hidden(record: Process, base: str, _: Any) -> dict[str, Any]:
    return present.process(record, base, present.HIDDEN)


def _commands(tx: Tx, records: Sequence[Process]) -> dict[str, str | None]:
    commands: dict[str, str | None] = {}
    for record in records:
        app = tx.need(App, record.app_guid)
        droplet = tx.get(Droplet, record.droplet_guid or app.droplet_guid)
        own = droplet.process_types.get(record.type) if droplet else None
        commands[record.guid] = record.command or own
    return commands


PROCESSES = Listing(
    kind=Process,
    filters={
        "guids": "guid",
        "app_guids": "app_guid",
        "types": "type",
        "space_guids": "app.space_guid",
        "organization_guids": "app.space.organization_guid",
    },
    ignored=("embed",),
    present=_hidden,
)
ONE = Listing(
    kind=Process,
    gather=_commands,
    present=lambda record, base, commands: present.process(record, base, commands[record.guid]),
)


class Scale(msgspec.Struct):
    instances: int | None = None
    memory_in_mb: int | None = None
    disk_in_mb: int | None = None
    log_rate_limit_in_bytes_per_second: int | None = None


class HealthData(msgspec.Struct):
    timeout: int | None = None
    invocation_timeout: int | None = None
    interval: int | None = None
    endpoint: str | None = None


class Health(msgspec.Struct):
    type: str
    data: HealthData | None = None


class ChangedProcess(msgspec.Struct):
    command: str | msgspec.UnsetType | None = msgspec.UNSET
    health_check: Health | None = None
    readiness_health_check: Health | None = None
    metadata: Metadata | None = None


def routes(api: Api) -> None:
    """``/v3/processes`` and ``/v3/apps/:guid/processes``."""
    api.lists("/v3/apps/<guid>/processes", PROCESSES, below=App, by="app_guid")

    @api.route("GET", "/v3/processes", lists=PROCESSES)
    async def processes() -> Response:
        return await embedded(api, await api.listed(PROCESSES))

    @api.get("/v3/processes/<guid>")
    async def process(guid: str) -> Response:
        return await embedded(api, await api.show(ONE, guid))

    @api.get("/v3/apps/<guid>/processes/<type_>")
    async def app_process(guid: str, type_: str) -> Response:
        return await api.show(ONE, await of_app(api, guid, type_))

    @api.post("/v3/processes/<guid>/actions/scale", body=Scale)
    async def scale(guid: str, wanted: Scale) -> Response:
        return await _scale(api, guid, wanted)

    @api.post("/v3/apps/<guid>/processes/<type_>/actions/scale", body=Scale)
    async def app_scale(guid: str, type_: str, wanted: Scale) -> Response:
        return await _scale(api, await of_app(api, guid, type_), wanted)

    @api.patch("/v3/processes/<guid>", body=ChangedProcess)
    async def change(guid: str, wanted: ChangedProcess) -> Response:
        await api.write(lambda acting: _change(acting, guid, wanted))
        return await api.show(ONE, guid)

    @api.patch("/v3/apps/<guid>/processes/<type_>", body=ChangedProcess)
    async def app_change(guid: str, type_: str, wanted: ChangedProcess) -> Response:
        process = await of_app(api, guid, type_)
        await api.write(lambda acting: _change(acting, process, wanted))
        return await api.show(ONE, process)


async def _scale(api: Api, guid: str, wanted: Scale) -> Response:
    for name, low, rule in LEAST:
        value = getattr(wanted, name)
        if value is not None and not low <= value <= MOST:
            raise unprocessable(f"{name.replace('_', ' ').capitalize()} must be {rule}")
    if (wanted.instances or 0) > MOST_INSTANCES:
        raise unprocessable(f"Instances must be less than or equal to {MOST_INSTANCES}")

    def work(acting: Acting) -> Process:
        acting.need_enabled("app_scaling")
        record = acting.change(Process, guid, rule=SUPPORTED)
        deploying = acting.tx.first(Deployment, app_guid=record.app_guid, status_value="ACTIVE")
        if record.type == "web" and deploying:
            raise deployment_in_progress("scale")
        values = {
            "instances": wanted.instances,
            "memory_in_mb": wanted.memory_in_mb,
            "disk_in_mb": wanted.disk_in_mb,
            "log_rate": wanted.log_rate_limit_in_bytes_per_second,
        }
        if wanted.memory_in_mb is not None:
            check_memory(acting.tx, record, wanted.memory_in_mb)
        app = acting.tx.need(App, record.app_guid)
        acting.audit(
            "audit.app.process.scale",
            app,
            {"process_guid": guid, "process_type": record.type, "request": plain(wanted)},
        )
        changed = {name: value for name, value in values.items() if value is not None}
        scaled = acting.tx.change(record, **changed)
        check_process(acting.tx, scaled)
        return scaled

    process = await api.write(work)
    api.cc.log(process.app_guid, f"Updated app with guid {process.app_guid}")
    api.workers.runner.converge(guid)
    return await api.show(ONE, guid, 202)


def _change(acting: Acting, guid: str, wanted: ChangedProcess) -> None:
    process = acting.change(Process, guid)
    deploying = acting.tx.first(Deployment, app_guid=process.app_guid, status_value="ACTIVE")
    if process.type == "web" and deploying:
        raise unprocessable("Cannot update this process while a deployment is in flight.")
    values = _values(wanted) | relabelled(process, wanted)
    acting.tx.change(process, **values)
    acting.audit(
        "audit.app.process.update",
        acting.tx.need(App, process.app_guid),
        {
            "process_guid": guid,
            "process_type": process.type,
            "request": plain(wanted) | ({"command": HIDDEN} if wanted.command else {}),
        },
    )


def _values(wanted: ChangedProcess) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if wanted.command is not msgspec.UNSET:
        values["command"] = wanted.command
    if health := wanted.health_check:
        data = _checked("Health check", health)
        values |= {
            "health_check_type": health.type,
            "health_check_timeout": data.timeout,
            "health_check_invocation_timeout": data.invocation_timeout,
            "health_check_interval": data.interval,
            "health_check_endpoint": data.endpoint or ("/" if health.type == "http" else None),
        }
    if ready := wanted.readiness_health_check:
        data = _checked("Readiness health check", ready)
        values |= {
            "readiness_type": ready.type,
            "readiness_invocation_timeout": data.invocation_timeout,
            "readiness_interval": data.interval,
            "readiness_endpoint": data.endpoint or ("/" if ready.type == "http" else None),
        }
    return values


def _checked(what: str, health: Health) -> HealthData:
    """The data of a health check, which must be one; raises 422 with what is wrong."""
    if health.type not in ("port", "process", "http"):
        raise unprocessable(f'{what} type must be "port", "process", or "http"')
    data = health.data or HealthData()
    for name in ("timeout", "invocation_timeout", "interval"):
        value = getattr(data, name)
        if value is not None and not 1 <= value <= MOST:
            label = name.replace("_", " ")
            raise unprocessable(f"{what} {label} must be greater than or equal to 1")
    if data.endpoint is not None and not data.endpoint.startswith("/"):
        raise unprocessable(f"{what} endpoint must be a valid URI path")
    return data
