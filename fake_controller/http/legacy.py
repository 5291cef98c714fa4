"""The endpoints of 2012: stagers fetch and deliver here, the health manager reads in bulk."""

from __future__ import annotations

import json
from hmac import compare_digest

from quart import Response, request

from appliance.kernel.http.app import basic_auth
from appliance.kernel.http.blob_plane import Blob, Exchange
from fake_controller import push
from fake_controller.controller import Controller
from fake_controller.errors import CloudError
from fake_controller.http.api import Api
from fake_controller.model import App, Droplet, Package, Process
from fake_controller.running import desired
from fake_controller.store import Tx

BATCH = 200  # apps in one answer of /bulk/apps


class LegacyError(CloudError):
    """An error as the controller of 2012 wrote it: ``{"code", "description"}``."""


def _no_app() -> LegacyError:
    return LegacyError(404, 301, "", "The app or its package is not here")


def _bad_upload(why: str) -> LegacyError:
    return LegacyError(400, 100, "", why)


def routes(api: Api) -> None:
    """``/bulk/apps`` and ``/bulk/counts``."""
    cc = api.cc

    @api.get("/bulk/apps")
    async def bulk() -> Response:
        _login(cc, request.headers.get("Authorization", ""), cc.config.bulk_user)
        size = min(request.args.get("batch_size", BATCH, int), BATCH * 5)
        token = json.loads(request.args.get("bulk_token", "{}") or "{}")
        after = int(token.get("id", 0))

        def look(tx: Tx) -> dict[str, dict[str, object]]:
            found = tx.find(Process, limit=size, offset=after)
            return {p.guid: _bulk(tx, p, after + at + 1) for at, p in enumerate(found)}

        results = await cc.store.read(look)
        return api.json({"results": results, "bulk_token": {"id": after + len(results)}})

    @api.get("/bulk/counts")
    async def counts() -> Response:
        _login(cc, request.headers.get("Authorization", ""), cc.config.bulk_user)
        return api.json({"counts": {"app": await cc.store.read(lambda tx: tx.count(App))}})


def _bulk(tx: Tx, process: Process, number: int) -> dict[str, object]:
    wanted = desired(tx, process)
    return {
        "id": number,
        "name": wanted.app.name,
        "instances": wanted.instances,
        "state": wanted.app.state,
        "version": wanted.version,
        "package_state": "STAGED" if wanted.droplet else "PENDING",
        "memory": process.memory_in_mb,
        "framework": wanted.droplet.detected if wanted.droplet else None,
        "runtime": None,
        "updated_at": int(max(process.updated_at, wanted.app.updated_at)),
    }


def blobs(api: Api) -> list[Blob]:
    """Packages out, droplets in: the staging endpoints."""
    cc = api.cc

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
        if upload is None or upload.app_guid != exchange.params["id"] or upload.stored.is_set():
            raise _bad_upload("This upload is unknown, or was used already")
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
        location = f"{cc.config.archivers[0]}/droplets/{app_guid}/{digest}"
        await exchange.reply(302, b"", headers={"Location": location})

    return [
        Blob("GET", "/staging/app/:id", fetch),
        Blob("POST", "/staging/droplet/:id/:upload_id", deliver),
        Blob("GET", "/staged_droplets/:id/:hash", staged),
    ]


def _login(cc: Controller, authorization: str, user: str) -> None:
    basic_auth({"authorization": authorization}, user, cc.secrets[user])
