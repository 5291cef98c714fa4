"""Service offerings: what brokers' catalogues list."""

from __future__ import annotations

from quart import Response, request

from fake_controller import present
from fake_controller.acting import Acting
from fake_controller.conditions import Condition, through
from fake_controller.errors import bad_query, unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.service_brokers import SERVICE_BROKERS
from fake_controller.model import ServiceOffering, ServicePlan
from fake_controller.services import marketplace

SERVICE_OFFERINGS = Listing(
    kind=ServiceOffering,
    filters={
        "names": "name",
        "guids": "guid",
        "available": "available",
        "broker_catalog_ids": "catalog_id",
        "service_broker_guids": "service_broker_guid",
        "service_broker_names": "service_broker.name",
        "space_guids": lambda guids: with_plans(marketplace.plans_in_spaces(guids)),
        "organization_guids": lambda guids: with_plans(marketplace.plans_in_organizations(guids)),
    },
    fields={"service_broker": SERVICE_BROKERS},
    orders=("name",),
    present=lambda record, base, _: present.service_offering(record, base),
)


def with_plans(condition: Condition) -> Condition:
    """The offerings that have a plan for which *condition* holds."""
    return through("service_plans[service_offering_guid]", condition)


def routes(api: Api) -> None:
    """``/v3/service_offerings``."""
    api.lists("/v3/service_offerings", SERVICE_OFFERINGS)
    api.shows("/v3/service_offerings/<guid>", SERVICE_OFFERINGS)
    api.labels("/v3/service_offerings/<guid>", SERVICE_OFFERINGS)

    @api.delete("/v3/service_offerings/<guid>")
    async def delete(guid: str) -> Response:
        purge = request.args.get("purge", "false")
        if purge not in ("true", "false"):
            raise bad_query("Purge must be a boolean")

        def work(acting: Acting) -> None:
            offering = acting.change(ServiceOffering, guid)
            if purge == "true":
                marketplace.purge_offering(acting.tx, offering)
            elif acting.tx.first(ServicePlan, service_offering_guid=guid):
                raise unprocessable(
                    "Please delete the service_plans associations for your services."
                )
            else:
                marketplace.delete_offering(acting.tx, offering)
            data = {"request": {"purge": True} if purge == "true" else {}}
            acting.audit("audit.service.delete", offering, data)

        await api.write(work)
        return Response("", status=204)
