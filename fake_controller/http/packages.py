"""Packages, and the resource cache that spares uploads."""

from __future__ import annotations

import msgspec
import trio
from quart import Response

from fake_controller import present
from fake_controller.acting import Acting
from fake_controller.bits import Resource
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.droplets import DROPLETS
from fake_controller.http.listing import Listing
from fake_controller.http.relations import Metadata, OfApp, new_labels
from fake_controller.model import App, Package

PACKAGES = Listing(
    kind=Package,
    filters={
        "guids": "guid",
        "app_guids": "app_guid",
        "space_guids": "app.space_guid",
        "organization_guids": "app.space.organization_guid",
        "states": "state",
        "types": "type",
    },
    present=lambda record, base, _: present.package(record, base),
)


class NewPackage(msgspec.Struct):
    relationships: OfApp
    type: str = "bits"
    metadata: Metadata | None = None


class Matches(msgspec.Struct):
    resources: list[Resource]


def routes(api: Api) -> None:
    """``/v3/packages`` without its bytes, and ``/v3/resource_matches``."""
    cc = api.cc
    api.lists("/v3/packages", PACKAGES)
    api.shows("/v3/packages/<guid>", PACKAGES)
    api.labels("/v3/packages/<guid>", PACKAGES)
    api.lists("/v3/apps/<guid>/packages", PACKAGES, below=App, by="app_guid")
    api.lists("/v3/packages/<guid>/droplets", DROPLETS, below=Package, by="package_guid")

    @api.post("/v3/packages", body=NewPackage)
    async def create(wanted: NewPackage) -> Response:
        if wanted.type != "bits":
            raise unprocessable("Cannot create Docker package for a buildpack app.")
        created = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(PACKAGES, created.guid, 201)

    @api.delete("/v3/packages/<guid>")
    async def delete(guid: str) -> Response:
        await api.read(lambda acting: acting.change(Package, guid))

        async def work() -> None:
            await cc.store.write(lambda tx: tx.delete(tx.need(Package, guid)))
            await trio.to_thread.run_sync(cc.bits.packages.delete, guid)

        return api.accepted(await cc.start_job("package.delete", work))

    @api.post("/v3/resource_matches", body=Matches)
    async def matches(wanted: Matches) -> Response:
        def asks(acting: Acting) -> bool:
            acting.need_enabled("app_bits_upload")
            return acting.enabled("resource_matching")

        if not await api.read(asks):
            return api.json({"resources": []}, 201)
        # What would come back without a mode ends the push of some clients.
        known = await trio.to_thread.run_sync(cc.bits.known, wanted.resources)
        return api.json({"resources": msgspec.to_builtins([r for r in known if r.mode])}, 201)


def _create(acting: Acting, wanted: NewPackage) -> Package:
    app = acting.sees(App, wanted.relationships.app.guid)
    if app is None:
        raise unprocessable("App is invalid. Ensure it exists and you have access to it.")
    acting.change(App, app.guid)
    package = acting.tx.new(Package, app_guid=app.guid, **new_labels(wanted))
    acting.audit("audit.app.package.create", app, {"package_guid": package.guid})
    return package
