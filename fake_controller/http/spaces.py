"""Spaces: where the apps of an organization live."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Response, request

from fake_controller import present
from fake_controller.access import DEVELOPERS, changed_in_organization, changed_in_space
from fake_controller.acting import Acting
from fake_controller.conditions import same_text
from fake_controller.consumption import usage_of
from fake_controller.deleting_tenants import delete_space, delete_unmapped_routes
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.organizations import ORGANIZATIONS
from fake_controller.http.relations import (
    Metadata,
    ToOne,
    check_name,
    new_labels,
    plain,
    relabelled,
)
from fake_controller.model import Organization, Space
from fake_controller.present.quotas import usage_in

SPACES = Listing(
    kind=Space,
    filters={"names": "name", "guids": "guid", "organization_guids": "organization_guid"},
    includes={"organization": ORGANIZATIONS},
    orders=("name",),
    present=lambda record, base, _: present.space(record, base),
)


class OfOrganization(msgspec.Struct):
    organization: ToOne


class NewSpace(msgspec.Struct):
    name: str
    relationships: OfOrganization
    metadata: Metadata | None = None


class ChangedSpace(msgspec.Struct):
    name: str | None = None
    metadata: Metadata | None = None


def routes(api: Api) -> None:
    """``/v3/spaces``."""
    cc, runner = api.cc, api.workers.runner
    api.lists("/v3/spaces", SPACES)
    api.shows("/v3/spaces/<guid>", SPACES)

    @api.post("/v3/spaces", body=NewSpace)
    async def create(wanted: NewSpace) -> Response:
        created = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(SPACES, created.guid, 201)

    @api.patch("/v3/spaces/<guid>", body=ChangedSpace)
    async def change(guid: str, wanted: ChangedSpace) -> Response:
        await api.write(lambda acting: _change(acting, guid, wanted))
        return await api.show(SPACES, guid)

    @api.delete("/v3/spaces/<guid>")
    async def delete(guid: str) -> Response:
        def begin(acting: Acting) -> None:
            space = acting.change(Space, guid, rule=changed_in_organization("organization_guid"))
            acting.audit("audit.space.delete-request", space)

        await api.write(begin)
        return api.accepted(
            await cc.start_job("space.delete", lambda: delete_space(cc, runner, guid))
        )

    @api.delete("/v3/spaces/<guid>/routes")
    async def delete_routes(guid: str) -> Response:
        _check_unmapped()
        await api.read(
            lambda acting: acting.change(Space, guid, rule=changed_in_space("guid", DEVELOPERS))
        )
        return api.accepted(
            await cc.start_job(
                "space.delete_unmapped_routes", lambda: delete_unmapped_routes(cc, runner, guid)
            )
        )

    @api.get("/v3/spaces/<guid>/usage_summary")
    async def usage(guid: str) -> Response:
        def look(acting: Acting) -> dict[str, Any]:
            space = acting.see(Space, guid)
            return usage_in(space, usage_of(acting.tx, space), base)

        base = api.base
        return api.json(await api.read(look))


def _create(acting: Acting, wanted: NewSpace) -> Space:
    guid = wanted.relationships.organization.guid
    if acting.sees(Organization, guid) is None:
        raise unprocessable(
            "Invalid organization. Ensure the organization exists and you have access to it."
        )
    parent = acting.change(Organization, guid, rule=changed_in_organization("guid"))
    check_name(wanted.name)
    if acting.tx.first(Space, same_text("name", wanted.name), organization_guid=parent.guid):
        raise unprocessable("Name must be unique per organization")
    created = acting.tx.new(
        Space, name=wanted.name, organization_guid=parent.guid, **new_labels(wanted)
    )
    acting.audit("audit.space.create", created, {"request": plain(wanted)})
    return created


def _change(acting: Acting, guid: str, wanted: ChangedSpace) -> None:
    tx, space = acting.tx, acting.change(Space, guid)
    values = relabelled(space, wanted)
    if wanted.name is not None and wanted.name != space.name:
        check_name(wanted.name)
        named = same_text("name", wanted.name)
        other = tx.first(Space, named, organization_guid=space.organization_guid)
        if other and other.guid != guid:
            parent = tx.need(Organization, space.organization_guid)
            raise unprocessable(
                f"Organization '{parent.name}' already contains a space with name '{wanted.name}'."
            )
        values["name"] = wanted.name
    changed = tx.change(space, **values)
    acting.audit("audit.space.update", changed, {"request": plain(wanted)})


def _check_unmapped() -> None:
    """Routes that lead somewhere are deleted one by one."""
    unmapped = request.args.get("unmapped")
    if unmapped is None:
        raise unprocessable(
            "Mass delete not supported for routes. Use 'unmapped=true' parameter to delete all "
            "unmapped routes."
        )
    if unmapped == "false":
        raise unprocessable(
            "Mass delete not supported for mapped routes. Use 'unmapped=true' parameter to delete "
            "all unmapped routes."
        )
    if unmapped != "true":
        raise unprocessable("Unmapped must be a boolean")
