"""Routes and their destinations: the names that the router answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from quart import Response, request

from fake_controller import present
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api, Listing
from fake_controller.http.relations import ToOne
from fake_controller.model import App, Destination, Domain, Route, Space
from fake_controller.store import Tx

HOST = re.compile(r"(\*|[A-Za-z0-9_-]{1,63})?\Z")
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
    },
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
    options: dict[str, str] | None = None


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
    cc, runner = api.cc, api.runner

    @api.get("/v3/routes")
    async def list_routes() -> Response:
        if apps := request.args.get("app_guids"):
            found = await cc.store.find(Destination, app_guid=apps.split(","))
            guids = sorted({one.route_guid for one in found})
            return await api.listed(ROUTES, ignore=("app_guids", "organization_guids"), guid=guids)
        return await api.listed(ROUTES, ignore=("organization_guids", "ports"))

    @api.get("/v3/apps/<guid>/routes")
    async def app_routes(guid: str) -> Response:
        await cc.store.get(App, guid)
        found = await cc.store.find(Destination, app_guid=guid)
        return await api.listed(ROUTES, guid=sorted({one.route_guid for one in found}))

    @api.get("/v3/routes/<guid>")
    async def route(guid: str) -> Response:
        return await api.show(ROUTES, guid)

    @api.post("/v3/routes")
    async def create() -> Response:
        api.writer()
        wanted = await api.body(NewRoute)
        created = await cc.store.write(lambda tx: _create(tx, wanted))
        return await api.show(ROUTES, created.guid, 201)

    @api.delete("/v3/routes/<guid>")
    async def delete(guid: str) -> Response:
        api.writer()
        await cc.store.get(Route, guid)

        async def work() -> None:
            def forget(tx: Tx) -> set[str]:
                destinations = tx.find(Destination, route_guid=guid)
                for one in destinations:
                    tx.delete(one)
                tx.delete(tx.need(Route, guid))
                return {one.app_guid for one in destinations}

            for app in await cc.store.write(forget):
                await runner.update_routes(app)

        return api.accepted(await cc.start_job("route.delete", work))

    @api.get("/v3/routes/<guid>/destinations")
    async def destinations(guid: str) -> Response:
        api.identity()
        await cc.store.get(Route, guid)
        return await _destinations(api, guid)

    @api.post("/v3/routes/<guid>/destinations")
    async def add(guid: str) -> Response:
        api.writer()
        wanted = await api.body(NewDestinations)

        def work(tx: Tx) -> None:
            tx.need(Route, guid)
            for one in wanted.destinations:
                _add(tx, guid, one)

        await cc.store.write(work)
        for one in wanted.destinations:
            await runner.update_routes(one.app.guid)
        return await _destinations(api, guid)

    @api.delete("/v3/routes/<guid>/destinations/<destination>")
    async def remove(guid: str, destination: str) -> Response:
        api.writer()

        def work(tx: Tx) -> str:
            one = tx.get(Destination, destination)
            if one is None or one.route_guid != guid:
                raise unprocessable("Unable to unmap route from destination. Ensure the route "
                                    "has a destination with this guid.")  # fmt: skip
            tx.delete(one)
            return one.app_guid

        await runner.update_routes(await cc.store.write(work))
        return Response("", status=204)


def _create(tx: Tx, wanted: NewRoute) -> Route:
    space = tx.get(Space, wanted.relationships.space.guid)
    domain = tx.get(Domain, wanted.relationships.domain.guid)
    if space is None:
        raise unprocessable(
            "Invalid space. Ensure that the space exists and you have access to it."
        )
    if domain is None:
        raise unprocessable(
            "Invalid domain. Ensure that the domain exists and you have access to it."
        )
    host, path = (wanted.host or "").lower(), wanted.path or ""
    if not host and domain.organization_guid is None:
        raise unprocessable("Missing host. Routes in shared domains must have a host defined.")
    if not HOST.match(host):
        raise unprocessable(
            'Host must be either "*" or contain only alphanumeric characters, "_", or "-"'
        )
    if not PATH.match(path):
        raise unprocessable("Path must begin with / and be at most 128 characters long")
    if tx.first(Route, host=host, domain_guid=domain.guid, path=path):
        also = f" and path '{path}'" if path else ""
        raise unprocessable(
            f"Route already exists with host '{host}'{also} for domain '{domain.name}'."
        )
    return tx.new(
        Route,
        space_guid=space.guid,
        domain_guid=domain.guid,
        host=host,
        path=path,
        options=wanted.options or {},
    )


def _add(tx: Tx, route: str, wanted: NewDestination) -> None:
    if tx.get(App, wanted.app.guid) is None:
        raise unprocessable(
            f'App(s) with guid(s) "{wanted.app.guid}" do not exist or you do not have access.'
        )
    type_ = wanted.app.process.type if wanted.app.process else "web"
    if not tx.first(Destination, route_guid=route, app_guid=wanted.app.guid, process_type=type_):
        tx.new(
            Destination,
            route_guid=route,
            app_guid=wanted.app.guid,
            process_type=type_,
            port=wanted.port,
            weight=wanted.weight,
            protocol=wanted.protocol or "http1",
        )


async def _destinations(api: Api, guid: str) -> Response:
    found = await api.cc.store.find(Destination, route_guid=guid)
    own = f"{api.base}/v3/routes/{guid}"
    links = {"self": {"href": f"{own}/destinations"}, "route": {"href": own}}
    return api.json({"destinations": [present.destination(one) for one in found], "links": links})
