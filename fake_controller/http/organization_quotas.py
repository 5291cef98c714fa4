"""Quotas of organizations."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from quart import Response

from fake_controller.acting import Acting
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.quotas import (
    ChangedQuota,
    check_log_rate_of_new,
    check_log_rate_of_old,
    check_name,
    values_of,
)
from fake_controller.http.relations import ToMany
from fake_controller.model import Organization, OrganizationQuota
from fake_controller.present.quotas import organization_quota
from fake_controller.present.shape import relationship, to_many
from fake_controller.store import Tx

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
    cc = api.cc
    api.lists("/v3/organization_quotas", ORGANIZATION_QUOTAS)
    api.shows("/v3/organization_quotas/<guid>", ORGANIZATION_QUOTAS)

    @api.post("/v3/organization_quotas", body=NewOrganizationQuota)
    async def create(wanted: NewOrganizationQuota) -> Response:
        created = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(ORGANIZATION_QUOTAS, created.guid, 201)

    @api.patch("/v3/organization_quotas/<guid>", body=ChangedQuota)
    async def change(guid: str, wanted: ChangedQuota) -> Response:
        await api.write(lambda acting: _change(acting, guid, wanted))
        return await api.show(ORGANIZATION_QUOTAS, guid)

    @api.delete("/v3/organization_quotas/<guid>")
    async def delete(guid: str) -> Response:
        def begin(acting: Acting) -> None:
            quota = acting.change(OrganizationQuota, guid)
            if acting.tx.first(Organization, organization_quota_guid=guid):
                raise unprocessable(
                    "This quota is applied to one or more organizations. Apply different quotas "
                    "to those organizations before deleting."
                )
            acting.audit("audit.organization_quota.delete", quota)

        def work(tx: Tx) -> None:
            tx.delete(tx.need(OrganizationQuota, guid))

        await api.write(begin)
        return api.accepted(
            await cc.start_job("organization_quota.delete", lambda: cc.store.write(work))
        )

    @api.post("/v3/organization_quotas/<guid>/relationships/organizations", body=ToMany)
    async def apply(guid: str, wanted: ToMany) -> Response:
        def work(acting: Acting) -> list[str]:
            quota = acting.change(OrganizationQuota, guid)
            _apply(acting, quota, wanted.guids, "do not exist")
            of = acting.tx.find(Organization, organization_quota_guid=guid)
            return [one.guid for one in of]

        own = f"{api.base}/v3/organization_quotas/{guid}/relationships/organizations"
        return api.json(relationship(to_many(await api.write(work)), own))


def _create(acting: Acting, wanted: NewOrganizationQuota) -> OrganizationQuota:
    acting.must_be_admin()
    check_name(acting, OrganizationQuota, wanted.name)
    values: dict[str, Any] = values_of(wanted, OrganizationQuota)
    quota = acting.tx.new(OrganizationQuota, name=wanted.name, **values)
    acting.audit("audit.organization_quota.create", quota, {"request": values})
    if wanted.relationships and wanted.relationships.organizations:
        guids = wanted.relationships.organizations.guids
        _apply(acting, quota, guids, "do not exist, or you do not have access to them.")
    return quota


def _change(acting: Acting, guid: str, wanted: ChangedQuota) -> None:
    quota = acting.change(OrganizationQuota, guid)
    values = values_of(wanted, OrganizationQuota)
    if wanted.name is not None and wanted.name != quota.name:
        check_name(acting, OrganizationQuota, wanted.name)
        values["name"] = wanted.name
    check_log_rate_of_old(
        acting, values, acting.tx.find(Organization, organization_quota_guid=guid)
    )
    acting.tx.change(quota, **values)
    acting.audit("audit.organization_quota.update", quota, {"request": values})


def _apply(acting: Acting, quota: OrganizationQuota, guids: list[str], lack: str) -> None:
    tx = acting.tx
    organizations = tx.find(Organization, guid=guids)
    if unknown := sorted(set(guids) - {one.guid for one in organizations}):
        raise unprocessable(f"Organizations with guids {json.dumps(unknown)} {lack}")
    check_log_rate_of_new(acting, quota, organizations)
    for organization in organizations:
        tx.change(organization, organization_quota_guid=quota.guid)
        acting.audit("audit.organization_quota.apply", quota, within=organization)
