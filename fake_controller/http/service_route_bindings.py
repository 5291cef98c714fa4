"""Service route bindings: services that requests of a route go through."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Response

from fake_controller import present
from fake_controller.access import SUPPORTERS, changed_in_space
from fake_controller.acting import Acting
from fake_controller.errors import CloudError, unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.relations import Metadata, ToOne, new_labels, plain
from fake_controller.http.routes import ROUTES
from fake_controller.http.service_instances import SERVICE_INSTANCES
from fake_controller.model import Route, ServiceInstance, ServiceRouteBinding
from fake_controller.services.route_binding import apps_behind, bind_route

BINDINGS = Listing(
    kind=ServiceRouteBinding,
    filters={
        "guids": "guid",
        "route_guids": "route_guid",
        "service_instance_guids": "service_instance_guid",
        "service_instance_names": "service_instance.name",
    },
    includes={"route": ROUTES, "service_instance": SERVICE_INSTANCES},
    present=lambda record, base, _: present.service_route_binding(record, base),
)
BINDS = changed_in_space("space_guid", SUPPORTERS)


class OfRouteAndInstance(msgspec.Struct):
    route: ToOne
    service_instance: ToOne


class NewRouteBinding(msgspec.Struct):
    relationships: OfRouteAndInstance
    parameters: dict[str, Any] | None = None
    metadata: Metadata | None = None


def routes(api: Api) -> None:
    """``/v3/service_route_bindings``."""
    path, runner = "/v3/service_route_bindings", api.workers.runner
    api.lists(path, BINDINGS)
    api.shows(f"{path}/<guid>", BINDINGS)
    api.labels(f"{path}/<guid>", BINDINGS)

    @api.post(path, body=NewRouteBinding)
    async def create(wanted: NewRouteBinding) -> Response:
        made, apps = await api.write(lambda acting: _create(acting, wanted))
        for app in apps:
            await runner.update_routes(app)
        return await api.show(BINDINGS, made.guid, 201)

    @api.delete(f"{path}/<guid>")
    async def delete(guid: str) -> Response:
        def work(acting: Acting) -> set[str]:
            found = acting.change(ServiceRouteBinding, guid)
            route = acting.tx.get(Route, found.route_guid)
            acting.audit("audit.service_route_binding.delete", found, within=route)
            apps = apps_behind(acting.tx, [found])
            acting.tx.delete(found)
            return apps

        for app in await api.write(work):
            await runner.update_routes(app)
        return Response("", status=204)

    @api.get(f"{path}/<guid>/parameters")
    async def parameters(guid: str) -> Response:
        await api.read(lambda acting: acting.change(ServiceRouteBinding, guid))
        raise CloudError(
            400,
            1004,
            "CF-BadRequest",
            "Bad request: user provided service instances do not support fetching route "
            "bindings parameters.",
        )


def _create(acting: Acting, wanted: NewRouteBinding) -> tuple[ServiceRouteBinding, set[str]]:
    related = wanted.relationships
    instance = acting.sees(ServiceInstance, related.service_instance.guid)
    if instance is None:
        raise unprocessable(
            f"The service instance could not be found: {related.service_instance.guid}"
        )
    acting.change(ServiceInstance, instance.guid, rule=BINDS)
    route = acting.sees(Route, related.route.guid)
    if route is None:
        raise unprocessable(f"The route could not be found: {related.route.guid}")
    if wanted.parameters is not None:
        raise unprocessable(
            "Binding parameters are not supported for user-provided service instances"
        )
    made = bind_route(acting.tx, route, instance, **new_labels(wanted))
    acting.audit(
        "audit.service_route_binding.create", made, {"request": plain(wanted)}, within=route
    )
    return made, apps_behind(acting.tx, [made])
