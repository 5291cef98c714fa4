"""Service plans, and who can use them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from quart import Response

from fake_controller import present
from fake_controller.acting import Acting
from fake_controller.errors import bad_request, missing, unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Json, Listing
from fake_controller.http.organizations import ORGANIZATIONS
from fake_controller.http.relations import Guid, plain
from fake_controller.http.service_brokers import SERVICE_BROKERS
from fake_controller.http.service_offerings import SERVICE_OFFERINGS
from fake_controller.http.spaces import SPACES
from fake_controller.model import (
    Organization,
    ServiceBroker,
    ServiceInstance,
    ServiceOffering,
    ServicePlan,
    ServicePlanVisibility,
    Space,
)
from fake_controller.policy import POLICIES
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


class Visibility(msgspec.Struct):
    type: str
    organizations: list[Guid] | None = None


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

    @api.get(f"{path}/visibility")
    async def visibility(guid: str) -> Response:
        return api.json(await api.read(lambda acting: _visibility(acting, guid)))

    @api.patch(f"{path}/visibility", body=Visibility)
    async def replace_visibility(guid: str, wanted: Visibility) -> Response:
        def work(acting: Acting) -> Json:
            _change_visibility(acting, guid, wanted, keep=False)
            return _visibility(acting, guid)

        return api.json(await api.write(work))

    @api.post(f"{path}/visibility", body=Visibility)
    async def add_visibility(guid: str, wanted: Visibility) -> Response:
        def work(acting: Acting) -> Json:
            plan = _change_visibility(acting, guid, wanted, keep=True)
            return present.service_plan_visibility(plan, None, None)

        return api.json(await api.write(work))

    @api.delete(f"{path}/visibility/<organization>")
    async def remove_visibility(guid: str, organization: str) -> Response:
        await api.write(lambda acting: _remove_visibility(acting, guid, organization))
        return Response("", status=204)


def _visibility(acting: Acting, guid: str) -> Json:
    plan, tx = acting.see(ServicePlan, guid), acting.tx
    allowed = [
        one.organization_guid for one in tx.find(ServicePlanVisibility, service_plan_guid=guid)
    ]
    seen = POLICIES[Organization].seen(acting.access)
    organizations = tx.find(Organization, seen, guid=allowed, order_by="name")
    space = None
    if plan.visibility == "space":
        offering = tx.need(ServiceOffering, plan.service_offering_guid)
        broker = tx.need(ServiceBroker, offering.service_broker_guid)
        space = tx.get(Space, broker.space_guid)
    return present.service_plan_visibility(plan, organizations, space)


def _change_visibility(acting: Acting, guid: str, wanted: Visibility, *, keep: bool) -> ServicePlan:
    plan, tx = acting.change(ServicePlan, guid), acting.tx
    if wanted.type not in ("public", "admin", "organization"):
        raise bad_request("Type must be one of 'public', 'admin', 'organization'")
    organizations = [one.guid for one in wanted.organizations or ()]
    if wanted.type == "organization":
        if not organizations:
            raise bad_request("Organizations can't be blank")
        known = {one.guid for one in tx.find(Organization, guid=organizations)}
        if unknown := [one for one in organizations if one not in known]:
            raise unprocessable(f"Could not find Organization with guid: {unknown[0]}")
    elif wanted.organizations is not None:
        raise bad_request("Organizations must be blank")
    if plan.visibility == "space":
        raise unprocessable("cannot update plans with visibility type 'space'")
    have = {
        one.organization_guid: one for one in tx.find(ServicePlanVisibility, service_plan_guid=guid)
    }
    for organization, record in have.items():
        if not (keep and wanted.type == "organization") and organization not in organizations:
            tx.delete(record)
    for organization in dict.fromkeys(organizations):
        if organization not in have:
            tx.new(ServicePlanVisibility, service_plan_guid=guid, organization_guid=organization)
    acting.audit("audit.service_plan_visibility.update", plan, {"request": plain(wanted)})
    return tx.change(plan, visibility=wanted.type)


def _remove_visibility(acting: Acting, guid: str, organization: str) -> None:
    plan, tx = acting.change(ServicePlan, guid), acting.tx
    if plan.visibility != "organization":
        raise unprocessable("Cannot delete visibilities from non-org-restricted plans")
    if tx.get(Organization, organization) is None:
        raise missing("Organization")
    record = tx.first(ServicePlanVisibility, service_plan_guid=guid, organization_guid=organization)
    if record is None:
        raise missing("Service plan visibility")
    tx.delete(record)
    if not tx.first(ServicePlanVisibility, service_plan_guid=guid):
        tx.change(plan, visibility="admin")
    acting.audit("audit.service_plan_visibility.delete", plan)
