"""Routes and their destinations: the names that the router answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from quart import Response

from fake_controller import deleting, present
from fake_controller.access import SUPPORTERS, changed_in_space
from fake_controller.acting import Acting
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.domains import DOMAINS
from fake_controller.http.listing import Listing
from fake_controller.http.organizations import ORGANIZATIONS
from fake_controller.http.relations import Metadata, ToOne, new_labels, plain, relabelled
from fake_controller.http.spaces import SPACES
from fake_controller.model import App, Destination, Domain, Route, Space
from fake_controller.route_options import changed_options
from fake_controller.store import Tx

HOST = re.compile(r"(\*|[A-Za-z0-9_-]{1,63})?\Z")
APP_PORT = 8080  # of every buildpack app, whatever its PORT is here
PATH = re.compile(r"(/[^?#\s]{1,127})?\Z")


def _gather(tx: Tx, records: Sequence[Route]) -> tuple[dict[str, str], dict[str, Any]]:
    domains = {d.guid: d.name for d in tx.find(Domain, guid=[r.domain_guid for r in records])}
    found: dict[str, list[Destination]] = {}
    for one in tx.find(Destination, route_guid=[r.guid for r in records]):
        found.setdefault(one.route_guid, []).append(one)
    return domains, found


ROUTES = Listing(
    kind=Route,
    filters={
        "guids": "guid",
        "hosts": "host",
        "paths": "path",
        "domain_guids": "domain_guid",
        "space_guids": "space_guid",
        "organization_guids": "space.organization_guid",
        "app_guids": "destinations[route_guid].app_guid",
        "ports": "port",
    },
    includes={"domain": DOMAINS, "space": SPACES, "space.organization": ORGANIZATIONS},
    gather=_gather,
    present=lambda record, base, gathered: present.route(
        record, base, gathered[0], gathered[1].get(record.guid, [])
    ),
)


class OfSpaceAndDomain(msgspec.Struct):
    space: ToOne
    domain: ToOne


class NewRoute(msgspec.Struct):
    relationships: OfSpaceAndDomain
    host: str | None = None
    path: str | None = None
    port: int | None = None
    options: dict[str, str | float | None] | None = None
    metadata: Metadata | None = None


class ChangedRoute(msgspec.Struct):
    options: dict[str, str | float | None] | None = None
    metadata: Metadata | None = None


class DestinationProcess(msgspec.Struct):
    type: str = "web"


class DestinationApp(msgspec.Struct):
    guid: str
    process: DestinationProcess | None = None


class NewDestination(msgspec.Struct):
    app: DestinationApp
    port: int | None = None
    protocol: str | None = None
    weight: int | None = None


class NewDestinations(msgspec.Struct):
    destinations: list[NewDestination]


def routes(api: Api) -> None:
    """``/v3/routes``."""
    cc, runner = api.cc, api.workers.runner

    api.lists("/v3/routes", ROUTES)
    api.shows("/v3/routes/<guid>", ROUTES)
    api.lists("/v3/apps/<guid>/routes", ROUTES, below=App, by="destinations[route_guid].app_guid")

    @api.post("/v3/routes", body=NewRoute)
    async def create(wanted: NewRoute) -> Response:
        created = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(ROUTES, created.guid, 201)

    @api.patch("/v3/routes/<guid>", body=ChangedRoute)
    async def change(guid: str, wanted: ChangedRoute) -> Response:
        def work(acting: Acting) -> set[str]:
            route = acting.change(Route, guid)
            options = changed_options(route.options, wanted.options or {})
            acting.tx.change(route, options=options, **relabelled(route, wanted))
            acting.audit("audit.route.update", route, {"request": plain(wanted)})
            led_to = acting.tx.find(Destination, route_guid=guid)
            return {one.app_guid for one in led_to if options != route.options}

        for app in await api.write(work):
            await runner.update_routes(app)
        return await api.show(ROUTES, guid)

    @api.delete("/v3/routes/<guid>")
    async def delete(guid: str) -> Response:
        def work(acting: Acting) -> None:
            acting.audit("audit.route.delete-request", acting.change(Route, guid))

        await api.write(work)
        return api.accepted(
            await cc.start_job("route.delete", lambda: deleting.delete_route(cc, runner, guid))
        )

    @api.get("/v3/routes/<guid>/destinations")
    async def destinations(guid: str) -> Response:
        return await _destinations(api, guid)

    @api.post("/v3/routes/<guid>/destinations", body=NewDestinations)
    async def add(guid: str, wanted: NewDestinations) -> Response:
        def work(acting: Acting) -> None:
            route = acting.change(Route, guid)
            for number, one in enumerate(wanted.destinations):
                check_destination(number, one)
                _add(acting, route, one)

        await api.write(work)
        for one in wanted.destinations:
            await runner.update_routes(one.app.guid)
        return await _destinations(api, guid)

    @api.delete("/v3/routes/<guid>/destinations/<destination>")
    async def remove(guid: str, destination: str) -> Response:
        def work(acting: Acting) -> str:
            route = acting.change(Route, guid)
            one = acting.tx.get(Destination, destination)
            if one is None or one.route_guid != guid:
                raise unprocessable("Unable to unmap route from destination. Ensure the route "
                                    "has a destination with this guid.")  # fmt: skip
            acting.tx.delete(one)
            if app := acting.tx.get(App, one.app_guid):
                acting.audit("audit.app.unmap-route", app, {"route_guid": route.guid})
            return one.app_guid

        await runner.update_routes(await api.write(work))
        return Response("", status=204)


def _create(acting: Acting, wanted: NewRoute) -> Route:
    acting.need_enabled("route_creation")
    tx, related = acting.tx, wanted.relationships
    space = acting.into(Space, related.space.guid, rule=changed_in_space("guid", SUPPORTERS))
    domain = acting.named(Domain, related.domain.guid)
    host, path = (wanted.host or "").lower(), wanted.path or ""
    check_name(host, path, domain)
    if tx.first(Route, host=host, domain_guid=domain.guid, path=path):
        also = f" and path '{path}'" if path else ""
        raise unprocessable(
            f"Route already exists with host '{host}'{also} for domain '{domain.name}'."
        )
    route = tx.new(
        Route,
        space_guid=space.guid,
        domain_guid=domain.guid,
        host=host,
        path=path,
        options=changed_options({}, wanted.options or {}),
        **new_labels(wanted),
    )
    acting.audit("audit.route.create", route, {"request": plain(wanted)})
    return route


def check_name(host: str, path: str, domain: Domain) -> None:
    """What a route may be called."""
    if not host and domain.organization_guid is None:
        raise unprocessable("Missing host. Routes in shared domains must have a host defined.")
    if not HOST.match(host):
        raise unprocessable(
            'Host must be either "*" or contain only alphanumeric characters, "_", or "-"'
        )
    if not PATH.match(path):
        raise unprocessable("Path must begin with / and be at most 128 characters long")


def check_destination(number: int, wanted: NewDestination) -> None:
    """Refuse what the router could not do for the *number*-th destination of a request."""
    if wanted.weight is not None:
        why = "weighted destinations can only be used when replacing all destinations."
    elif wanted.port not in (None, APP_PORT):
        why = f"port must be {APP_PORT}, which leads to the app's PORT: it has no other."
    elif wanted.protocol not in (None, "http1"):
        why = "protocol must be 'http1': the router speaks nothing else with apps."
    else:
        return
    raise unprocessable(f"Destinations[{number}]: {why}")


def _add(acting: Acting, route: Route, wanted: NewDestination) -> None:
    tx, app = acting.tx, acting.sees(App, wanted.app.guid)
    if app is None or app.space_guid != route.space_guid:
        raise unprocessable(
            f'App(s) with guid(s) "{wanted.app.guid}" do not exist or you do not have access.'
        )
    type_ = wanted.app.process.type if wanted.app.process else "web"
    if not tx.first(Destination, route_guid=route.guid, app_guid=app.guid, process_type=type_):
        tx.new(
            Destination,
            route_guid=route.guid,
            app_guid=app.guid,
            process_type=type_,
            port=wanted.port,
            weight=wanted.weight,
            protocol=wanted.protocol or "http1",
        )
        acting.audit("audit.app.map-route", app, {"route_guid": route.guid, "process_type": type_})


async def _destinations(api: Api, guid: str) -> Response:
    def look(acting: Acting) -> list[Destination]:
        acting.see(Route, guid)
        return acting.tx.find(Destination, route_guid=guid)

    found = await api.read(look)
    own = f"{api.base}/v3/routes/{guid}"
    links = {"self": {"href": f"{own}/destinations"}, "route": {"href": own}}
    return api.json({"destinations": [present.destination(one) for one in found], "links": links})
