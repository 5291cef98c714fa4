"""Apps: create, change, start, stop, delete."""

from __future__ import annotations

from typing import Literal

import msgspec
from quart import Response

from appliance.config import ControllerConfig
from fake_controller import deleting, present
from fake_controller.access import SUPPORTERS, changed_in_space, secrets_in_space
from fake_controller.acting import Acting
from fake_controller.apps import check_name, create_app
from fake_controller.buildpacks import check_lifecycle
from fake_controller.consumption import check_process
from fake_controller.errors import deployment_in_progress, missing, unprocessable
from fake_controller.events import Actor
from fake_controller.http.api import Api
from fake_controller.http.droplets import DROPLETS
from fake_controller.http.environment import check_variables
from fake_controller.http.listing import Listing
from fake_controller.http.organizations import ORGANIZATIONS
from fake_controller.http.relations import (
    Metadata,
    ToOne,
    ToOneOrNone,
    new_labels,
    plain,
    relabelled,
)
from fake_controller.http.spaces import SPACES
from fake_controller.model import App, Deployment, Droplet, Space
from fake_controller.processes import processes_for
from fake_controller.revisions import revise
from fake_controller.sidecars import adopt_sidecars

APPS = Listing(
    kind=App,
    filters={
        "names": "name",
        "guids": "guid",
        "space_guids": "space_guid",
        "organization_guids": "space.organization_guid",
        "states": "state",
        "stacks": "stack",
        "lifecycle_type": "lifecycle",
    },
    includes={"space": SPACES, "space.organization": ORGANIZATIONS},
    orders=("name", "state"),
    present=lambda record, base, _: present.app(record, base),
)


class OfSpace(msgspec.Struct):
    space: ToOne


class LifecycleData(msgspec.Struct):
    buildpacks: list[str] | None = None
    stack: str | None = None


class Lifecycle(msgspec.Struct):
    type: str = "buildpack"
    data: LifecycleData = msgspec.field(default_factory=LifecycleData)


class NewApp(msgspec.Struct):
    name: str
    relationships: OfSpace
    environment_variables: dict[str, str] | None = None
    lifecycle: Lifecycle | None = None
    metadata: Metadata | None = None


class ChangedApp(msgspec.Struct):
    name: str | None = None
    lifecycle: Lifecycle | None = None
    metadata: Metadata | None = None


def routes(api: Api) -> None:
    """``/v3/apps`` and what is directly below it."""
    cc, runner = api.cc, api.workers.runner
    api.lists("/v3/apps", APPS)
    api.shows("/v3/apps/<guid>", APPS)

    @api.post("/v3/apps", body=NewApp)
    async def create(wanted: NewApp) -> Response:
        created = await api.write(lambda acting: _create(acting, wanted, cc.config))
        # The line is also what log clients wait for before they follow a source.
        cc.log(created.guid, f"Created app with guid {created.guid}")
        return await api.show(APPS, created.guid, 201)

    @api.patch("/v3/apps/<guid>", body=ChangedApp)
    async def change(guid: str, wanted: ChangedApp) -> Response:
        await api.write(lambda acting: _change(acting, guid, wanted))
        cc.log(guid, f"Updated app with guid {guid}")
        return await api.show(APPS, guid)

    @api.delete("/v3/apps/<guid>")
    async def delete(guid: str) -> Response:
        def work(acting: Acting) -> Actor:
            acting.audit("audit.app.delete-request", acting.change(App, guid))
            return acting.actor

        actor = await api.write(work)
        cc.log(guid, f"Delete app with guid {guid}")
        return api.accepted(
            await cc.start_job("app.delete", lambda: deleting.delete_app(cc, runner, guid, actor))
        )

    @api.post("/v3/apps/<guid>/actions/start")
    async def start(guid: str) -> Response:
        return await _set_state(api, guid, "start")

    @api.post("/v3/apps/<guid>/actions/restart")
    async def restart(guid: str) -> Response:
        return await _set_state(api, guid, "restart")

    @api.post("/v3/apps/<guid>/actions/stop")
    async def stop(guid: str) -> Response:
        return await _set_state(api, guid, "stop")

    @api.get("/v3/apps/<guid>/permissions")
    async def permissions(guid: str) -> Response:
        def look(acting: Acting) -> bool:
            acting.see(App, guid)
            readable = secrets_in_space("space_guid")(acting.access)
            return acting.tx.first(App, readable, guid=guid) is not None

        sensitive = await api.read(look)
        return api.json({"read_basic_data": True, "read_sensitive_data": sensitive})

    @api.get("/v3/apps/<guid>/droplets/current")
    async def current(guid: str) -> Response:
        app = await api.read(lambda acting: acting.see(App, guid))
        return await api.show(DROPLETS, app.droplet_guid)

    @api.get("/v3/apps/<guid>/relationships/current_droplet")
    async def current_relationship(guid: str) -> Response:
        app = await api.read(lambda acting: acting.see(App, guid))
        if app.droplet_guid is None:
            raise missing("Droplet")
        return api.json(present.current_droplet(app, api.base))

    @api.patch("/v3/apps/<guid>/relationships/current_droplet", body=ToOneOrNone)
    async def set_current(guid: str, wanted: ToOneOrNone) -> Response:
        app = await api.write(lambda acting: _set_droplet(acting, guid, wanted.guid, cc.config))
        return api.json(present.current_droplet(app, api.base))


