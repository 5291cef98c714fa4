"""Apps: create, change, start, stop, delete; their environment."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Response

from fake_controller import deleting, present
from fake_controller.errors import deployment_in_progress, unprocessable
from fake_controller.http.api import Api, Listing
from fake_controller.http.droplets import DROPLETS
from fake_controller.http.relations import Metadata, ToOne, merged
from fake_controller.model import App, Deployment, Droplet, Process, Space
from fake_controller.processes import new_process, processes_for
from fake_controller.running import desired, vcap_application
from fake_controller.store import Tx

APPS = Listing(
    kind=App,
    filters={"names": "name", "guids": "guid", "space_guids": "space_guid", "states": "state"},
    present=lambda record, base, _: present.app(record, base),
)
RESERVED = ("VCAP_", "VMC_")


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


class Variables(msgspec.Struct):
    var: dict[str, str | None]


class CurrentDroplet(msgspec.Struct):
    data: dict[str, str]


def routes(api: Api) -> None:
    """``/v3/apps`` and what is below it."""
    cc, runner = api.cc, api.runner

    @api.get("/v3/apps")
    async def apps() -> Response:
        return await api.listed(APPS, ignore=("organization_guids", "stacks", "lifecycle_type"))

    @api.get("/v3/apps/<guid>")
    async def app(guid: str) -> Response:
        return await api.show(APPS, guid)

    @api.post("/v3/apps")
    async def create() -> Response:
        api.writer()
        wanted = await api.body(NewApp)
        check_variables(wanted.environment_variables or {})
        lifecycle = wanted.lifecycle or Lifecycle()
        if lifecycle.type != "buildpack":
            raise unprocessable(f"Feature Disabled: diego_{lifecycle.type}")
        space = wanted.relationships.space.guid

        def work(tx: Tx) -> App:
            if tx.get(Space, space) is None:
                raise unprocessable(
                    "Invalid space. Ensure that the space exists and you have access to it."
                )
            check_name(tx, wanted.name, space)
            metadata = wanted.metadata or Metadata()
            created = tx.new(
                App,
                name=wanted.name,
                space_guid=space,
                buildpacks=tuple(lifecycle.data.buildpacks or ()),
                stack=lifecycle.data.stack or "appliance",
                environment=wanted.environment_variables or {},
                labels=merged({}, metadata.labels),
                annotations=merged({}, metadata.annotations),
            )
            new_process(tx, created, "web", cc.config)
            return created

        created = await cc.store.write(work)
        # The line is also what log clients wait for before they follow a source.
        cc.log(created.guid, f"Created app with guid {created.guid}")
        return await api.show(APPS, created.guid, 201)

    @api.patch("/v3/apps/<guid>")
    async def change(guid: str) -> Response:
        api.writer()
        wanted = await api.body(ChangedApp)

        def work(tx: Tx) -> None:
            app = tx.need(App, guid)
            values: dict[str, Any] = {}
            if wanted.name is not None and wanted.name != app.name:
                check_name(tx, wanted.name, app.space_guid)
                values["name"] = wanted.name
            if wanted.lifecycle is not None:
                data = wanted.lifecycle.data
                values["buildpacks"] = tuple(data.buildpacks or ())
                values["stack"] = data.stack or app.stack
            if wanted.metadata is not None:
                values["labels"] = merged(app.labels, wanted.metadata.labels)
                values["annotations"] = merged(app.annotations, wanted.metadata.annotations)
            tx.change(app, **values)

        await cc.store.write(work)
        cc.log(guid, f"Updated app with guid {guid}")
        return await api.show(APPS, guid)

    @api.delete("/v3/apps/<guid>")
    async def delete(guid: str) -> Response:
        api.writer()
        await cc.store.get(App, guid)
        cc.log(guid, f"Delete app with guid {guid}")
        return api.accepted(
            await cc.start_job("app.delete", lambda: deleting.delete_app(cc, runner, guid))
        )

    @api.post("/v3/apps/<guid>/actions/start")
    async def start(guid: str) -> Response:
        return await _set_state(api, guid, "STARTED", restart=False)

    @api.post("/v3/apps/<guid>/actions/restart")
    async def restart(guid: str) -> Response:
        return await _set_state(api, guid, "STARTED", restart=True)

    @api.post("/v3/apps/<guid>/actions/stop")
    async def stop(guid: str) -> Response:
        return await _set_state(api, guid, "STOPPED", restart=False)

    @api.get("/v3/apps/<guid>/droplets/current")
    async def current(guid: str) -> Response:
        api.identity()
        app = await cc.store.get(App, guid)
        return await api.show(DROPLETS, app.droplet_guid or "")

    @api.get("/v3/apps/<guid>/relationships/current_droplet")
    async def current_relationship(guid: str) -> Response:
        api.identity()
        app = await cc.store.get(App, guid)
        related = f"{api.base}/v3/apps/{guid}"
        links = {
            "self": {"href": f"{related}/relationships/current_droplet"},
            "related": {"href": f"{related}/droplets/current"},
        }
        return api.json(present.to_one(app.droplet_guid) | {"links": links})

    @api.patch("/v3/apps/<guid>/relationships/current_droplet")
    async def set_current(guid: str) -> Response:
        api.writer()
        wanted = await api.body(CurrentDroplet)

        def work(tx: Tx) -> Droplet:
            app = tx.need(App, guid)
            if tx.first(Deployment, app_guid=guid, status_value="ACTIVE"):
                raise unprocessable("Cannot set current droplet while a deployment is active.")
            droplet = tx.get(Droplet, wanted.data.get("guid"))
            if droplet is None or droplet.app_guid != guid or droplet.state != "STAGED":
                raise unprocessable(
                    "Unable to assign current droplet. Ensure the droplet exists and belongs to "
                    "this app."
                )
            processes_for(tx, tx.change(app, droplet_guid=droplet.guid), droplet, cc.config)
            return droplet

        droplet = await cc.store.write(work)
        related = f"{api.base}/v3/apps/{guid}"
        links = {
            "self": {"href": f"{related}/relationships/current_droplet"},
            "related": {"href": f"{related}/droplets/current"},
        }
        return api.json(present.to_one(droplet.guid) | {"links": links})

    @api.get("/v3/apps/<guid>/environment_variables")
    async def variables(guid: str) -> Response:
        api.identity()
        app = await cc.store.get(App, guid)
        return api.json({"var": app.environment, "links": {}})

    @api.patch("/v3/apps/<guid>/environment_variables")
    async def set_variables(guid: str) -> Response:
        api.writer()
        wanted = await api.body(Variables)
        check_variables(wanted.var)
        app = await cc.store.write(
            lambda tx: tx.change(
                (app := tx.need(App, guid)), environment=merged(app.environment, wanted.var)
            )
        )
        return api.json({"var": app.environment, "links": {}})

    @api.get("/v3/apps/<guid>/env")
    async def env(guid: str) -> Response:
        api.identity()

        def look(tx: Tx) -> tuple[App, dict[str, Any]]:
            app = tx.need(App, guid)
            web = tx.first(Process, app_guid=guid, type="web")
            return app, vcap_application(desired(tx, web), cc) if web else {}

        app, application = await cc.store.read(look)
        return api.json(
            {
                "staging_env_json": {},
                "running_env_json": {},
                "environment_variables": app.environment,
                "system_env_json": {"VCAP_SERVICES": {}},
                "application_env_json": {"VCAP_APPLICATION": application},
            }
        )


async def _set_state(api: Api, guid: str, state: str, *, restart: bool) -> Response:
    api.writer()
    cc = api.cc

    def work(tx: Tx) -> list[str]:
        app = tx.need(App, guid)
        deploying = tx.first(Deployment, app_guid=guid, status_value="ACTIVE")
        if state == "STOPPED" and deploying:
            raise deployment_in_progress("stop")
        droplet = tx.get(Droplet, app.droplet_guid)
        if state == "STARTED" and droplet is None:
            raise unprocessable("Assign a droplet before starting this app.")
        again = state == "STARTED" and (restart or app.state != "STARTED")
        app = tx.change(app, state=state)
        processes = processes_for(tx, app, droplet, cc.config)
        if again:
            for process in processes:
                tx.change(process, run_count=process.run_count + 1)
        return [process.guid for process in processes]

    processes = await cc.store.write(work)
    verb = "Stopping" if state == "STOPPED" else "Restarting" if restart else "Starting"
    cc.log(guid, f"{verb} app with guid {guid}")
    for process in processes:
        api.runner.converge(process)
    return await api.show(APPS, guid)


def check_name(tx: Tx, name: str, space: str) -> None:
    """App names are unique in their space, and not blank."""
    if not name.strip():
        raise unprocessable("Name must not be blank")
    if tx.first(App, space_guid=space, name=name):
        raise unprocessable(f"App with the name '{name}' already exists.")


def check_variables(variables: dict[str, Any]) -> None:
    """The platform's own names cannot be set."""
    for name in variables:
        if name.startswith(RESERVED):
            raise unprocessable(f"Environment variables cannot start with {name.split('_', 1)[0]}_")
        if name == "PORT":
            raise unprocessable("Environment variables cannot set PORT")
