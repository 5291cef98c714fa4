"""Private domains that other organizations may use, too."""

from __future__ import annotations

from typing import Any

from quart import Response

from fake_controller.access import changed_in_organization
from fake_controller.acting import Acting
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.relations import ToMany
from fake_controller.model import Domain, DomainShare, Organization, Route
from fake_controller.present.shape import to_many

MANAGES = changed_in_organization("guid")


def routes(api: Api) -> None:
    """``/v3/domains/:guid/relationships/shared_organizations``."""
    path = "/v3/domains/<guid>/relationships/shared_organizations"

    @api.post(path, body=ToMany)
    async def share(guid: str, wanted: ToMany) -> Response:
        def work(acting: Acting) -> dict[str, Any]:
            domain = acting.change(Domain, guid)
            if domain.organization_guid is None:
                raise unprocessable(
                    "Domains cannot be shared with other organizations unless they are scoped to "
                    "an organization."
                )
            for other in organizations_to_share(acting, domain, wanted.guids):
                if not acting.tx.first(DomainShare, domain_guid=guid, organization_guid=other):
                    acting.tx.new(DomainShare, domain_guid=guid, organization_guid=other)
            shares = acting.those_of(DomainShare, "domain_guid", [domain])[guid]
            return to_many(one.organization_guid for one in shares)

        return api.json(await api.write(work))

    @api.delete(f"{path}/<organization>")
    async def unshare(guid: str, organization: str) -> Response:
        await api.write(lambda acting: _unshare(acting, guid, organization))
        return Response("", status=204)


def organizations_to_share(acting: Acting, domain: Domain, guids: list[str]) -> list[str]:
    """*guids*, which are of organizations that they may give *domain* to.

    Raises:
      CloudError: 422 with the organization that is the problem.
    """
    for guid in guids:
        organization = acting.sees(Organization, guid)
        if organization is None:
            raise unprocessable(
                f"Organization with guid '{guid}' does not exist, or you do not have access to it."
            )
        if guid == domain.organization_guid:
            raise unprocessable("Domain cannot be shared with owning organization.")
        if organization.suspended and not acting.identity.admin:
            raise unprocessable(f"Organization '{organization.name}' is suspended.")
        if not acting.may(Organization, guid, MANAGES):
            raise unprocessable(
                "You do not have sufficient permissions for organization "
                f"'{organization.name}' to share domain."
            )
    return guids


def _unshare(acting: Acting, guid: str, other: str) -> None:
    """Either side may end it."""
    tx, domain = acting.tx, acting.see(Domain, guid)
    organization = acting.sees(Organization, other)
    if organization is None:
        raise unprocessable(
            f"Organization with guid '{other}' does not exist or you do not have access to it."
        )
    if not acting.may(Organization, domain.organization_guid, MANAGES):
        acting.change(Organization, other, rule=MANAGES)
    share = tx.first(DomainShare, domain_guid=guid, organization_guid=other)
    if share is None:
        raise unprocessable(
            f"Unable to unshare domain from organization with name '{organization.name}'. Ensure "
            "the domain is shared to this organization."
        )
    if any(
        space.organization_guid == other
        for space in tx.follow(tx.find(Route, domain_guid=guid), "space")
    ):
        raise unprocessable(
            "This domain has associated routes in this organization. Delete the routes before "
            "unsharing."
        )
    tx.delete(share)
