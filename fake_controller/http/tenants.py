"""Organizations, spaces, domains and users."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from quart import Response

from fake_controller import present
from fake_controller.errors import missing, unprocessable
from fake_controller.http.api import Api, Listing
from fake_controller.http.relations import ToOne
from fake_controller.model import Domain, Organization, Space, User
from fake_controller.store import Tx

ORGANIZATIONS = Listing(
    kind=Organization,
    filters={"names": "name", "guids": "guid"},
    present=lambda record, base, _: present.organization(record, base),
)
SPACES = Listing(
    kind=Space,
    filters={"names": "name", "guids": "guid", "organization_guids": "organization_guid"},
    present=lambda record, base, _: present.space(record, base),
)
DOMAINS = Listing(
    kind=Domain,
    filters={"names": "name", "guids": "guid", "organization_guids": "organization_guid"},
    present=lambda record, base, _: present.domain(record, base),
)
USERS = Listing(
    kind=User,
    filters={"usernames": "username", "guids": "guid", "origins": "origin"},
    present=lambda record, base, _: present.user(record, base),
)
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
DOMAIN_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})+\Z")


class NewOrganization(msgspec.Struct):
    name: str
    suspended: bool | None = None


class NewSpaceRelationships(msgspec.Struct):
    organization: ToOne


class NewSpace(msgspec.Struct):
    name: str
    relationships: NewSpaceRelationships


class NewDomain(msgspec.Struct):
    name: str
    internal: bool | None = None
    relationships: dict[str, Any] | None = None


def routes(api: Api) -> None:
    """Lists, single ones, and the creation of organizations, spaces and shared domains."""

    @api.get("/v3/organizations")
    async def organizations() -> Response:
        return await api.listed(ORGANIZATIONS)

    @api.get("/v3/organizations/<guid>")
    async def organization(guid: str) -> Response:
        return await api.show(ORGANIZATIONS, guid)

    @api.post("/v3/organizations")
    async def create_organization() -> Response:
        api.writer()
        wanted = await api.body(NewOrganization)

        def work(tx: Tx) -> Organization:
            if any(o.name.lower() == wanted.name.lower() for o in tx.find(Organization)):
                raise unprocessable(f"Organization '{wanted.name}' already exists.")
            return tx.new(Organization, name=wanted.name, suspended=bool(wanted.suspended))

        created = await api.cc.store.write(work)
        return await api.show(ORGANIZATIONS, created.guid, 201)

    @api.get("/v3/spaces")
    async def spaces() -> Response:
        return await api.listed(SPACES)

    @api.get("/v3/spaces/<guid>")
    async def space(guid: str) -> Response:
        return await api.show(SPACES, guid)

    @api.post("/v3/spaces")
    async def create_space() -> Response:
        api.writer()
        wanted = await api.body(NewSpace)
        parent = wanted.relationships.organization.guid

        def work(tx: Tx) -> Space:
            if tx.get(Organization, parent) is None:
                raise unprocessable(
                    "Invalid organization. Ensure the organization exists and you have access "
                    "to it."
                )
            if tx.first(Space, organization_guid=parent, name=wanted.name):
                raise unprocessable("Name must be unique per organization")
            return tx.new(Space, name=wanted.name, organization_guid=parent)

        created = await api.cc.store.write(work)
        return await api.show(SPACES, created.guid, 201)

    @api.get("/v3/domains")
    async def domains() -> Response:
        return await api.listed(DOMAINS)

    @api.get("/v3/domains/<guid>")
    async def domain(guid: str) -> Response:
        return await api.show(DOMAINS, guid)

    @api.post("/v3/domains")
    async def create_domain() -> Response:
        api.writer()
        wanted = await api.body(NewDomain)
        if not DOMAIN_NAME.match(wanted.name):
            raise unprocessable("Name does not comply with RFC 1035 standards")

        def work(tx: Tx) -> Domain:
            if tx.first(Domain, name=wanted.name):
                raise unprocessable(f'The domain name "{wanted.name}" is already in use')
            owner = ((wanted.relationships or {}).get("organization") or {}).get("data") or {}
            return tx.new(
                Domain,
                name=wanted.name,
                internal=bool(wanted.internal),
                organization_guid=owner.get("guid"),
            )

        created = await api.cc.store.write(work)
        return await api.show(DOMAINS, created.guid, 201)

    @api.get("/v3/organizations/<guid>/domains")
    async def organization_domains(guid: str) -> Response:
        await api.cc.store.get(Organization, guid)
        return await api.listed(DOMAINS)

    @api.get("/v3/organizations/<guid>/domains/default")
    async def default_domain(guid: str) -> Response:
        api.identity()
        await api.cc.store.get(Organization, guid)
        shared = await api.cc.store.find(Domain, organization_guid=None, limit=1)
        if not shared:
            raise missing("Domain")
        return await api.show(DOMAINS, shared[0].guid)

    @api.get("/v3/users")
    async def users() -> Response:
        return await api.listed(USERS)
