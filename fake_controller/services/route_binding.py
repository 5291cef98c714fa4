"""Which routes may be bound to which service instances, and whom a change of that concerns."""

from __future__ import annotations

from typing import Any

from fake_controller.errors import CloudError, unprocessable
from fake_controller.model import (
    Destination,
    Domain,
    Route,
    ServiceInstance,
    ServiceRouteBinding,
)
from fake_controller.services.instances import operation
from fake_controller.store import Tx


def bind_route(
    tx: Tx, route: Route, instance: ServiceInstance, **values: Any
) -> ServiceRouteBinding:
    """Let requests of *route* go through *instance*; *values* are labels and annotations.

    Raises:
      CloudError: 422 in Cloud Controller's words.
    """
    if not instance.route_service_url:
        raise unprocessable("This service instance does not support route binding")
    if tx.need(Domain, route.domain_guid).internal:
        raise unprocessable("Route services cannot be bound to internal routes")
    if route.space_guid != instance.space_guid:
        raise unprocessable("The service instance and the route are in different spaces")
    if existing := tx.first(ServiceRouteBinding, route_guid=route.guid):
        if existing.service_instance_guid == instance.guid:
            raise already_bound()
        raise unprocessable("A route may only be bound to a single service instance")
    return tx.new(
        ServiceRouteBinding,
        route_guid=route.guid,
        service_instance_guid=instance.guid,
        route_service_url=instance.route_service_url,
        last_operation=operation(tx, "create"),
        **values,
    )


def already_bound() -> CloudError:
    """422; the CLI takes it for done."""
    return CloudError(
        422,
        130008,
        "CF-ServiceInstanceAlreadyBoundToSameRoute",
        "The route and service instance are already bound.",
    )


def follow_url(tx: Tx, instance: ServiceInstance) -> set[str]:
    """Let the bindings of *instance* have its URL; the apps whose routes that concerns.

    Without a URL nothing can be bound to it: its bindings go.
    """
    bindings = tx.find(ServiceRouteBinding, service_instance_guid=instance.guid)
    changed = [one for one in bindings if one.route_service_url != instance.route_service_url]
    for one in changed:
        if instance.route_service_url:
            tx.change(one, route_service_url=instance.route_service_url)
        else:
            tx.delete(one)
    return apps_behind(tx, changed)


def apps_behind(tx: Tx, bindings: list[ServiceRouteBinding]) -> set[str]:
    """The guids of apps that the routes of *bindings* lead to."""
    routes = [one.route_guid for one in bindings]
    return {one.app_guid for one in tx.find(Destination, route_guid=routes)}
