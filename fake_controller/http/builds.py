"""Builds: attempts to turn a package into a droplet."""

from __future__ import annotations

import msgspec
from quart import Response

from fake_controller import present, push
from fake_controller.acting import Acting
from fake_controller.buildpacks import check_can_build
from fake_controller.errors import bad_request, staging_in_progress, unprocessable
from fake_controller.http.api import Api
from fake_controller.http.apps import Lifecycle
from fake_controller.http.listing import Listing
from fake_controller.http.relations import Guid, Metadata, new_labels
from fake_controller.model import App, Build, Package

STAGING_MB = 1024  # memory and disk of a build whose request names none

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


class NewBuild(msgspec.Struct):
    package: Guid
    lifecycle: Lifecycle | None = None
    staging_memory_in_mb: int | None = None
    staging_disk_in_mb: int | None = None
    metadata: Metadata | None = None


def routes(api: Api) -> None:
    """``/v3/builds``."""
    cc = api.cc
    api.lists("/v3/builds", BUILDS)
    api.labels("/v3/builds/<guid>", BUILDS)
    api.lists("/v3/apps/<guid>/builds", BUILDS, below=App, by="app_guid")

    @api.post("/v3/builds", body=NewBuild)
    async def create(wanted: NewBuild) -> Response:
        build, app = await api.write(lambda acting: _create(acting, wanted))
        cc.work.start_soon(push.stage, cc, build, app)
        return await api.show(BUILDS, build.guid, 201)

    @api.get("/v3/builds/<guid>")
    async def build(guid: str) -> Response:
        async def look() -> Build:
            return await api.read(lambda acting: acting.see(Build, guid))

        def settled(record: Build) -> bool:
            return record.state != "STAGING"

        return api.json(present.build(await api.held(look, settled, on="work"), api.base))


def _create(acting: Acting, wanted: NewBuild) -> tuple[Build, App]:
    tx, identity = acting.tx, acting.identity
    package = acting.sees(Package, wanted.package.guid)
    if package is None:
        raise unprocessable(
            "Unable to use package. Ensure that the package exists and you have access to it."
        )
    app = acting.change(App, package.app_guid)
    if package.state != "READY":
        raise bad_request("Cannot stage package whose state is not ready.")
    if tx.first(Build, app_guid=app.guid, state="STAGING"):
        raise staging_in_progress()
    own = wanted.lifecycle.data if wanted.lifecycle else None
    buildpacks = tuple((own.buildpacks if own else None) or app.buildpacks)
    stack = (own.stack if own else None) or app.stack
    first = tx.first(Build, app_guid=app.guid) is None
    check_can_build(tx, buildpacks, stack, first=first)
    build = tx.new(
        Build,
        app_guid=app.guid,
        package_guid=package.guid,
        buildpacks=buildpacks,
        stack=stack,
        memory_in_mb=wanted.staging_memory_in_mb or STAGING_MB,
        disk_in_mb=wanted.staging_disk_in_mb or STAGING_MB,
        created_by={"guid": identity.guid, "name": identity.name, "email": identity.name},
        **new_labels(wanted),
    )
    acting.audit("audit.app.build.create", app, {"build_guid": build.guid})
    return build, app
