"""Droplets: lists, and where their bytes are."""

from __future__ import annotations

from quart import Response

from fake_controller import deleting, present
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api, Listing
from fake_controller.model import App, Droplet

DROPLETS = Listing(
    kind=Droplet,
    filters={
        "guids": "guid",
        "app_guids": "app_guid",
        "package_guids": "package_guid",
        "states": "state",
    },
    present=lambda record, base, _: present.droplet(record, base),
)


def routes(api: Api) -> None:
    """``/v3/droplets``."""
    cc = api.cc

    @api.get("/v3/droplets")
    async def droplets() -> Response:
        return await api.listed(DROPLETS, ignore=("space_guids", "organization_guids", "current"))

    @api.get("/v3/droplets/<guid>")
    async def droplet(guid: str) -> Response:
        return await api.show(DROPLETS, guid)

    @api.get("/v3/apps/<guid>/droplets")
    async def app_droplets(guid: str) -> Response:
        await cc.store.get(App, guid)
        return await api.listed(DROPLETS, app_guid=guid)

    @api.get("/v3/droplets/<guid>/download")
    async def download(guid: str) -> Response:
        api.identity()
        record = await cc.store.get(Droplet, guid)
        if record.state != "STAGED":
            raise unprocessable("Only staged droplets can be downloaded.")
        # The archiver has the bytes; the address carries what it takes to read them.
        archiver = cc.config.archivers[0]
        location = f"{archiver}/droplets/{record.app_guid}/{record.sha1}"
        return Response("", status=302, headers={"Location": location})

    @api.delete("/v3/droplets/<guid>")
    async def delete(guid: str) -> Response:
        api.writer()
        record = await cc.store.get(Droplet, guid)

        async def work() -> None:
            await cc.store.write(lambda tx: tx.delete(tx.need(Droplet, guid)))
            shared = await cc.store.find(Droplet, app_guid=record.app_guid)
            if record.sha1 and record.sha1 not in {other.sha1 for other in shared}:
                await deleting.forget_droplet(cc, record.app_guid, record.sha1)

        return api.accepted(await cc.start_job("droplet.delete", work))
