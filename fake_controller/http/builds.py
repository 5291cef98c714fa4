"""Builds, deployments and jobs: what clients wait for."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Response

from fake_controller import present, push
from fake_controller.errors import missing, staging_in_progress, unprocessable
from fake_controller.http.api import Api, Listing
from fake_controller.http.apps import Lifecycle
from fake_controller.http.relations import Guid, OfApp
from fake_controller.model import App, Build, Deployment, Job, Package
from fake_controller.store import Tx

BUILDS = Listing(
    kind=Build,
    filters={
        "guids": "guid",
        "app_guids": "app_guid",
        "package_guids": "package_guid",
        "states": "state",
    },
    present=lambda record, base, _: present.build(record, base),
)
DEPLOYMENTS = Listing(
    kind=Deployment,
    filters={
        "guids": "guid",
        "app_guids": "app_guid",
        "status_values": "status_value",
        "status_reasons": "status_reason",
    },
    present=lambda record, base, _: present.deployment(record, base),
)


class NewBuild(msgspec.Struct):
    package: Guid
    lifecycle: Lifecycle | None = None
    staging_memory_in_mb: int | None = None
    staging_disk_in_mb: int | None = None


class DeploymentOptions(msgspec.Struct):
    max_in_flight: int | None = None


class NewDeployment(msgspec.Struct):
    relationships: OfApp
    droplet: dict[str, str] | None = None
    strategy: str | None = None
    options: DeploymentOptions | None = None


def routes(api: Api) -> None:
    """``/v3/builds``, ``/v3/deployments``, ``/v3/jobs``."""
    cc, deployer = api.cc, api.deployer

    @api.get("/v3/builds")
    async def builds() -> Response:
        return await api.listed(BUILDS)

    @api.get("/v3/apps/<guid>/builds")
    async def app_builds(guid: str) -> Response:
        await cc.store.get(App, guid)
        return await api.listed(BUILDS, app_guid=guid)

    @api.post("/v3/builds")
    async def create() -> Response:
        identity = api.writer()
        wanted = await api.body(NewBuild)

        def work(tx: Tx) -> tuple[Build, App]:
            package = tx.get(Package, wanted.package.guid)
            if package is None:
                raise unprocessable(
                    "Unable to use package. Ensure that the package exists and you have access "
                    "to it."
                )
            if package.state != "READY":
                raise unprocessable("Bad request: Cannot stage package whose state is not ready.")
            app = tx.need(App, package.app_guid)
            if tx.first(Build, app_guid=app.guid, state="STAGING"):
                raise staging_in_progress()
            own = wanted.lifecycle.data if wanted.lifecycle else None
            build = tx.new(
                Build,
                app_guid=app.guid,
                package_guid=package.guid,
                buildpacks=tuple((own.buildpacks if own else None) or app.buildpacks),
                stack=(own.stack if own else None) or app.stack,
                memory_in_mb=wanted.staging_memory_in_mb or 1024,
                disk_in_mb=wanted.staging_disk_in_mb or 1024,
                created_by={"guid": identity.guid, "name": identity.name, "email": identity.name},
            )
            return build, app

        build, app = await cc.store.write(work)
        cc.work.start_soon(push.stage, cc, build, app)
        return await api.show(BUILDS, build.guid, 201)

    @api.get("/v3/builds/<guid>")
    async def build(guid: str) -> Response:
        api.identity()

        async def look() -> Build:
            return await cc.store.get(Build, guid)

        def settled(record: Build) -> bool:
            return record.state != "STAGING"

        record: Build = await api.held(look, settled, on="work")
        return api.json(present.build(record, api.base))

    @api.get("/v3/deployments")
    async def deployments() -> Response:
        return await api.listed(DEPLOYMENTS)

    @api.post("/v3/deployments")
    async def deploy() -> Response:
        api.writer()
        wanted = await api.body(NewDeployment)
        app_guid = wanted.relationships.app.guid
        if await cc.store.read(lambda tx: tx.get(App, app_guid)) is None:
            raise missing("App")
        if wanted.strategy not in (None, "rolling"):
            raise unprocessable("Strategy 'rolling' is the one supported here")
        in_flight = (wanted.options.max_in_flight if wanted.options else None) or 1
        if in_flight < 1:
            raise unprocessable("Max in flight must be greater than 0")
        droplet = (wanted.droplet or {}).get("guid")
        deployment = await deployer.create(app_guid, droplet, in_flight)
        return await api.show(DEPLOYMENTS, deployment.guid, 201)

    @api.get("/v3/deployments/<guid>")
    async def deployment(guid: str) -> Response:
        api.identity()

        async def look() -> Deployment:
            return await cc.store.get(Deployment, guid)

        def settled(record: Deployment) -> bool:
            # A crash of the new version is news, too: the client decides what to do.
            crashed = any(p == record.new_process_guid for p, _ in cc.actual.crashed)
            return record.status_value == "FINALIZED" or crashed

        record: Deployment = await api.held(look, settled, on="work")
        return api.json(present.deployment(record, api.base))

    @api.post("/v3/deployments/<guid>/actions/cancel")
    async def cancel(guid: str) -> Response:
        api.writer()
        await deployer.cancel(guid)
        return api.json({})

    @api.get("/v3/jobs/<guid>")
    async def job(guid: str) -> Response:
        api.identity()

        async def look() -> Job:
            return await cc.store.get(Job, guid)

        def settled(record: Job) -> bool:
            return record.state in ("COMPLETE", "FAILED")

        record: Any = await api.held(look, settled, on="work")
        return api.json(present.job(record, api.base))
