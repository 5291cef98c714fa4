"""Packages, and the resource cache that spares uploads."""

from __future__ import annotations

from functools import partial

import msgspec
import trio
from quart import Response, request

from fake_controller import present
from fake_controller.acting import Acting
from fake_controller.bits import Resource
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.droplets import DROPLETS
from fake_controller.http.listing import Listing
from fake_controller.http.relations import Metadata, OfApp, new_labels
from fake_controller.model import App, Package
from fake_controller.store import Tx

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
        if wanted.type == "docker":
            raise unprocessable("Cannot create Docker package for a buildpack app.")
        if wanted.type != "bits":
            raise unprocessable("Type must be one of 'bits, docker'")
        if source := request.args.get("source_guid"):
            return await _copy(api, source, wanted)
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


async def _copy(api: Api, source_guid: str, wanted: NewPackage) -> Response:
    """A package of another app, for this one; it is READY at once, unless its file is large."""
    cc = api.cc

    def work(acting: Acting) -> Package:
        source = acting.see(Package, source_guid)
        if wanted.relationships.app.guid == source.app_guid:
            raise unprocessable("Source and destination app cannot be the same")
        if source.state != "READY":
            raise unprocessable("Source package has no bits to copy.")
        copy = _create(acting, wanted)
        return acting.tx.change(copy, state="COPYING", sha256=source.sha256, size=source.size)

    copy = await api.write(work)

    async def copy_bytes() -> None:
        try:
            await trio.to_thread.run_sync(cc.bits.copy_package, source_guid, copy.guid)
        except OSError as error:
            why = f"The package could not be copied: {error.strerror}."
            await cc.store.write(partial(_settle, guid=copy.guid, state="FAILED", error=why))
        else:
            await cc.store.write(partial(_settle, guid=copy.guid, state="READY", error=None))

    await cc.begin(copy_bytes)
    return await api.show(PACKAGES, copy.guid, 201)


def _settle(tx: Tx, *, guid: str, state: str, error: str | None) -> None:
    if package := tx.get(Package, guid):
        tx.change(package, state=state, error=error)
