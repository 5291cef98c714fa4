"""Which routes may go through which services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fake_controller.acting import Acting
from fake_controller.errors import CloudError, unprocessable
from fake_controller.model import Domain, Route, ServiceInstance, ServiceRouteBinding
from fake_controller.services.binding import Begun, make_room
from fake_controller.services.instances import operation
from fake_controller.services.places import place_of
from fake_controller.services.promises import promise
from fake_controller.store import Tx


def bind_route(
    acting: Acting,
    route: Route,
    instance: ServiceInstance,
    *,
    parameters: dict[str, Any] | None = None,
    request: Mapping[str, Any],
    **labels: Any,
) -> Begun:
    """Let requests of *route* go through *instance*: at once, or when the errand has been run.

    Raises:
      CloudError: 422, with the reason.
    """
    tx = acting.tx
    if not instance.managed and parameters is not None:
        raise unprocessable(
            "Binding parameters are not supported for user-provided service instances"
        )
    _check_instance(tx, route, instance)
    known = tx.find(ServiceRouteBinding, route_guid=route.guid)
    if any(one.service_instance_guid != instance.guid for one in known):
        raise unprocessable("A route may only be bound to a single service instance")
    for one in known:
        if one.last_operation.type == "delete":
            raise unprocessable("The binding is getting deleted or its deletion failed")
        if not one.last_operation.is_("create", "failed"):
            text = "The route and service instance are already bound."
            raise CloudError(422, 130008, "CF-ServiceInstanceAlreadyBoundToSameRoute", text)
    if instance.managed and instance.last_operation.is_("create", "failed"):
        raise unprocessable("Service instance not found")
    if instance.last_operation.unfinished:
        raise unprocessable("There is an operation in progress for the service instance")
    leftovers = make_room(tx, known, acting.actor)
    made = tx.new(
        ServiceRouteBinding,
        route_guid=route.guid,
        service_instance_guid=instance.guid,
        route_service_url=instance.route_service_url,
        last_operation=operation(tx, "create", "initial" if instance.managed else "succeeded"),
        **labels,
    )
    if not instance.managed:
        acting.audit("audit.service_route_binding.create", made, {"request": dict(request)})
        return Begun(binding=made)
    return Begun(
        binding=made,
        errand=promise(
            tx,
            "bind",
            made.guid,
            acting.actor,
            job="service_route_bindings.create",
            parameters=parameters,
            request=dict(request),
        ),
        leftovers=leftovers,
    )


def _check_instance(tx: Tx, route: Route, instance: ServiceInstance) -> None:
    """Raises 422 unless *instance* is a service for routes, and for this one."""
    if instance.managed:
        place = place_of(tx, instance)
        if "route_forwarding" not in place.offering.requires:
            raise unprocessable("This service instance does not support route binding")
        if not place.bindable:
            raise unprocessable("This service instance does not support binding")
    elif not instance.route_service_url:
        raise unprocessable("This service instance does not support route binding")
    if tx.need(Domain, route.domain_guid).internal:
        raise unprocessable("Route services cannot be bound to internal routes")
    if route.space_guid != instance.space_guid:
        raise unprocessable("The service instance and the route are in different spaces")
