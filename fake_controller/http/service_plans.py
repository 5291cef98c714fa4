"""Service plans, and who can use them."""

from __future__ import annotations

from collections.abc import Sequence

from quart import Response

from fake_controller import present
from fake_controller.acting import Acting
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Json, Listing
from fake_controller.http.organizations import ORGANIZATIONS
from fake_controller.http.service_brokers import SERVICE_BROKERS
from fake_controller.http.service_offerings import SERVICE_OFFERINGS
from fake_controller.http.spaces import SPACES
from fake_controller.model import (
    ServiceInstance,
    ServiceOffering,
    ServicePlan,
)
from fake_controller.services import marketplace
from fake_controller.store import Tx


def _gather(
    tx: Tx, records: Sequence[ServicePlan]
) -> tuple[dict[str, ServiceOffering], dict[str, str | None]]:
    """The offerings of plans, and the spaces that their brokers are of."""
    offerings = tx.follow(records, "service_offering")
    brokers = {one.guid: one.space_guid for one in tx.follow(offerings, "service_broker")}
    return (
        {one.guid: one for one in offerings},
        {one.guid: brokers[one.service_broker_guid] for one in offerings},
    )


def _present(record: ServicePlan, base: str, gathered: tuple[dict, dict]) -> Json:  # type: ignore[type-arg]
    offerings, spaces = gathered
    guid = record.service_offering_guid
    return present.service_plan(record, base, offerings[guid], spaces[guid])


SERVICE_PLANS = Listing(
    kind=ServicePlan,
    filters={
        "names": "name",
        "guids": "guid",
        "available": "available",
        "broker_catalog_ids": "catalog_id",
        "service_offering_guids": "service_offering_guid",
        "service_offering_names": "service_offering.name",
        "service_broker_guids": "service_offering.service_broker_guid",
        "service_broker_names": "service_offering.service_broker.name",
        "service_instance_guids": "service_instances[service_plan_guid].guid",
        "space_guids": marketplace.plans_in_spaces,
        "organization_guids": marketplace.plans_in_organizations,
    },
    includes={
        "service_offering": SERVICE_OFFERINGS,
        "space": SPACES,
        "space.organization": ORGANIZATIONS,
    },
    paths={
        "space": "service_offering.service_broker.space",
        "space.organization": "service_offering.service_broker.space.organization",
    },
    fields={"service_offering.service_broker": SERVICE_BROKERS},
    orders=("name",),
    gather=_gather,
    present=_present,
)


def routes(api: Api) -> None:
    """``/v3/service_plans``."""
    path = "/v3/service_plans/<guid>"
    api.lists("/v3/service_plans", SERVICE_PLANS)
    api.shows(path, SERVICE_PLANS)
    api.labels(path, SERVICE_PLANS)

    @api.delete(path)
    async def delete(guid: str) -> Response:
        def work(acting: Acting) -> None:
            plan = acting.change(ServicePlan, guid)
            if acting.tx.first(ServiceInstance, service_plan_guid=guid):
                raise unprocessable(
                    "Please delete the service_instances associations for your service_plans."
                )
            acting.audit("audit.service_plan.delete", plan)
            marketplace.delete_plan(acting.tx, plan)

        await api.write(work)
        return Response("", status=204)
