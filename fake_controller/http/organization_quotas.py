"""Quotas of organizations."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
from quart import Response

from fake_controller.acting import Acting
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.quota_bodies import ChangedQuota, values_of
from fake_controller.http.quotas import Quotas, apply, check_name, serve
from fake_controller.http.relations import ToMany
from fake_controller.model import Organization, OrganizationQuota, Quota
from fake_controller.present.quotas import organization_quota

FIELD = "organization_quota_guid"
ORGANIZATION_QUOTAS = Listing(
    kind=OrganizationQuota,
    filters={
        "guids": "guid",
        "names": "name",
        "organization_guids": f"organizations[{FIELD}].guid",
    },
    orders=("name",),
    gather_for=lambda acting, records: acting.those_of(Organization, FIELD, records),
    present=lambda record, base, of: organization_quota(record, base, of[record.guid]),
)


class OfOrganizations(msgspec.Struct):
    organizations: ToMany | None = None


class NewOrganizationQuota(ChangedQuota, kw_only=True):
    name: str
    relationships: OfOrganizations | None = None


def routes(api: Api) -> None:
    """``/v3/organization_quotas``."""
    serve(api, QUOTAS)

    @api.post("/v3/organization_quotas", body=NewOrganizationQuota)
    async def create(wanted: NewOrganizationQuota) -> Response:
        created = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(ORGANIZATION_QUOTAS, created.guid, 201)


def _create(acting: Acting, wanted: NewOrganizationQuota) -> OrganizationQuota:
    acting.must_be_admin()
    check_name(acting, OrganizationQuota, wanted.name)
    values = values_of(wanted, OrganizationQuota)
    quota = acting.tx.new(OrganizationQuota, name=wanted.name, **values)
    acting.audit(QUOTAS.event("create"), quota, {"request": values})
    if wanted.relationships and wanted.relationships.organizations:
        apply(acting, QUOTAS, quota, wanted.relationships.organizations.guids)
    return quota


def _organizations(acting: Acting, _: Quota, guids: list[str]) -> Sequence[Organization]:
    found = [one for guid in guids if (one := acting.sees(Organization, guid))]
    if unknown := sorted(set(guids) - {one.guid for one in found}):
        raise unprocessable(
            f"Organizations with guids {json.dumps(unknown)} do not exist, or you do not have "
            "access to them."
        )
    return found


QUOTAS = Quotas(
    listing=ORGANIZATION_QUOTAS,
    places=Organization,
    field=FIELD,
    find=_organizations,
    in_use="This quota is applied to one or more organizations. Apply different quotas to those "
    "organizations before deleting.",
)
