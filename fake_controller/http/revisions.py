"""Revisions: what an app was at each start."""

from __future__ import annotations

from collections.abc import Sequence

from quart import Response

from fake_controller import present
from fake_controller.access import secrets_in_space
from fake_controller.conditions import among
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.model import App, Droplet, Process, Revision
from fake_controller.store import Tx


def _deployable(tx: Tx, records: Sequence[Revision]) -> set[str]:
    droplets = {record.droplet_guid for record in records}
    return {one.guid for one in tx.find(Droplet, guid=droplets, state="STAGED")}


REVISIONS = Listing(
    kind=Revision,
    filters={"versions": "version"},
    gather=_deployable,
    present=lambda record, base, there: present.revision(
        record, base, record.droplet_guid in there
    ),
)
READABLE = secrets_in_space("app.space_guid")


def routes(api: Api) -> None:
    """``/v3/revisions`` and ``/v3/apps/:guid/revisions``."""
    api.lists("/v3/apps/<guid>/revisions", REVISIONS, below=App, by="app_guid")
    api.shows("/v3/revisions/<guid>", REVISIONS)
    api.labels("/v3/revisions/<guid>", REVISIONS)

    @api.route("GET", "/v3/apps/<guid>/revisions/deployed", lists=REVISIONS)
    async def deployed(guid: str) -> Response:
        """Those that instances run now; two of them during a deployment."""
        await api.read(lambda acting: acting.see(App, guid))
        processes = await api.cc.store.find(Process, app_guid=guid)
        running = {p.revision_guid for p in processes if p.instances > 0} - {None}
        started = (await api.cc.store.get(App, guid)).state == "STARTED"
        return await api.listed(REVISIONS, among("guid", running if started else ()))

    @api.get("/v3/revisions/<guid>/environment_variables")
    async def environment(guid: str) -> Response:
        revision = await api.read(lambda acting: acting.change(Revision, guid, rule=READABLE))
        own = f"{api.base}/v3/revisions/{guid}"
        links = {
            "self": {"href": f"{own}/environment_variables"},
            "revision": {"href": own},
            "app": {"href": f"{api.base}/v3/apps/{revision.app_guid}"},
        }
        return api.json({"var": revision.environment, "links": links})
