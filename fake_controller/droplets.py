"""Droplets that no stager brings: those that people upload, and copies for another app."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit, urlunsplit

from appliance.kernel.errors import ApplianceError, Unavailable
from appliance.kernel.http.blob_plane import Spooled
from fake_controller.acting import Acting
from fake_controller.controller import Controller
from fake_controller.errors import unprocessable
from fake_controller.model import App, Droplet
from fake_controller.push import archive
from fake_controller.running import archiver_urls
from fake_controller.store import Tx

#: Of a droplet that says nothing: its own files tell how it starts.
PROCESS_TYPES = {"web": ""}
HEAD_SECONDS = 2.0


def create_copy(acting: Acting, source: Droplet, app: App) -> Droplet:
    """A droplet of *app* like *source*, still without its bytes; raises 422."""
    if source.state != "STAGED":
        raise unprocessable("source droplet is not staged")
    copy = acting.tx.new(
        Droplet,
        app_guid=app.guid,
        state="COPYING",
        process_types=source.process_types,
        detected=source.detected,
        buildpacks=source.buildpacks,
        sidecars=source.sidecars,
        execution_metadata=source.execution_metadata,
        stack=source.stack,
    )
    data = {"droplet_guid": copy.guid, "request": {"source_guid": source.guid}}
    acting.audit("audit.app.droplet.create", app, data)
    return copy


async def copy_bytes(cc: Controller, source: Droplet, copy: Droplet) -> None:
    """Give *copy* the bytes of *source*; when that fails, the copy says so."""
    try:
        droplet = await fetch(cc, source.app_guid, source.sha1 or "")
        try:
            await keep(cc, copy, droplet)
        finally:
            droplet.path.unlink(missing_ok=True)
    except ApplianceError as error:
        await cc.store.write(partial(_fail, guid=copy.guid, why=str(error)))


async def keep(cc: Controller, record: Droplet, droplet: Spooled) -> None:
    """Store the bytes of *record*, which then is STAGED.

    Raises:
      ApplianceError: no archiver took them.
    """
    await archive(cc, record.app_guid, droplet)

    def work(tx: Tx) -> None:
        tx.change(
            tx.need(Droplet, record.guid),
            state="STAGED",
            sha1=droplet.sha1,
            sha256=droplet.sha256,
            size=droplet.size,
            error=None,
        )

    await cc.store.write(work)


async def fetch(cc: Controller, app_guid: str, sha1: str) -> Spooled:
    """A droplet's bytes as a new file, which the caller then owns.

    The client is not sent to an archiver: DEAs of 2012 follow no redirects, and the address has
    a password in it that opens every droplet.

    Raises:
      ApplianceError: no archiver has them; the first one's own reason.
    """
    problem: ApplianceError | None = None
    for base in cc.config.archivers:
        url = f"{base}/droplets/{app_guid}/{sha1}"
        try:
            return await cc.kit.http.download(
                url, cc.bits.packages.spool, limit=cc.config.max_droplet
            )
        except ApplianceError as error:
            problem = problem or error
    raise problem or Unavailable("No archiver is configured.")


async def copies_of(cc: Controller, record: Droplet) -> dict[str, int]:
    """The droplet's size on each archiver that has it, by the archiver's URL."""
    found: dict[str, int] = {}
    for base, url in zip(cc.config.archivers, archiver_urls(cc, record), strict=True):
        try:
            held = await cc.kit.http.request("HEAD", url, timeout=HEAD_SECONDS)
        except ApplianceError:
            continue
        if held.status == 200:
            found[_public(base)] = int(held.headers["content-length"])
    return found


def _public(url: str) -> str:
    """*url* without what opens it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _fail(tx: Tx, *, guid: str, why: str) -> None:
    if record := tx.get(Droplet, guid):
        tx.change(record, state="FAILED", error=why)
