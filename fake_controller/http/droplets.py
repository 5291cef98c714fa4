"""Droplets: lists, new ones without a build, and copies."""

from __future__ import annotations

from functools import partial

import msgspec
from quart import Response, request

from fake_controller import deleting, droplets, present
from fake_controller.acting import Acting
from fake_controller.droplets import PROCESS_TYPES
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.relations import OfApp
from fake_controller.model import App, Droplet, Process

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


class NewDroplet(msgspec.Struct):
    relationships: OfApp
    process_types: dict[str, str] | None = None


def routes(api: Api) -> None:
    """``/v3/droplets``."""
    cc = api.cc
    api.lists("/v3/droplets", DROPLETS)
    api.shows("/v3/droplets/<guid>", DROPLETS)
    api.labels("/v3/droplets/<guid>", DROPLETS)
    api.lists("/v3/apps/<guid>/droplets", DROPLETS, below=App, by="app_guid")

    @api.post("/v3/droplets", body=NewDroplet)
    async def create(wanted: NewDroplet) -> Response:
        if source := request.args.get("source_guid"):
            return await _copy(api, source, wanted)
        created = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(DROPLETS, created.guid, 201)

    @api.delete("/v3/droplets/<guid>")
    async def delete(guid: str) -> Response:
        def work(acting: Acting) -> tuple[Droplet, bool]:
            record = acting.change(Droplet, guid)
            app = acting.tx.need(App, record.app_guid)
            if app.droplet_guid == guid or acting.tx.first(Process, droplet_guid=guid):
                raise unprocessable(f'The droplet is currently used by app with guid "{app.guid}".')
            acting.tx.delete(record)
            acting.audit("audit.app.droplet.delete", app, {"droplet_guid": guid})
            shared = acting.tx.count(Droplet, app_guid=record.app_guid, sha1=record.sha1)
            return record, shared > 0

        record, shared = await api.write(work)

        async def forget() -> None:
            if record.sha1 and not shared:
                await deleting.forget_droplet(cc, record.app_guid, record.sha1)

        return api.accepted(await cc.start_job("droplet.delete", forget))


def _create(acting: Acting, wanted: NewDroplet) -> Droplet:
    given = wanted.process_types
    if given is not None and not all(given):
        raise unprocessable("Process types key must not be empty")
    guid = wanted.relationships.app.guid
    if acting.sees(App, guid) is None:
        raise unprocessable(
            f'App with guid "{guid}" does not exist, or you do not have access to it.'
        )
    app = acting.change(App, guid)
    droplet = acting.tx.new(
        Droplet, app_guid=app.guid, process_types=PROCESS_TYPES if given is None else given
    )
    acting.audit("audit.app.droplet.create", app, {"droplet_guid": droplet.guid})
    return droplet


async def _copy(api: Api, source_guid: str, wanted: NewDroplet) -> Response:
    def work(acting: Acting) -> tuple[Droplet, Droplet]:
        source = acting.see(Droplet, source_guid)
        app = acting.change(App, wanted.relationships.app.guid)
        return source, droplets.create_copy(acting, source, app)

    source, copy = await api.write(work)
    await api.cc.begin(partial(droplets.copy_bytes, api.cc, source, copy))
    return await api.show(DROPLETS, copy.guid, 201)
