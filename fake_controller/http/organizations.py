"""Organizations: the tenants."""

from __future__ import annotations

import msgspec
from quart import Response

from fake_controller import present
from fake_controller.acting import Acting
from fake_controller.conditions import same_text
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.relations import Metadata, new_labels
from fake_controller.model import Organization

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


def routes(api: Api) -> None:
    """``/v3/organizations``."""
    api.lists("/v3/organizations", ORGANIZATIONS)
    api.shows("/v3/organizations/<guid>", ORGANIZATIONS)

    @api.post("/v3/organizations", body=NewOrganization)
    async def create(wanted: NewOrganization) -> Response:
        created = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(ORGANIZATIONS, created.guid, 201)


def _create(acting: Acting, wanted: NewOrganization) -> Organization:
    acting.must_be_admin()
    if acting.tx.first(Organization, same_text("name", wanted.name)):
        raise unprocessable(f"Organization '{wanted.name}' already exists.")
    created = acting.tx.new(
        Organization, name=wanted.name, suspended=bool(wanted.suspended), **new_labels(wanted)
    )
    acting.audit("audit.organization.create", created)
    return created
