"""Deployments: a change of droplet without a gap."""

from __future__ import annotations

import msgspec
from quart import Response

from fake_controller import present
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.relations import OfApp
from fake_controller.model import App, Deployment

DEPLOYMENTS = Listing(
    kind=Deployment,
    filters={
        "guids": "guid",
        "app_guids": "app_guid",
        "status_values": "status_value",
        "status_reasons": "status_reason",
    },
    present=lambda record, base, _: present.deployment(record, base),
)


class DeploymentOptions(msgspec.Struct):
    max_in_flight: int | None = None


class NewDeployment(msgspec.Struct):
    relationships: OfApp
    droplet: dict[str, str] | None = None
    strategy: str | None = None
    options: DeploymentOptions | None = None


def routes(api: Api) -> None:
    """``/v3/deployments``."""
    cc, deployer = api.cc, api.deployer
    api.lists("/v3/deployments", DEPLOYMENTS)
    api.labels("/v3/deployments/<guid>", DEPLOYMENTS)

    @api.post("/v3/deployments", body=NewDeployment)
    async def deploy(wanted: NewDeployment) -> Response:
        app_guid = wanted.relationships.app.guid
        await api.read(lambda acting: acting.change(App, app_guid))
        if wanted.strategy not in (None, "rolling"):
            raise unprocessable("Strategy 'rolling' is the one supported here")
        in_flight = (wanted.options.max_in_flight if wanted.options else None) or 1
        if in_flight < 1:
            raise unprocessable("Max in flight must be greater than 0")
        droplet = (wanted.droplet or {}).get("guid")
        deployment = await deployer.create(app_guid, droplet, in_flight)
        return await api.show(DEPLOYMENTS, deployment.guid, 201)

    @api.get("/v3/deployments/<guid>")
    async def deployment(guid: str) -> Response:
        async def look() -> Deployment:
            return await api.read(lambda acting: acting.see(Deployment, guid))

        def settled(record: Deployment) -> bool:
            # A crash of the new version is news, too: the client decides what to do.
            crashed = any(p == record.new_process_guid for p, _ in cc.actual.crashed)
            return record.status_value == "FINALIZED" or crashed

        return api.json(present.deployment(await api.held(look, settled, on="work"), api.base))

    @api.post("/v3/deployments/<guid>/actions/cancel")
    async def cancel(guid: str) -> Response:
        await api.read(lambda acting: acting.change(Deployment, guid))
        await deployer.cancel(guid)
        return api.json({})
