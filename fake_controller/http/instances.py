"""What the instances of processes do, and how one of them is started anew."""

from __future__ import annotations

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
from fake_controller.errors import missing
from fake_controller.http.api import Api
from fake_controller.model import App, Process
from fake_controller.running import desired

SUPPORTED = changed_in_space("app.space_guid", SUPPORTERS)
STATS_TIMEOUT = 0.5  # seconds for all DEAs to tell their figures


def routes(api: Api) -> None:
    """Stats, instances, and the restart of one, below a process or below its app."""

    @api.get("/v3/processes/<guid>/stats")
    async def stats(guid: str) -> Response:
        return api.json({"resources": await _stats(api, guid)})

    @api.get("/v3/apps/<guid>/processes/<type_>/stats")
    async def app_stats(guid: str, type_: str) -> Response:
        return api.json({"resources": await _stats(api, await of_app(api, guid, type_))})

    @api.get("/v3/processes/<guid>/process_instances")
    async def instances(guid: str) -> Response:
        process = await api.read(lambda acting: acting.see(Process, guid))
        return api.json({"resources": _brief(api, guid, process.instances, process.run_count)})

    @api.delete("/v3/processes/<guid>/instances/<int:index>")
    async def restart(guid: str, index: int) -> Response:
        return await _restart(api, guid, index)

    @api.delete("/v3/apps/<guid>/processes/<type_>/instances/<int:index>")
    async def restart_of_app(guid: str, type_: str, index: int) -> Response:
        return await _restart(api, await of_app(api, guid, type_), index)


async def of_app(api: Api, guid: str, type_: str) -> str:
    """The guid of an app's process of a type: of two, during a deployment, the newest."""

    def look(acting: Acting) -> str:
        acting.see(App, guid)
        process = acting.tx.latest(Process, app_guid=guid, type=type_)
        if process is None:
            raise missing("Process")
        return process.guid

    return await api.read(look)


async def embedded(api: Api, answer: Response) -> Response:
    """*answer*, one process or a list, with the instances of each where the query wants them."""
    if request.args.get("embed") != "process_instances":
        return answer
    shown = msgspec.json.decode(await answer.get_data())
    for process in shown.get("resources", [shown]):
        run = int(process["version"].rpartition("-")[2])
        process["process_instances"] = _brief(api, process["guid"], process["instances"], run)
    return api.json(shown)


def _brief(api: Api, process: str, wanted: int, run: int) -> list[dict[str, Any]]:
    now = api.cc.kit.clock.time()
    return [
        {
            "index": instance.index,
            "state": instance.state,
            "since": max(0, int(now - instance.since)) if instance.since else 0,
        }
        for instance in api.cc.actual.seen(process, wanted, run)
    ]


async def _restart(api: Api, guid: str, index: int) -> Response:
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
