"""The names that lead to a process, and what their routes ask of the router."""

from __future__ import annotations

from appliance.router.messages import RouteOptions, Routing
from fake_controller.model import Destination, Domain, Route, ServiceRouteBinding
from fake_controller.route_options import KNOWN
from fake_controller.store import Tx

PLAIN = Routing()


def routes_of(tx: Tx, app_guid: str, process_type: str) -> dict[str, Routing]:
    """What each route to a process type asks for, by its name: ``host.domain/path``."""
    destinations = tx.find(Destination, app_guid=app_guid, process_type=process_type)
    routes = tx.find(Route, guid=[one.route_guid for one in destinations])
    domains = tx.find(Domain, guid=sorted({route.domain_guid for route in routes}))
    names = {domain.guid: domain.name for domain in domains}
    services = _services(tx, routes)
    return {
        uri(route, names[route.domain_guid]): _routing(route, services.get(route.guid))
        for route in routes
    }


def uri(route: Route, domain: str) -> str:
    """A route's name as the router knows it."""
    return f"{route.host}.{domain}{route.path}".removeprefix(".")


def asking(routes: dict[str, Routing]) -> dict[str, Routing]:
    """Those of *routes* that ask for anything, as messages carry them."""
    return {name: routing for name, routing in routes.items() if routing != PLAIN}


def _services(tx: Tx, routes: list[Route]) -> dict[str, str | None]:
    """The service that requests of a route go through first, where there is one."""
    bindings = tx.find(ServiceRouteBinding, route_guid=[route.guid for route in routes])
    return {
        binding.route_guid: binding.route_service_url
        for binding in bindings
        if binding.last_operation.is_("create", "succeeded")
    }


def _routing(route: Route, service: str | None) -> Routing:
    known = {name: route.options[name] for name in KNOWN if name in route.options}
    options = RouteOptions(**known) if known else None
    return Routing(options=options, route_service_url=service)
