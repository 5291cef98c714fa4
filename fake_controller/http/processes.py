"""Processes: scale, change, and what their instances do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import trio
from quart import Response, request

from appliance.dea.messages import FindDroplet, FoundInstance, Stop
from appliance.kernel.bus import BusClosed
from fake_controller import present
from fake_controller.access import SUPPORTERS, changed_in_space
from fake_controller.acting import Acting
from fake_controller.actual import Instance
from fake_controller.consumption import check_process
from fake_controller.errors import deployment_in_progress, missing, unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.relations import Metadata, plain, relabelled
from fake_controller.model import App, Deployment, Droplet, Process
from fake_controller.running import desired
from fake_controller.sidecars import check_memory
from fake_controller.store import Tx

SUPPORTED = changed_in_space("app.space_guid", SUPPORTERS)
MOST = 2**31 - 1  # instances, or MB: what the platform stores
STATS_TIMEOUT = 0.5  # seconds for all DEAs to tell their figures


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
    api.shows("/v3/processes/<guid>", ONE)

    @api.route("GET", "/v3/processes", lists=PROCESSES)
    async def processes() -> Response:
        answer = await api.listed(PROCESSES)
        if request.args.get("embed") == "process_instances":
            return await _embed(api, answer)
        return answer

    @api.get("/v3/apps/<guid>/processes/<type_>")
    async def app_process(guid: str, type_: str) -> Response:
        return await api.show(ONE, await of_app(api, guid, type_))

    @api.get("/v3/processes/<guid>/stats")
    async def stats(guid: str) -> Response:
        return api.json({"resources": await _stats(api, guid)})

    @api.get("/v3/apps/<guid>/processes/<type_>/stats")
    async def app_stats(guid: str, type_: str) -> Response:
        return api.json({"resources": await _stats(api, await of_app(api, guid, type_))})

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

    @api.delete("/v3/processes/<guid>/instances/<int:index>")
    async def restart_instance(guid: str, index: int) -> Response:
        return await _restart_instance(api, guid, index)

    @api.delete("/v3/apps/<guid>/processes/<type_>/instances/<int:index>")
    async def restart_app_instance(guid: str, type_: str, index: int) -> Response:
        return await _restart_instance(api, await of_app(api, guid, type_), index)


async def of_app(api: Api, guid: str, type_: str) -> str:
    """The guid of an app's process of a type: of two, during a deployment, the newest."""

    def look(acting: Acting) -> str:
        acting.see(App, guid)
        process = acting.tx.latest(Process, app_guid=guid, type=type_)
        if process is None:
            raise missing("Process")
        return process.guid

    return await api.read(look)


async def _restart_instance(api: Api, guid: str, index: int) -> Response:
    cc = api.cc
    found = [i for i in cc.actual.of(guid) if i.index == index]

    def work(acting: Acting) -> None:
        process = acting.change(Process, guid, rule=SUPPORTED)
        if not found:
            raise missing("Instance")
        app = acting.tx.need(App, process.app_guid)
        acting.audit(
            "audit.app.process.terminate_instance",
            app,
            {"process_guid": guid, "process_type": process.type, "process_index": index},
        )

    await api.write(work)
    changed = cc.actual.changed
    cc.kit.publish(Stop(droplet=guid, instances=[i.guid for i in found]))
    with trio.move_on_after(cc.config.hold):
        while any(i.guid in cc.actual.live for i in found):
            await changed.wait()
            changed = cc.actual.changed
    api.workers.runner.converge(guid)
    return Response("", status=204)


async def _scale(api: Api, guid: str, wanted: Scale) -> Response:
    for name, low in (("instances", 0), ("memory_in_mb", 1), ("disk_in_mb", 1)):
        value = getattr(wanted, name)
        if value is not None and not low <= value <= MOST:
            label = name.replace("_", " ").capitalize()
            raise unprocessable(f"{label} must be greater than {'or equal to ' * (low == 0)}0")

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
    values = _values(wanted) | relabelled(process, wanted)
    acting.tx.change(process, **values)
    acting.audit(
        "audit.app.process.update",
        acting.tx.need(App, process.app_guid),
        {"process_guid": guid, "process_type": process.type},
    )


def _values(wanted: ChangedProcess) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if wanted.command is not msgspec.UNSET:
        values["command"] = wanted.command
    if health := wanted.health_check:
        if health.type not in ("port", "process", "http"):
            raise unprocessable('Health check type must be "port", "process", or "http"')
        data = health.data or HealthData()
        values |= {
            "health_check_type": health.type,
            "health_check_timeout": data.timeout,
            "health_check_invocation_timeout": data.invocation_timeout,
            "health_check_interval": data.interval,
            "health_check_endpoint": data.endpoint or ("/" if health.type == "http" else None),
        }
    if ready := wanted.readiness_health_check:
        data = ready.data or HealthData()
        values |= {
            "readiness_type": ready.type,
            "readiness_invocation_timeout": data.invocation_timeout,
            "readiness_interval": data.interval,
            "readiness_endpoint": data.endpoint,
        }
    return values


async def _stats(api: Api, guid: str) -> list[dict[str, Any]]:
    cc = api.cc

    async def look() -> tuple[Process, bool, list[Instance]]:
        def work(acting: Acting) -> tuple[Process, bool]:
            process = acting.see(Process, guid)
            return process, desired(acting.tx, process).instances > 0

        process, runs = await api.read(work)
        return process, runs, cc.actual.seen(guid, process.instances, process.run_count)

    def settled(seen: tuple[Process, bool, list[Instance]]) -> bool:
        _, runs, instances = seen
        states = {instance.state for instance in instances}
        decided = any(instance.details for instance in instances)
        return not runs or not instances or "RUNNING" in states or states == {"CRASHED"} or decided

    process, _runs, instances = await api.held(look, settled, on="instances")
    figures = await _figures(api, guid, [i for i in instances if i.state == "RUNNING"])
    now = cc.kit.clock.time()
    return [
        present.instance_stats(instance, process, figures.get(instance.guid), now)
        for instance in instances
    ]


async def _figures(api: Api, guid: str, running: list[Instance]) -> dict[str, Any]:
    """What the DEAs measure, by instance guid; those that do not answer in time are absent."""
    wanted = {instance.guid for instance in running}
    figures: dict[str, Any] = {}
    if not wanted:
        return figures
    question = FindDroplet(droplet=guid, instances=sorted(wanted), include_stats=True)
    try:
        with trio.move_on_after(STATS_TIMEOUT):
            async with api.cc.kit.ask_all(question, FoundInstance) as answers:
                async for answer in answers:
                    if answer.body.stats is not None:
                        figures[answer.body.instance] = msgspec.to_builtins(answer.body.stats)
                    wanted.discard(answer.body.instance)
                    if not wanted:
                        break
    except BusClosed:
        api.cc.kit.trace.event("stats.missed", process=guid)
    return figures


async def _embed(api: Api, answer: Response) -> Response:
    """Add each process's instances to a list of processes."""
    page = msgspec.json.decode(await answer.get_data())
    now = api.cc.kit.clock.time()
    for item in page["resources"]:
        run = int(item["version"].rpartition("-")[2])
        item["process_instances"] = [
            {
                "index": instance.index,
                "state": instance.state,
                "since": max(0, int(now - instance.since)) if instance.since else 0,
            }
            for instance in api.cc.actual.seen(item["guid"], item["instances"], run)
        ]
    return api.json(page)
