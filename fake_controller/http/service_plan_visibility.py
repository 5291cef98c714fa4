"""Who can use a service plan."""

from __future__ import annotations

import msgspec
from quart import Response

from fake_controller import present
from fake_controller.acting import Acting
from fake_controller.errors import bad_request, missing, unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Json
from fake_controller.http.relations import Guid, plain
from fake_controller.model import (
    Organization,
    ServiceBroker,
    ServiceOffering,
    ServicePlan,
    ServicePlanVisibility,
    Space,
)
from fake_controller.policy import POLICIES


class Visibility(msgspec.Struct):
    type: str
    organizations: list[Guid] | None = None


def routes(api: Api) -> None:
    """``/v3/service_plans/:guid/visibility``."""
    path = "/v3/service_plans/<guid>/visibility"

    @api.get(path)
    async def visibility(guid: str) -> Response:
        return api.json(await api.read(lambda acting: _visibility(acting, guid)))

    @api.patch(path, body=Visibility)
    async def replace_visibility(guid: str, wanted: Visibility) -> Response:
        def work(acting: Acting) -> Json:
            _change_visibility(acting, guid, wanted, keep=False)
            return _visibility(acting, guid)

        return api.json(await api.write(work))

    @api.post(path, body=Visibility)
    async def add_visibility(guid: str, wanted: Visibility) -> Response:
        def work(acting: Acting) -> Json:
            plan = _change_visibility(acting, guid, wanted, keep=True)
            return present.service_plan_visibility(plan, None, None)

        return api.json(await api.write(work))

    @api.delete(f"{path}/<organization>")
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
