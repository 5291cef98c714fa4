"""Packages, and the resource cache that spares uploads."""

from __future__ import annotations

import msgspec
import trio
from quart import Response

from fake_controller import present
from fake_controller.bits import Resource
from fake_controller.errors import (
    unprocessable,
)
from fake_controller.http.api import Api, Listing
from fake_controller.http.droplets import DROPLETS
from fake_controller.http.relations import OfApp
from fake_controller.model import App, Package
from fake_controller.store import Tx

PACKAGES = Listing(
    kind=Package,
    filters={"guids": "guid", "app_guids": "app_guid", "states": "state", "types": "type"},
    present=lambda record, base, _: present.package(record, base),
)


class NewPackage(msgspec.Struct):
    relationships: OfApp
    type: str = "bits"


class Matches(msgspec.Struct):
    resources: list[Resource]


def routes(api: Api) -> None:
    """``/v3/packages`` without its bytes, and ``/v3/resource_matches``."""
    cc = api.cc

    @api.get("/v3/packages")
    async def packages() -> Response:
        return await api.listed(PACKAGES, ignore=("space_guids", "organization_guids"))

    @api.get("/v3/packages/<guid>")
    async def package(guid: str) -> Response:
        return await api.show(PACKAGES, guid)

    @api.get("/v3/apps/<guid>/packages")
    async def app_packages(guid: str) -> Response:
        await cc.store.get(App, guid)
        return await api.listed(PACKAGES, app_guid=guid)

    @api.get("/v3/packages/<guid>/droplets")
    async def package_droplets(guid: str) -> Response:
        await cc.store.get(Package, guid)
        return await api.listed(DROPLETS, package_guid=guid)

    @api.post("/v3/packages")
    async def create() -> Response:
        api.writer()
        wanted = await api.body(NewPackage)
        if wanted.type != "bits":
            raise unprocessable("Cannot create Docker package for a buildpack app.")
        app_guid = wanted.relationships.app.guid

        def work(tx: Tx) -> Package:
            if tx.get(App, app_guid) is None:
                raise unprocessable("App is invalid. Ensure it exists and you have access to it.")
            return tx.new(Package, app_guid=app_guid)

        created = await cc.store.write(work)
        return await api.show(PACKAGES, created.guid, 201)

    @api.delete("/v3/packages/<guid>")
    async def delete(guid: str) -> Response:
        api.writer()

        async def work() -> None:
            await cc.store.write(lambda tx: tx.delete(tx.need(Package, guid)))
            await trio.to_thread.run_sync(cc.bits.packages.delete, guid)

        await cc.store.get(Package, guid)
        return api.accepted(await cc.start_job("package.delete", work))

    @api.post("/v3/resource_matches")
    async def matches() -> Response:
        api.writer()
        wanted = await api.body(Matches)
        # What would come back without a mode ends the push of some clients.
        known = await trio.to_thread.run_sync(cc.bits.known, wanted.resources)
        return api.json({"resources": msgspec.to_builtins([r for r in known if r.mode])}, 201)
