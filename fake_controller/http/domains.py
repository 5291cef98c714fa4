"""Domains: the part of a route's name after its host."""

from __future__ import annotations

import msgspec
from quart import Response

from fake_controller import deleting, present
from fake_controller.access import changed_in_organization
from fake_controller.acting import Acting
from fake_controller.consumption import check_domain
from fake_controller.domains import check_form, check_is_free, usable_in
from fake_controller.errors import CloudError, missing, unprocessable
from fake_controller.http.api import Api
from fake_controller.http.domain_sharing import organizations_to_share
from fake_controller.http.listing import Listing
from fake_controller.http.relations import Guid, Metadata, ToMany, ToOne, new_labels
from fake_controller.model import Domain, DomainShare, Organization
from fake_controller.store import Tx

DOMAINS = Listing(
    kind=Domain,
    filters={"names": "name", "guids": "guid", "organization_guids": "organization_guid"},
    gather_for=lambda acting, records: acting.those_of(DomainShare, "domain_guid", records),
    present=lambda record, base, shares: present.domain(
        record, base, [one.organization_guid for one in shares[record.guid]]
    ),
)


class OfOrganization(msgspec.Struct):
    organization: ToOne | None = None
    shared_organizations: ToMany | None = None


class NewDomain(msgspec.Struct):
    name: str
    internal: bool | None = None
    router_group: Guid | None = None
    relationships: OfOrganization | None = None
    metadata: Metadata | None = None


def routes(api: Api) -> None:
    """``/v3/domains``, and those that an organization may use."""
    cc, runner = api.cc, api.workers.runner
    api.lists("/v3/domains", DOMAINS)
    api.shows("/v3/domains/<guid>", DOMAINS)
    api.labels("/v3/domains/<guid>", DOMAINS)

    @api.post("/v3/domains", body=NewDomain)
    async def create(wanted: NewDomain) -> Response:
        created = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(DOMAINS, created.guid, 201)

    @api.delete("/v3/domains/<guid>")
    async def delete(guid: str) -> Response:
        def begin(acting: Acting) -> None:
            acting.change(Domain, guid)
            if acting.tx.first(DomainShare, domain_guid=guid):
                raise unprocessable(
                    "This domain is shared with other organizations. Unshare before deleting."
                )

        await api.write(begin)
        return api.accepted(
            await cc.start_job("domain.delete", lambda: deleting.delete_domain(cc, runner, guid))
        )

    @api.route("GET", "/v3/organizations/<guid>/domains", lists=DOMAINS)
    async def of_organization(guid: str) -> Response:
        await api.read(lambda acting: acting.see(Organization, guid))
        return await api.listed(DOMAINS, usable_in(guid))

    @api.get("/v3/organizations/<guid>/domains/default")
    async def default(guid: str) -> Response:
        def look(acting: Acting) -> Domain:
            acting.see(Organization, guid)
            found = default_domain(acting.tx, guid)
            if found is None:
                raise missing("Domain")
            return found

        return await api.show(DOMAINS, (await api.read(look)).guid)


def default_domain(tx: Tx, organization_guid: str) -> Domain | None:
    """The first shared one; without any, the first that the organization may use."""
    shared = tx.first(Domain, organization_guid=None, internal=False)
    return shared or tx.first(Domain, usable_in(organization_guid), internal=False)


def _create(acting: Acting, wanted: NewDomain) -> Domain:
    check_form(wanted.name)
    related = wanted.relationships
    if related and related.shared_organizations and not related.organization:
        raise unprocessable(
            "Relationships cannot contain shared_organizations without an owning organization."
        )
    owner = _owner(acting, related.organization.guid) if related and related.organization else None
    _check_kind(wanted, owner)
    if owner is None:
        acting.must_be_admin()
    check_is_free(acting.tx, wanted.name, owner.guid if owner else None)
    domain = acting.tx.new(
        Domain,
        name=wanted.name.lower(),
        internal=bool(wanted.internal),
        organization_guid=owner.guid if owner else None,
        **new_labels(wanted),
    )
    if owner is None:
        return domain
    check_domain(acting.tx, owner)
    if related and related.shared_organizations:
        for guid in organizations_to_share(acting, domain, related.shared_organizations.guids):
            acting.tx.new(DomainShare, domain_guid=domain.guid, organization_guid=guid)
    return domain


def _owner(acting: Acting, guid: str) -> Organization:
    if acting.sees(Organization, guid) is None:
        raise unprocessable(
            f"Organization with guid '{guid}' does not exist or you do not have access to it."
        )
    owner = acting.change(Organization, guid, rule=changed_in_organization("guid"))
    acting.need_enabled("private_domain_creation")
    return owner


def _check_kind(wanted: NewDomain, owner: Organization | None) -> None:
    if wanted.internal and owner:
        raise unprocessable("Cannot associate an internal domain with an organization")
    if wanted.internal and wanted.router_group:
        raise unprocessable("Internal domains cannot be associated to a router group.")
    if owner and wanted.router_group:
        raise unprocessable(
            "Domains scoped to an organization cannot be associated to a router group."
        )
    if wanted.router_group:
        raise CloudError(503, 10015, "CF-ServiceUnavailable", "The Routing API is disabled.")
