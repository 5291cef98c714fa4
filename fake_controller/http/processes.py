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
from fake_controller.actual import Instance
from fake_controller.errors import deployment_in_progress, missing, unprocessable
from fake_controller.http.api import Api, Listing
from fake_controller.http.relations import Metadata
from fake_controller.model import App, Deployment, Droplet, Process
from fake_controller.running import desired
from fake_controller.store import Tx

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
    filters={"guids": "guid", "app_guids": "app_guid", "types": "type"},
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
    cc, runner = api.cc, api.runner

    async def of_app(guid: str, type_: str) -> Process:
        def look(tx: Tx) -> Process:
            tx.need(App, guid)
            # Two web processes during a deployment: the newest is meant.
            found = tx.find(Process, app_guid=guid, type=type_, order_by="-created_at", limit=1)
            if not found:
                raise missing("Process")
            return found[0]

        return await cc.store.read(look)

    @api.get("/v3/processes")
    async def processes() -> Response:
        if space := request.args.get("space_guids"):
            apps = await cc.store.find(App, space_guid=space.split(","))
            guids = [app.guid for app in apps]
            answer = await api.listed(
                PROCESSES, ignore=("space_guids", "embed", "organization_guids"), app_guid=guids
            )
        else:
            answer = await api.listed(PROCESSES, ignore=("embed", "organization_guids"))
        if request.args.get("embed") == "process_instances":
            return await _embed(api, answer)
        return answer

    @api.get("/v3/apps/<guid>/processes")
    async def app_processes(guid: str) -> Response:
        await cc.store.get(App, guid)
        return await api.listed(PROCESSES, app_guid=guid)

    @api.get("/v3/processes/<guid>")
    async def process(guid: str) -> Response:
        return await api.show(ONE, guid)

    @api.get("/v3/apps/<guid>/processes/<type_>")
    async def app_process(guid: str, type_: str) -> Response:
        return await api.show(ONE, (await of_app(guid, type_)).guid)

    @api.get("/v3/processes/<guid>/stats")
    async def stats(guid: str) -> Response:
        api.identity()
        return api.json({"resources": await _stats(api, guid)})

    @api.get("/v3/apps/<guid>/processes/<type_>/stats")
    async def app_stats(guid: str, type_: str) -> Response:
        api.identity()
        return api.json({"resources": await _stats(api, (await of_app(guid, type_)).guid)})

    @api.get("/v3/processes/<guid>/sidecars")
    async def sidecars(guid: str) -> Response:
        api.identity()
        await cc.store.get(Process, guid)
        return api.json(api.page([], 0))

    @api.post("/v3/processes/<guid>/actions/scale")
    async def scale(guid: str) -> Response:
        return await _scale(api, await cc.store.get(Process, guid))

    @api.post("/v3/apps/<guid>/processes/<type_>/actions/scale")
    async def app_scale(guid: str, type_: str) -> Response:
        return await _scale(api, await of_app(guid, type_))

    @api.patch("/v3/processes/<guid>")
    async def change(guid: str) -> Response:
        api.writer()
        wanted = await api.body(ChangedProcess)
        values = _values(wanted)
        await cc.store.write(lambda tx: tx.change(tx.need(Process, guid), **values))
        return await api.show(ONE, guid)

    @api.delete("/v3/apps/<guid>/processes/<type_>/instances/<int:index>")
    async def restart_instance(guid: str, type_: str, index: int) -> Response:
        api.writer()
        process = await of_app(guid, type_)
        found = [i for i in cc.actual.of(process.guid) if i.index == index]
        if not found:
            raise missing("Instance")
        changed = cc.actual.changed
        cc.kit.publish(Stop(droplet=process.guid, instances=[i.guid for i in found]))
        with trio.move_on_after(cc.config.hold):
            while any(i.guid in cc.actual.live for i in found):
                await changed.wait()
                changed = cc.actual.changed
        runner.converge(process.guid)
        return Response("", status=204)


async def _scale(api: Api, process: Process) -> Response:
    api.writer()
    wanted = await api.body(Scale)
    for name, low in (("instances", 0), ("memory_in_mb", 1), ("disk_in_mb", 1)):
        value = getattr(wanted, name)
        if value is not None and value < low:
            label = name.replace("_", " ").capitalize()
            raise unprocessable(f"{label} must be greater than {'or equal to ' * (low == 0)}0")

    def work(tx: Tx) -> None:
        record = tx.need(Process, process.guid)
        deploying = tx.first(Deployment, app_guid=record.app_guid, status_value="ACTIVE")
        if record.type == "web" and deploying:
            raise deployment_in_progress("scale")
        values = {
            "instances": wanted.instances,
            "memory_in_mb": wanted.memory_in_mb,
            "disk_in_mb": wanted.disk_in_mb,
            "log_rate": wanted.log_rate_limit_in_bytes_per_second,
        }
        tx.change(record, **{k: v for k, v in values.items() if v is not None})

    await api.cc.store.write(work)
    api.cc.log(process.app_guid, f"Updated app with guid {process.app_guid}")
    api.runner.converge(process.guid)
    return await api.show(ONE, process.guid, 202)


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
        def work(tx: Tx) -> tuple[Process, bool]:
            process = tx.need(Process, guid)
            return process, desired(tx, process).instances > 0

        process, runs = await cc.store.read(work)
        return process, runs, cc.actual.seen(guid, process.instances)

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
        item["process_instances"] = [
            {
                "index": instance.index,
                "state": instance.state,
                "since": max(0, int(now - instance.since)) if instance.since else 0,
            }
            for instance in api.cc.actual.seen(item["guid"], item["instances"])
        ]
    return api.json(page)
