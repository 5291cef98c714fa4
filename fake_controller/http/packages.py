"""Packages, and the resource cache that spares uploads."""

from __future__ import annotations

import msgspec
import trio
from quart import Response

from appliance.kernel.errors import ApplianceError
from appliance.kernel.http.blob_plane import Blob, Exchange
from fake_controller import present
from fake_controller.bits import Resource
from fake_controller.errors import (
    bits_already_uploaded,
    draining,
    not_authorized,
    unparsable,
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


def blobs(api: Api) -> list[Blob]:
    """The bytes of packages: they never pass through the web framework."""
    cc = api.cc

    async def upload(exchange: Exchange) -> None:
        if not cc.tokens.identity(exchange.headers.get("authorization", "")).admin:
            raise not_authorized()
        if cc.kit.draining.is_set():
            raise draining()
        guid = exchange.params["guid"]

        def claim(tx: Tx) -> Package:
            package = tx.need(Package, guid)
            if package.state != "AWAITING_UPLOAD":
                raise bits_already_uploaded()
            return tx.change(package, state="PROCESSING_UPLOAD")

        package = await cc.store.write(claim)
        try:
            await _receive(api, exchange, package)
        except BaseException as error:
            # Whatever ended the upload, the client may repeat it.
            with trio.CancelScope(shield=True):
                why = str(error) if isinstance(error, ApplianceError) else None
                await cc.store.write(
                    lambda tx: tx.change(tx.need(Package, guid), state="AWAITING_UPLOAD", error=why)
                )
            raise
        record = await cc.store.get(Package, guid)
        base = cc.config.external_url or exchange.url
        await exchange.reply(200, present.package(record, base))

    async def download(exchange: Exchange) -> None:
        cc.tokens.identity(exchange.headers.get("authorization", ""))
        guid = exchange.params["guid"]
        package = await cc.store.get(Package, guid)
        if package.state != "READY":
            raise unprocessable("Package has no bits to download.")
        await exchange.send_file(
            cc.bits.packages.path(guid), content_type="application/zip", etag=package.sha256 or ""
        )

    return [
        Blob("POST", "/v3/packages/:guid/upload", upload),
        Blob("GET", "/v3/packages/:guid/download", download),
    ]


async def _receive(api: Api, exchange: Exchange, package: Package) -> None:
    cc = api.cc
    form = await exchange.receive_form(cc.bits.packages.spool, limit=cc.config.max_package)
    try:
        resources = _resources(form.fields.get("resources", b"[]"))
        bits = form.files.get("bits")
        if bits is None and "resources" not in form.fields:
            raise unprocessable("Upload must include either resources or bits")
        made = await trio.to_thread.run_sync(
            cc.bits.assemble, package.guid, resources, bits.path if bits else None
        )
    finally:
        for file in form.files.values():
            file.path.unlink(missing_ok=True)
    cc.kit.trace.event(
        "package.uploaded",
        package=package.guid,
        uploaded=bits.size if bits else 0,
        matched=len(resources),
        size=made.size,
    )
    await cc.store.write(
        lambda tx: tx.change(
            tx.need(Package, package.guid), state="READY", sha256=made.sha256, size=made.size,
            error=None,
        )
    )  # fmt: skip


def _resources(field: bytes) -> list[Resource]:
    try:
        return msgspec.json.decode(field or b"[]", type=list[Resource], strict=False)
    except msgspec.DecodeError as error:
        raise unparsable(f"resources: {error}") from error
