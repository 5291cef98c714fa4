"""Droplets: lists, and where their bytes are."""

from __future__ import annotations

from quart import Response

from fake_controller import deleting, present
from fake_controller.acting import Acting
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.model import App, Droplet

DROPLETS = Listing(
    kind=Droplet,
    filters={
        "guids": "guid",
        "app_guids": "app_guid",
        "space_guids": "app.space_guid",
        "organization_guids": "app.space.organization_guid",
        "package_guids": "package_guid",
        "states": "state",
    },
    present=lambda record, base, _: present.droplet(record, base),
)


def routes(api: Api) -> None:
    """``/v3/droplets``."""
    cc = api.cc
    api.lists("/v3/droplets", DROPLETS)
    api.shows("/v3/droplets/<guid>", DROPLETS)
    api.labels("/v3/droplets/<guid>", DROPLETS)
    api.lists("/v3/apps/<guid>/droplets", DROPLETS, below=App, by="app_guid")

    @api.get("/v3/droplets/<guid>/download")
    async def download(guid: str) -> Response:
        record = await api.read(lambda acting: acting.change(Droplet, guid))
        if record.state != "STAGED":
            raise unprocessable("Only staged droplets can be downloaded.")
        # The archiver has the bytes; the address carries what it takes to read them.
        archiver = cc.config.archivers[0]
        location = f"{archiver}/droplets/{record.app_guid}/{record.sha1}"
        return Response("", status=302, headers={"Location": location})

    @api.delete("/v3/droplets/<guid>")
    async def delete(guid: str) -> Response:
        def work(acting: Acting) -> tuple[Droplet, bool]:
            record = acting.change(Droplet, guid)
            app = acting.tx.need(App, record.app_guid)
            acting.tx.delete(record)
            acting.audit("audit.app.droplet.delete", app, {"droplet_guid": guid})
            shared = acting.tx.count(Droplet, app_guid=record.app_guid, sha1=record.sha1)
            return record, shared > 0

        record, shared = await api.write(work)

        async def forget() -> None:
            if record.sha1 and not shared:
                await deleting.forget_droplet(cc, record.app_guid, record.sha1)

        return api.accepted(await cc.start_job("droplet.delete", forget))
