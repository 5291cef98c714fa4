"""Quotas of spaces: their organization's managers make them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
from quart import Response

from fake_controller.access import changed_in_organization
from fake_controller.acting import Acting
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.quota_bodies import ChangedQuota, values_of
from fake_controller.http.quotas import Quotas, apply, check_name, serve
from fake_controller.http.relations import ToMany, ToOne
from fake_controller.model import Organization, Quota, Space, SpaceQuota
from fake_controller.present.quotas import space_quota

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
    serve(api, QUOTAS)

    @api.post("/v3/space_quotas", body=NewSpaceQuota)
    async def create(wanted: NewSpaceQuota) -> Response:
        created = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(SPACE_QUOTAS, created.guid, 201)

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
            acting.audit(QUOTAS.event("remove"), quota, within=space)

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
    values = values_of(wanted, SpaceQuota)
    quota = acting.tx.new(SpaceQuota, name=wanted.name, organization_guid=guid, **values)
    acting.audit(QUOTAS.event("create"), quota, {"request": values})
    if wanted.relationships.spaces:
        apply(acting, QUOTAS, quota, wanted.relationships.spaces.guids)
    return quota


def _spaces(acting: Acting, quota: Quota, guids: list[str]) -> Sequence[Space]:
    found = [one for guid in guids if (one := acting.sees(Space, guid))]
    if unknown := sorted(set(guids) - {one.guid for one in found}):
        raise unprocessable(
            f"Spaces with guids {json.dumps(unknown)} do not exist, or you do not have access to "
            "them."
        )
    owner = getattr(quota, "organization_guid", None)
    if any(space.organization_guid != owner for space in found):
        raise unprocessable("Space quotas cannot be applied outside of their owning organization.")
    return found


QUOTAS = Quotas(
    listing=SPACE_QUOTAS,
    places=Space,
    field=FIELD,
    find=_spaces,
    in_use="This quota is applied to one or more spaces. Remove this quota from all spaces before "
    "deleting.",
)
