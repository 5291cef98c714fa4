"""Service route bindings: requests of a route go through a service first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from quart import Response

from fake_controller import present
from fake_controller.access import SUPPORTERS, changed_in_space
from fake_controller.acting import Acting
from fake_controller.errors import bad_request, unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.relations import Labels, Metadata, ToOne, new_labels, plain, relabelled
from fake_controller.http.routes import ROUTES
from fake_controller.http.service_instances import SERVICE_INSTANCES, asked
from fake_controller.model import (
    UNFINISHED,
    Route,
    ServiceErrand,
    ServiceInstance,
    ServiceRouteBinding,
)
from fake_controller.services.binding import Begun, check_made, check_unbinding
from fake_controller.services.brokers import client_of
from fake_controller.services.places import Place, place_of
from fake_controller.services.promises import promise_unbind
from fake_controller.services.route_binding import bind_route
from fake_controller.store import Tx


def _managed(tx: Tx, records: Sequence[ServiceRouteBinding]) -> set[str]:
    """The guids of those instances that brokers have."""
    return {one.guid for one in tx.follow(records, "service_instance") if one.managed}


ROUTE_BINDINGS = Listing(
    kind=ServiceRouteBinding,
    filters={
        "guids": "guid",
        "route_guids": "route_guid",
        "service_instance_guids": "service_instance_guid",
        "service_instance_names": "service_instance.name",
    },
    includes={"route": ROUTES, "service_instance": SERVICE_INSTANCES},
    gather=_managed,
    present=lambda record, base, managed: present.service_route_binding(
        record, base, record.service_instance_guid in managed
    ),
)
BINDS = changed_in_space("route.space_guid", SUPPORTERS)


class OfInstanceAndRoute(msgspec.Struct):
    service_instance: ToOne
    route: ToOne


class NewRouteBinding(msgspec.Struct):
    relationships: OfInstanceAndRoute
    parameters: dict[str, Any] | None = None
    metadata: Metadata | None = None


def routes(api: Api) -> None:
    """``/v3/service_route_bindings``."""
    path, cc = "/v3/service_route_bindings", api.cc
    api.lists(path, ROUTE_BINDINGS)
    api.shows(f"{path}/<guid>", ROUTE_BINDINGS)

    @api.patch(f"{path}/<guid>", body=Labels)
    async def label(guid: str, wanted: Labels) -> Response:
        def work(acting: Acting) -> None:
            found = acting.change(ServiceRouteBinding, guid)
            if found.last_operation.is_("delete", *UNFINISHED):
                raise unprocessable("The service route binding is being deleted")
            changed = acting.tx.change(found, **relabelled(found, wanted))
            data = {"request": plain(wanted)}
            acting.audit("audit.service_route_binding.update", changed, data)

        await api.write(work)
        return await api.show(ROUTE_BINDINGS, guid)

    @api.post(path, body=NewRouteBinding)
    async def create(wanted: NewRouteBinding) -> Response:
        begun = await api.write(lambda acting: _create(acting, wanted))
        cc.operator.begin(begun.leftovers)
        if begun.errand is not None:
            return api.accepted(await cc.operator.start(begun.errand))
        await cc.operator.reroute([wanted.relationships.route.guid])
        return await api.show(ROUTE_BINDINGS, begun.binding.guid, 201)

    @api.delete(f"{path}/<guid>")
    async def delete(guid: str) -> Response:
        route, errand = await api.write(lambda acting: _delete(acting, guid))
        if errand is not None:
            return api.accepted(await cc.operator.start(errand))
        await cc.operator.reroute([route])
        return Response("", status=204)

    @api.get(f"{path}/<guid>/parameters")
    async def parameters(guid: str) -> Response:
        place = await api.read(lambda acting: _asked_about(acting, guid))
        broker = client_of(api.cc, place.broker, api.identity().guid)
        return api.json((await broker.binding(place.instance.guid, guid)).parameters or {})


def _create(acting: Acting, wanted: NewRouteBinding) -> Begun:
    related = wanted.relationships
    instance = acting.sees(ServiceInstance, related.service_instance.guid)
    if instance is None:
        guid = related.service_instance.guid
        raise unprocessable(f"The service instance could not be found: {guid}")
    rule = changed_in_space("space_guid", SUPPORTERS)
    acting.change(ServiceInstance, instance.guid, rule=rule)
    route = acting.sees(Route, related.route.guid)
    if route is None:
        raise unprocessable(f"The route could not be found: {related.route.guid}")
    return bind_route(
        acting,
        route,
        instance,
        parameters=wanted.parameters,
        request=asked(wanted),
        **new_labels(wanted),
    )


def _delete(acting: Acting, guid: str) -> tuple[str, ServiceErrand | None]:
    """The route, and the errand that is to be run before it is let go."""
    found = acting.change(ServiceRouteBinding, guid, rule=BINDS)
    instance = check_unbinding(acting.tx, found)
    if instance.managed:
        job = "service_route_bindings.delete"
        return found.route_guid, promise_unbind(acting.tx, found, acting.actor, job=job)
    related = {
        "route_guid": found.route_guid,
        "service_instance_guid": found.service_instance_guid,
    }
    acting.audit("audit.service_route_binding.delete", found, {"request": related})
    acting.tx.delete(found)
    return found.route_guid, None


def _asked_about(acting: Acting, guid: str) -> Place:
    found = acting.see(ServiceRouteBinding, guid)
    check_made(found, "route binding")
    acting.change(ServiceRouteBinding, guid)
    instance = acting.tx.need(ServiceInstance, found.service_instance_guid)
    text = "does not support fetching route bindings parameters."
    if not instance.managed:
        raise bad_request(
            "user provided service instances do not support fetching route bindings parameters."
        )
    place = place_of(acting.tx, instance)
    if not place.offering.bindings_retrievable:
        raise bad_request(f"this service {text}")
    return place
