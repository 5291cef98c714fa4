"""Domains: the part of a route's name after its host."""

from __future__ import annotations

import re

import msgspec
from quart import Response

from fake_controller import present
from fake_controller.access import changed_in_organization
from fake_controller.acting import Acting
from fake_controller.conditions import among, is_
from fake_controller.errors import missing, unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.relations import Metadata, ToOne, new_labels
from fake_controller.model import Domain, Organization

DOMAINS = Listing(
    kind=Domain,
    filters={"names": "name", "guids": "guid", "organization_guids": "organization_guid"},
    present=lambda record, base, _: present.domain(record, base),
)
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
DOMAIN_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})+\Z")


class OfOrganization(msgspec.Struct):
    organization: ToOne | None = None


class NewDomain(msgspec.Struct):
    name: str
    internal: bool | None = None
    relationships: OfOrganization | None = None
    metadata: Metadata | None = None


def routes(api: Api) -> None:
    """``/v3/domains``, and those that an organization may use."""
    api.lists("/v3/domains", DOMAINS)
    api.shows("/v3/domains/<guid>", DOMAINS)

    @api.post("/v3/domains", body=NewDomain)
    async def create(wanted: NewDomain) -> Response:
        created = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(DOMAINS, created.guid, 201)

    @api.route("GET", "/v3/organizations/<guid>/domains", lists=DOMAINS)
    async def of_organization(guid: str) -> Response:
        await api.read(lambda acting: acting.see(Organization, guid))
        shared = is_("organization_guid", None)
        return await api.listed(DOMAINS, shared | among("organization_guid", [guid]))

    @api.get("/v3/organizations/<guid>/domains/default")
    async def default(guid: str) -> Response:
        def look(acting: Acting) -> Domain:
            acting.see(Organization, guid)
            found = acting.tx.first(Domain, organization_guid=None, internal=False)
            if found is None:
                raise missing("Domain")
            return found

        return await api.show(DOMAINS, (await api.read(look)).guid)


def _create(acting: Acting, wanted: NewDomain) -> Domain:
    if not DOMAIN_NAME.match(wanted.name):
        raise unprocessable("Name does not comply with RFC 1035 standards")
    owner = None
    if wanted.relationships and wanted.relationships.organization:
        owner = acting.into(
            Organization,
            wanted.relationships.organization.guid,
            rule=changed_in_organization("guid"),
        )
    else:
        acting.must_be_admin()
    if acting.tx.first(Domain, name=wanted.name):
        raise unprocessable(f'The domain name "{wanted.name}" is already in use')
    return acting.tx.new(
        Domain,
        name=wanted.name,
        internal=bool(wanted.internal),
        organization_guid=owner.guid if owner else None,
        **new_labels(wanted),
    )
