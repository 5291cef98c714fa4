"""Spaces: where the apps of an organization live."""

from __future__ import annotations

import msgspec
from quart import Response

from fake_controller import present
from fake_controller.access import changed_in_organization
from fake_controller.acting import Acting
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.organizations import ORGANIZATIONS
from fake_controller.http.relations import Metadata, ToOne, new_labels
from fake_controller.model import Organization, Space

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


def routes(api: Api) -> None:
    """``/v3/spaces``."""
    api.lists("/v3/spaces", SPACES)
    api.shows("/v3/spaces/<guid>", SPACES)

    @api.post("/v3/spaces", body=NewSpace)
    async def create(wanted: NewSpace) -> Response:
        created = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(SPACES, created.guid, 201)


def _create(acting: Acting, wanted: NewSpace) -> Space:
    parent = acting.into(
        Organization,
        wanted.relationships.organization.guid,
        rule=changed_in_organization("guid"),
    )
    if acting.tx.first(Space, organization_guid=parent.guid, name=wanted.name):
        raise unprocessable("Name must be unique per organization")
    created = acting.tx.new(
        Space, name=wanted.name, organization_guid=parent.guid, **new_labels(wanted)
    )
    acting.audit("audit.space.create", created)
    return created
