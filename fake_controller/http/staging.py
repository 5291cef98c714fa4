"""The staging endpoints of 2012: stagers fetch packages here and deliver droplets."""

from __future__ import annotations

from hmac import compare_digest

from appliance.kernel.http.auth import basic_auth
from appliance.kernel.http.blob_plane import Blob, Exchange
from fake_controller import droplets, push
from fake_controller.controller import Controller
from fake_controller.errors import LegacyError
from fake_controller.model import App, Droplet, Package
from fake_controller.store import Tx


def _no_app() -> LegacyError:
    return LegacyError(404, 301, "", "The app or its package is not here")


def _bad_upload(why: str) -> LegacyError:
    return LegacyError(400, 100, "", why)


def blobs(cc: Controller) -> list[Blob]:
    """Packages out, droplets in."""

    async def fetch(exchange: Exchange) -> None:
        _login(cc, exchange.headers.get("authorization", ""), cc.config.staging_user)
        app_guid = exchange.params["id"]

        def look(tx: Tx) -> Package | None:
            if named := exchange.query.get("package"):
                package = tx.get(Package, named)
                return package if package and package.app_guid == app_guid else None
            ready = tx.find(
                Package, app_guid=app_guid, state="READY", order_by="-created_at", limit=1
            )
            return ready[0] if ready else None

        package = await cc.store.read(look)
        if package is None or package.state != "READY":
            raise _no_app()
        await exchange.send_file(
            cc.bits.packages.path(package.guid), content_type="application/zip"
        )

    async def deliver(exchange: Exchange) -> None:
        _login(cc, exchange.headers.get("authorization", ""), cc.config.staging_user)
        upload = cc.uploads.get(exchange.params["upload_id"])
        if upload is None or upload.app_guid != exchange.params["id"] or upload.claimed:
            raise _bad_upload("This upload is unknown, or was used already")
        upload.claimed = True  # at once: of two that come together one is too late
        form = await exchange.receive_form(cc.bits.packages.spool, limit=cc.config.max_droplet)
        try:
            droplet = form.files.get("upload[droplet]")
            if droplet is None:
                raise _bad_upload("The form has no file upload[droplet]")
            await push.store(cc, upload, droplet)
        finally:
            for file in form.files.values():
                file.path.unlink(missing_ok=True)
        cc.kit.trace.event("droplet.delivered", app=upload.app_guid, sha1=upload.sha1)
        await exchange.reply(200, b"")

    async def staged(exchange: Exchange) -> None:
        """No login, as in 2012: who knows the digest may read."""
        app_guid, digest = exchange.params["id"], exchange.params["hash"]

        def look(tx: Tx) -> bool:
            app = tx.get(App, app_guid)
            droplet = tx.get(Droplet, app.droplet_guid) if app else None
            # The digest is the only key there is to this door.
            return droplet is not None and compare_digest(
                (droplet.sha1 or "").encode(), digest.encode()
            )

        if not await cc.store.read(look):
            raise _no_app()
        droplet = await droplets.fetch(cc, app_guid, digest)
        try:
            await exchange.send_file(droplet.path, content_type="application/gzip", etag=digest)
        finally:
            droplet.path.unlink(missing_ok=True)

    return [
        Blob("GET", "/staging/app/:id", fetch),
        Blob("POST", "/staging/droplet/:id/:upload_id", deliver),
        Blob("GET", "/staged_droplets/:id/:hash", staged),
        # The same by the names that the tutorial of 2012 gave them.
        Blob("GET", "/download_unstaged_app/:id", fetch),
        Blob("POST", "/upload_droplet/:id/:upload_id", deliver),
    ]


def _login(cc: Controller, authorization: str, user: str) -> None:
    basic_auth({"authorization": authorization}, user, cc.secrets[user])
