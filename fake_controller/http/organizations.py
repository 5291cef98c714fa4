"""Organizations: the tenants."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Response

from fake_controller import present
from fake_controller.access import admins
from fake_controller.acting import Acting
from fake_controller.conditions import same_text
from fake_controller.consumption import usage_of
from fake_controller.deleting_tenants import delete_organization
from fake_controller.errors import not_authorized, unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.relations import Metadata, check_name, new_labels, plain, relabelled
from fake_controller.model import Organization, OrganizationQuota, User
from fake_controller.present.quotas import usage_in
from fake_controller.roles import give_role
from fake_controller.seeding import DEFAULT_QUOTA

#: What who makes an organization is in it.
FOUNDER = ("organization_user", "organization_manager")
ORGANIZATIONS = Listing(
    kind=Organization,
    filters={"names": "name", "guids": "guid"},
    orders=("name",),
    present=lambda record, base, _: present.organization(record, base),
)


class NewOrganization(msgspec.Struct):
    name: str
    suspended: bool | None = None
    metadata: Metadata | None = None


class ChangedOrganization(msgspec.Struct):
    name: str | None = None
    suspended: bool | None = None
    metadata: Metadata | None = None


def routes(api: Api) -> None:
    """``/v3/organizations``."""
    cc, runner = api.cc, api.workers.runner
    api.lists("/v3/organizations", ORGANIZATIONS)
    api.shows("/v3/organizations/<guid>", ORGANIZATIONS)

    @api.post("/v3/organizations", body=NewOrganization)
    async def create(wanted: NewOrganization) -> Response:
        created = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(ORGANIZATIONS, created.guid, 201)

    @api.patch("/v3/organizations/<guid>", body=ChangedOrganization)
    async def change(guid: str, wanted: ChangedOrganization) -> Response:
        await api.write(lambda acting: _change(acting, guid, wanted))
        return await api.show(ORGANIZATIONS, guid)

    @api.delete("/v3/organizations/<guid>")
    async def delete(guid: str) -> Response:
        def begin(acting: Acting) -> None:
            organization = acting.change(Organization, guid, rule=admins)
            acting.audit("audit.organization.delete-request", organization)

        await api.write(begin)
        return api.accepted(
            await cc.start_job("organization.delete", lambda: delete_organization(cc, runner, guid))
        )

    @api.get("/v3/organizations/<guid>/usage_summary")
    async def usage(guid: str) -> Response:
        def look(acting: Acting) -> dict[str, Any]:
            organization = acting.see(Organization, guid)
            return usage_in(organization, usage_of(acting.tx, organization), base)

        base = api.base
        return api.json(await api.read(look))


def _create(acting: Acting, wanted: NewOrganization) -> Organization:
    if not acting.enabled("user_org_creation"):
        raise not_authorized()
    if wanted.suspended and not acting.identity.admin:
        raise not_authorized()
    tx = acting.tx
    check_name(wanted.name)
    if tx.first(Organization, same_text("name", wanted.name)):
        raise unprocessable(f"Organization '{wanted.name}' already exists.")
    quota = tx.first(OrganizationQuota, name=DEFAULT_QUOTA)
    created = tx.new(
        Organization,
        name=wanted.name,
        suspended=bool(wanted.suspended),
        organization_quota_guid=quota.guid if quota else None,
        **new_labels(wanted),
    )
    acting.audit("audit.organization.create", created, {"request": plain(wanted)})
    if not acting.identity.admin and (founder := tx.get(User, acting.identity.guid)):
        for type_ in FOUNDER:
            give_role(acting, type_, founder, created)
    return created


def _change(acting: Acting, guid: str, wanted: ChangedOrganization) -> None:
    organization = acting.change(Organization, guid)
    if wanted.suspended and not acting.identity.admin:
        raise not_authorized()
    values = relabelled(organization, wanted)
    if wanted.name is not None and wanted.name != organization.name:
        check_name(wanted.name)
        other = acting.tx.first(Organization, same_text("name", wanted.name))
        if other and other.guid != guid:
            raise unprocessable(f"Organization name '{wanted.name}' is already taken.")
        values["name"] = wanted.name
    if wanted.suspended is not None:
        values["suspended"] = wanted.suspended
    changed = acting.tx.change(organization, **values)
    acting.audit("audit.organization.update", changed, {"request": plain(wanted)})
