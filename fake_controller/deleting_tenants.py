"""Deleting spaces and organizations: everything in them goes, too."""

from __future__ import annotations

from appliance.kernel.errors import ApplianceError
from fake_controller.conditions import exists, is_
from fake_controller.controller import Controller
from fake_controller.deleting import delete_app, delete_instances, delete_route
from fake_controller.errors import CloudError
from fake_controller.model import (
    App,
    Domain,
    DomainShare,
    Entitlement,
    Organization,
    Role,
    Route,
    SecurityGroupBinding,
    ServiceBroker,
    ServiceInstance,
    ServiceInstanceShare,
    ServicePlanVisibility,
    Space,
    SpaceQuota,
)
from fake_controller.running import Runner
from fake_controller.services.brokers import delete_broker
from fake_controller.store import Tx

#: What goes with a space, besides apps, routes and service instances.
OF_A_SPACE = (Role, ServiceInstanceShare, SecurityGroupBinding)
OF_AN_ORGANIZATION = (
    Role,
    SpaceQuota,
    Domain,
    DomainShare,
    Entitlement,
    ServicePlanVisibility,
)


async def delete_space(cc: Controller, runner: Runner, guid: str) -> None:
    """Delete the space and everything in it.

    Raises:
      CloudError: something in it could not be deleted; the rest is left as it is.
    """
    while True:
        apps = [app.guid for app in await cc.store.find(App, space_guid=guid)]
        routes = [route.guid for route in await cc.store.find(Route, space_guid=guid)]
        for app in apps:
            await delete_app(cc, runner, app)
        for route in routes:
            await delete_route(cc, runner, route)
        await delete_instances(cc, is_("space_guid", guid))
        if await cc.store.write(lambda tx: _forget_space(tx, guid)):
            return


def _forget_space(tx: Tx, guid: str) -> bool:
    """Whether it is gone: not yet, when somebody has made something there meanwhile."""
    if any(tx.first(kind, space_guid=guid) for kind in (App, Route, ServiceInstance)):
        return False
    for broker in tx.find(ServiceBroker, space_guid=guid):
        delete_broker(tx, broker.guid)
    for kind in OF_A_SPACE:
        for record in tx.find(kind, space_guid=guid):
            tx.delete(record)
    if space := tx.get(Space, guid):
        tx.delete(space)
    return True


async def delete_organization(cc: Controller, runner: Runner, guid: str) -> None:
    """Delete the organization, its spaces and its domains.

    Raises:
      CloudError: something in it could not be deleted, and which.
    """
    organization = await cc.store.get(Organization, guid)
    while True:
        for space in await cc.store.find(Space, organization_guid=guid):
            try:
                await delete_space(cc, runner, space.guid)
            except ApplianceError as error:
                raise deletion_failed(organization, str(error)) from error
        if await cc.store.write(lambda tx: _forget_organization(tx, organization)):
            return


def _forget_organization(tx: Tx, organization: Organization) -> bool:
    guid = organization.guid
    if tx.first(Space, organization_guid=guid):
        return False
    for domain in tx.find(Domain, organization_guid=guid):
        if tx.first(DomainShare, domain_guid=domain.guid):
            raise deletion_failed(
                organization,
                f"Domain '{domain.name}' is shared with other organizations. Unshare before "
                "deleting.",
            )
    for kind in OF_AN_ORGANIZATION:
        for record in tx.find(kind, organization_guid=guid):
            tx.delete(record)
    tx.delete(organization)
    return True


def deletion_failed(where: Organization | Space, why: str) -> CloudError:
    """What a job says when something in *where* cannot be deleted."""
    noun = type(where).noun().lower()
    number = 290010 if isinstance(where, Organization) else 290008
    return CloudError(
        502,
        number,
        f"CF-{type(where).__name__}DeletionFailed",
        f"Deletion of {noun} {where.name} failed because one or more resources within could not "
        f"be deleted.\n\n{why}",
    )


async def delete_unmapped_routes(cc: Controller, runner: Runner, space_guid: str) -> None:
    """Delete the routes of a space that lead to no app."""
    unmapped = ~exists("destinations[route_guid]")
    for route in await cc.store.find(Route, unmapped, space_guid=space_guid):
        await delete_route(cc, runner, route.guid)
