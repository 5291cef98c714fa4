"""The bytes of packages, which never pass through the web framework."""

from __future__ import annotations

import msgspec
import trio

from appliance.kernel.errors import ApplianceError
from appliance.kernel.http.blob_plane import Blob, Exchange
from fake_controller import present
from fake_controller.access import secrets_in_space
from fake_controller.acting import Acting
from fake_controller.bits import Resource
from fake_controller.controller import Controller
from fake_controller.errors import (
    bits_already_uploaded,
    unparsable,
    unprocessable,
)
from fake_controller.model import App, Package

READABLE = secrets_in_space("app.space_guid")


def blobs(cc: Controller) -> list[Blob]:
    """Upload and download of a package."""

    async def upload(exchange: Exchange) -> None:
        identity = cc.uploader(exchange.headers.get("authorization", ""))
        guid = exchange.params["guid"]

        def claim(acting: Acting) -> Package:
            acting.need_enabled("app_bits_upload")
            package = acting.change(Package, guid)
            if package.state != "AWAITING_UPLOAD":
                raise bits_already_uploaded()
            app = acting.tx.need(App, package.app_guid)
            acting.audit("audit.app.package.upload", app, {"package_guid": guid})
            return acting.tx.change(package, state="PROCESSING_UPLOAD")

        package = await cc.write_as(identity, claim)
        try:
            await _receive(cc, exchange, package)
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
        identity = cc.tokens.identity(exchange.headers.get("authorization", ""))
        guid = exchange.params["guid"]

        def begin(acting: Acting) -> Package:
            package = acting.change(Package, guid, rule=READABLE)
            app = acting.tx.need(App, package.app_guid)
            acting.audit("audit.app.package.download", app, {"package_guid": guid})
            return package

        package = await cc.write_as(identity, begin)
        if package.state != "READY":
            raise unprocessable("Package has no bits to download.")
        await exchange.send_file(
            cc.bits.packages.path(guid), content_type="application/zip", etag=package.sha256 or ""
        )

    return [
        Blob("POST", "/v3/packages/:guid/upload", upload),
        Blob("GET", "/v3/packages/:guid/download", download),
    ]


async def _receive(cc: Controller, exchange: Exchange, package: Package) -> None:
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
