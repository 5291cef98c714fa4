"""All that a manifest can say of some apps, read from the records."""

from __future__ import annotations

from collections.abc import Sequence

from fake_controller.manifest.generate import RouteOfApp, WholeApp
from fake_controller.model import (
    App,
    Destination,
    Domain,
    Process,
    Route,
    ServiceCredentialBinding,
    ServiceInstance,
    Sidecar,
)
from fake_controller.naming import uri
from fake_controller.store import Tx


def whole_apps(tx: Tx, apps: Sequence[App]) -> list[WholeApp]:
    """*apps* with what belongs to them, in as many queries whatever their number."""
    guids = [app.guid for app in apps]
    destinations = tx.find(Destination, app_guid=guids)
    routes = {one.guid: one for one in tx.find(Route, guid=[d.route_guid for d in destinations])}
    domains = {
        one.guid: one.name
        for one in tx.find(Domain, guid=[route.domain_guid for route in routes.values()])
    }
    processes = tx.find(Process, app_guid=guids)
    sidecars = tx.find(Sidecar, app_guid=guids)
    bindings = tx.find(ServiceCredentialBinding, app_guid=guids, type="app")
    services = {
        one.guid: one.name
        for one in tx.find(ServiceInstance, guid={b.service_instance_guid for b in bindings})
    }
    return [
        WholeApp(
            app=app,
            # Of two of a type, during a deployment, the newest.
            processes=list({p.type: p for p in processes if p.app_guid == app.guid}.values()),
            routes=[
                _route(routes[one.route_guid], domains, one)
                for one in destinations
                if one.app_guid == app.guid
            ],
            sidecars=[one for one in sidecars if one.app_guid == app.guid],
            services=sorted(
                {services[b.service_instance_guid] for b in bindings if b.app_guid == app.guid}
            ),
        )
        for app in apps
    ]


def _route(route: Route, domains: dict[str, str], destination: Destination) -> RouteOfApp:
    name = uri(route, domains[route.domain_guid])
    return RouteOfApp(url=name, protocol=destination.protocol, options=route.options)
