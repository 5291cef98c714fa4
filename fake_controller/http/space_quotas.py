"""Quotas of spaces: their organization's managers make them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from quart import Response

from fake_controller.access import changed_in_organization
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
from fake_controller.http.relations import ToMany, ToOne
from fake_controller.model import Organization, Space, SpaceQuota
from fake_controller.present.quotas import space_quota
from fake_controller.present.shape import relationship, to_many
from fake_controller.store import Tx

FIELD = "space_quota_guid"
SPACE_QUOTAS = Listing(
    kind=SpaceQuota,
    filters={
        "guids": "guid",
        "names": "name",
        "organization_guids": "organization_guid",
        "space_guids": f"spaces[{FIELD}].guid",
    },
    orders=("name",),
    gather_for=lambda acting, records: acting.those_of(Space, FIELD, records),
    present=lambda record, base, of: space_quota(record, base, of[record.guid]),
)


class OfOrganizationAndSpaces(msgspec.Struct):
    organization: ToOne
    spaces: ToMany | None = None


class NewSpaceQuota(ChangedQuota, kw_only=True):
    name: str
    relationships: OfOrganizationAndSpaces


def routes(api: Api) -> None:
    """``/v3/space_quotas``."""
    cc = api.cc
    api.lists("/v3/space_quotas", SPACE_QUOTAS)
    api.shows("/v3/space_quotas/<guid>", SPACE_QUOTAS)

    @api.post("/v3/space_quotas", body=NewSpaceQuota)
    async def create(wanted: NewSpaceQuota) -> Response:
        created = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(SPACE_QUOTAS, created.guid, 201)

    @api.patch("/v3/space_quotas/<guid>", body=ChangedQuota)
    async def change(guid: str, wanted: ChangedQuota) -> Response:
        await api.write(lambda acting: _change(acting, guid, wanted))
        return await api.show(SPACE_QUOTAS, guid)

    @api.delete("/v3/space_quotas/<guid>")
    async def delete(guid: str) -> Response:
        def begin(acting: Acting) -> None:
            quota = acting.change(SpaceQuota, guid)
            if acting.tx.first(Space, space_quota_guid=guid):
                raise unprocessable(
                    "This quota is applied to one or more spaces. Remove this quota from all "
                    "spaces before deleting."
                )
            acting.audit("audit.space_quota.delete", quota)

        def work(tx: Tx) -> None:
            tx.delete(tx.need(SpaceQuota, guid))

        await api.write(begin)
        return api.accepted(await cc.start_job("space_quota.delete", lambda: cc.store.write(work)))

    @api.post("/v3/space_quotas/<guid>/relationships/spaces", body=ToMany)
    async def apply(guid: str, wanted: ToMany) -> Response:
        def work(acting: Acting) -> list[str]:
            quota = acting.change(SpaceQuota, guid)
            _apply(acting, quota, wanted.guids)
            return [one.guid for one in acting.tx.find(Space, space_quota_guid=guid)]

        own = f"{api.base}/v3/space_quotas/{guid}/relationships/spaces"
        return api.json(relationship(to_many(await api.write(work)), own))

    @api.delete("/v3/space_quotas/<guid>/relationships/spaces/<space_guid>")
    async def remove(guid: str, space_guid: str) -> Response:
        def work(acting: Acting) -> None:
            quota = acting.change(SpaceQuota, guid)
            space = acting.sees(Space, space_guid)
            if space is None or space.space_quota_guid != guid:
                raise unprocessable(
                    f"Unable to remove quota from space with guid '{space_guid}'. Ensure the "
                    "space quota is applied to this space."
                )
            acting.tx.change(space, space_quota_guid=None)
            acting.audit("audit.space_quota.remove", quota, within=space)

        await api.write(work)
        return Response("", status=204)


def _create(acting: Acting, wanted: NewSpaceQuota) -> SpaceQuota:
    guid = wanted.relationships.organization.guid
    if acting.sees(Organization, guid) is None:
        raise unprocessable(
            f"Organization with guid '{guid}' does not exist, or you do not have access to it."
        )
    acting.change(Organization, guid, rule=changed_in_organization("guid"))
    check_name(acting, SpaceQuota, wanted.name, organization=guid)
    values: dict[str, Any] = values_of(wanted, SpaceQuota)
    quota = acting.tx.new(SpaceQuota, name=wanted.name, organization_guid=guid, **values)
    acting.audit("audit.space_quota.create", quota, {"request": values})
    if wanted.relationships.spaces:
        _apply(acting, quota, wanted.relationships.spaces.guids)
    return quota


def _change(acting: Acting, guid: str, wanted: ChangedQuota) -> None:
    quota = acting.change(SpaceQuota, guid)
    values = values_of(wanted, SpaceQuota)
    if wanted.name is not None and wanted.name != quota.name:
        check_name(acting, SpaceQuota, wanted.name, organization=quota.organization_guid)
        values["name"] = wanted.name
    check_log_rate_of_old(acting, values, acting.tx.find(Space, space_quota_guid=guid))
    acting.tx.change(quota, **values)
    acting.audit("audit.space_quota.update", quota, {"request": values})


def _apply(acting: Acting, quota: SpaceQuota, guids: list[str]) -> None:
    spaces = [space for guid in guids if (space := acting.sees(Space, guid))]
    if unknown := sorted(set(guids) - {one.guid for one in spaces}):
        raise unprocessable(
            f"Spaces with guids {json.dumps(unknown)} do not exist, or you do not have access to "
            "them."
        )
    if any(space.organization_guid != quota.organization_guid for space in spaces):
        raise unprocessable("Space quotas cannot be applied outside of their owning organization.")
    check_log_rate_of_new(acting, quota, spaces)
    for space in spaces:
        acting.tx.change(space, space_quota_guid=quota.guid)
        acting.audit("audit.space_quota.apply", quota, within=space)
