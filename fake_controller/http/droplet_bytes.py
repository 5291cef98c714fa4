"""The bytes of droplets: people bring their own, and take them away."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import trio

from appliance.kernel.http.blob_plane import Blob, Exchange, Spooled
from fake_controller import droplets, present
from fake_controller.access import secrets_in_space
from fake_controller.acting import Acting
from fake_controller.controller import Controller
from fake_controller.errors import unprocessable
from fake_controller.model import App, Droplet
from fake_controller.running import archiver_urls

INVALID = "Uploaded droplet file is invalid: "
READABLE = secrets_in_space("app.space_guid")
GZIP = b"\x1f\x8b"


def blobs(cc: Controller) -> list[Blob]:
    """Upload and download of a droplet."""

    async def upload(exchange: Exchange) -> None:
        identity = cc.uploader(exchange.headers.get("authorization", ""))
        guid = exchange.params["guid"]
        await cc.read_as(identity, lambda acting: _open(acting, guid))
        form = await exchange.receive_form(cc.bits.packages.spool, limit=cc.config.max_droplet)
        bits = form.files.pop("bits", None)
        form.discard()
        try:
            droplet = await _checked(bits)
            record = await cc.write_as(identity, lambda acting: _claim(acting, guid))
        except BaseException:
            if bits:
                bits.path.unlink(missing_ok=True)
            raise
        job = await cc.start_job("droplet.upload", partial(_keep, cc, record, droplet))
        base = cc.config.external_url or exchange.url
        headers = {"Location": f"{base}/v3/jobs/{job.guid}"}
        record = await cc.store.get(Droplet, guid)
        await exchange.reply(202, present.droplet(record, base), headers=headers)

    async def download(exchange: Exchange) -> None:
        identity = cc.tokens.identity(exchange.headers.get("authorization", ""))
        guid = exchange.params["guid"]
        record = await cc.write_as(identity, lambda acting: _to_download(acting, guid))
        if identity.type == "client":
            # A program that reads everything, such as the registry, fetches it where it is. The
            # archivers' login opens every droplet: people are not told it.
            await exchange.reply(302, b"", headers={"Location": archiver_urls(cc, record)[0]})
            return
        droplet = await droplets.fetch(cc, record.app_guid, record.sha1 or "")
        try:
            await exchange.send_file(
                droplet.path, content_type="application/gzip", etag=droplet.sha256
            )
        finally:
            droplet.path.unlink(missing_ok=True)

    return [
        Blob("POST", "/v3/droplets/:guid/upload", upload),
        Blob("GET", "/v3/droplets/:guid/download", download),
    ]


def _open(acting: Acting, guid: str) -> Droplet:
    record = acting.change(Droplet, guid)
    if record.state != "AWAITING_UPLOAD":
        raise unprocessable(
            "Droplet may be uploaded only once. Create a new droplet to upload bits."
        )
    return record


def _claim(acting: Acting, guid: str) -> Droplet:
    record = _open(acting, guid)
    app = acting.tx.need(App, record.app_guid)
    acting.audit("audit.app.droplet.upload", app, {"droplet_guid": guid})
    return acting.tx.change(record, state="PROCESSING_UPLOAD")


async def _checked(bits: Spooled | None) -> Spooled:
    if bits is None:
        raise unprocessable(f"{INVALID}A droplet tgz file must be uploaded as 'bits'")
    if not bits.filename.endswith((".tgz", ".tar.gz")):
        raise unprocessable(f"{INVALID}{bits.filename} is not a tgz")
    if not bits.size:
        raise unprocessable(f"{INVALID}{bits.filename} cannot be empty")
    if await trio.to_thread.run_sync(_beginning, bits.path) != GZIP:
        raise unprocessable(f"{INVALID}{bits.filename} is not a tgz")
    return bits


async def _keep(cc: Controller, record: Droplet, droplet: Spooled) -> None:
    """The job of an upload. What no archiver took may be uploaded again."""
    try:
        await droplets.keep(cc, record, droplet)
    except BaseException:
        with trio.CancelScope(shield=True):
            await cc.store.write(
                lambda tx: tx.change(tx.need(Droplet, record.guid), state="AWAITING_UPLOAD")
            )
        raise
    finally:
        droplet.path.unlink(missing_ok=True)
    cc.kit.trace.event("droplet.uploaded", droplet=record.guid, size=droplet.size)


def _to_download(acting: Acting, guid: str) -> Droplet:
    record = acting.change(Droplet, guid, rule=READABLE)
    if record.state != "STAGED":
        raise unprocessable("Only staged droplets can be downloaded.")
    app = acting.tx.need(App, record.app_guid)
    acting.audit("audit.app.droplet.download", app, {"droplet_guid": guid})
    return record


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(GZIP))