def _create(acting: Acting, wanted: NewApp, config: ControllerConfig) -> App:
    lifecycle = wanted.lifecycle or Lifecycle()
    if lifecycle.type in ("docker", "cnb"):
        acting.need_enabled(f"diego_{lifecycle.type}")  # and it never is, see `flags`
    if lifecycle.type != "buildpack":
        raise unprocessable(f"Lifecycle type '{lifecycle.type}' is not included in the list")
    check_variables(wanted.environment_variables or {})
    space = acting.into(Space, wanted.relationships.space.guid, rule=changed_in_space("guid"))
    return create_app(
        acting,
        space,
        config,
        name=wanted.name,
        buildpacks=tuple(lifecycle.data.buildpacks or ()),
        stack=lifecycle.data.stack,
        environment=wanted.environment_variables,
        labels=new_labels(wanted),
    )


def _change(acting: Acting, guid: str, wanted: ChangedApp) -> None:
    app = acting.change(App, guid)
    values = relabelled(app, wanted)
    if wanted.name is not None and wanted.name != app.name:
        check_name(acting.tx, wanted.name, app.space_guid)
        values["name"] = wanted.name
    if wanted.lifecycle is not None:
        data = wanted.lifecycle.data
        values["buildpacks"] = tuple(data.buildpacks or ())
        values["stack"] = data.stack or app.stack
        check_lifecycle(acting.tx, values["buildpacks"], values["stack"])
    acting.audit("audit.app.update", acting.tx.change(app, **values), {"request": plain(wanted)})


def _set_droplet(
    acting: Acting, guid: str, droplet_guid: str | None, config: ControllerConfig
) -> App:
    if droplet_guid is None:
        raise unprocessable(
            "Current droplet cannot be removed. Replace it with a preferred droplet."
        )
    tx, app = acting.tx, acting.change(App, guid)
    if tx.first(Deployment, app_guid=guid, status_value="ACTIVE"):
        raise unprocessable(
            "Unable to assign current droplet while the app has a deployment in progress. Wait for "
            "the deployment to complete or cancel it."
        )
    droplet = tx.get(Droplet, droplet_guid)
    if droplet is None or droplet.app_guid != guid or droplet.state != "STAGED":
        raise unprocessable(
            "Unable to assign current droplet. Ensure the droplet exists and belongs to this app."
        )
    app = tx.change(app, droplet_guid=droplet.guid)
    processes_for(tx, app, droplet, config, acting.actor)
    adopt_sidecars(tx, app, droplet)
    acting.audit("audit.app.droplet.mapped", app, {"request": {"droplet_guid": droplet.guid}})
    return app


async def _set_state(api: Api, guid: str, action: Literal["start", "stop", "restart"]) -> Response:
    cc = api.cc

    def work(acting: Acting) -> list[str]:
        tx = acting.tx
        app = acting.change(App, guid, rule=changed_in_space("space_guid", SUPPORTERS))
        state = "STOPPED" if action == "stop" else "STARTED"
        deploying = tx.first(Deployment, app_guid=guid, status_value="ACTIVE")
        if state == "STOPPED" and deploying:
            raise deployment_in_progress("stop")
        droplet = tx.get(Droplet, app.droplet_guid)
        if state == "STARTED" and droplet is None:
            raise unprocessable("Assign a droplet before starting this app.")
        again = state == "STARTED" and (action == "restart" or app.state != "STARTED")
        app = tx.change(app, state=state)
        processes = processes_for(tx, app, droplet, cc.config, acting.actor)
        if again:
            revision = revise(tx, app, droplet)
            for process in processes:
                tx.change(
                    process,
                    run_count=process.run_count + 1,
                    revision_guid=revision.guid if revision else None,
                )
            for process in processes:
                check_process(tx, process)
        acting.audit(f"audit.app.{action}", app)
        return [process.guid for process in processes]

    processes = await api.write(work)
    verb = {"stop": "Stopping", "restart": "Restarted", "start": "Starting"}[action]
    cc.log(guid, f"{verb} app with guid {guid}")
    for process in processes:
        api.workers.runner.converge(process)
    return await api.show(APPS, guid)
