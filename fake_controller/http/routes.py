"""Routes: the names that the router answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from quart import Response, request

from fake_controller import deleting, present
from fake_controller.access import SUPPORTERS, changed_in_space
from fake_controller.acting import Acting
from fake_controller.conditions import is_
from fake_controller.errors import bad_query
from fake_controller.http.api import Api
from fake_controller.http.domains import DOMAINS
from fake_controller.http.listing import Listing
from fake_controller.http.organizations import ORGANIZATIONS
from fake_controller.http.relations import Metadata, ToMany, ToOne, new_labels, plain, relabelled
from fake_controller.http.spaces import SPACES
from fake_controller.model import App, Destination, Domain, Route, Space
from fake_controller.route_options import changed_options
from fake_controller.routing import sharing
from fake_controller.routing.creating import create_route
from fake_controller.store import Tx

RESERVED_BY = ("host", "path", "port")


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
            return {one.app_guid for one in acting.tx.find(Destination, route_guid=guid)}

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

    @api.get("/v3/domains/<guid>/route_reservations")
    async def reserved(guid: str) -> Response:
        asked = request.args
        if unknown := [key for key in asked if key not in RESERVED_BY]:
            valid = "', '".join(RESERVED_BY)
            raise bad_query(
                f"Unknown query parameter(s): '{unknown[0]}'. Valid parameters are: '{valid}'"
            )
        condition = is_("host", asked.get("host", "").lower()) & is_("path", asked.get("path", ""))

        def look(acting: Acting) -> bool:
            acting.see(Domain, guid)
            # Whoever has it: a name that is taken is taken.
            found = acting.tx.first(Route, condition, domain_guid=guid)
            return found is not None and not asked.get("port")

        return api.json({"matching_route": await api.read(look)})

    @api.get("/v3/routes/<guid>/relationships/shared_spaces")
    async def shared(guid: str) -> Response:
        route = await api.read(lambda acting: acting.see(Route, guid))
        return api.json(present.shared_spaces(route, api.base))

    @api.post("/v3/routes/<guid>/relationships/shared_spaces", body=ToMany)
    async def share(guid: str, wanted: ToMany) -> Response:
        def work(acting: Acting) -> Route:
            return sharing.share(acting, acting.change(Route, guid), wanted.guids)

        return api.json(present.shared_spaces(await api.write(work), api.base))

    @api.delete("/v3/routes/<guid>/relationships/shared_spaces/<space>")
    async def unshare(guid: str, space: str) -> Response:
        await api.write(lambda acting: sharing.unshare(acting, acting.change(Route, guid), space))
        return Response("", status=204)

    @api.patch("/v3/routes/<guid>/relationships/space", body=ToOne)
    async def transfer(guid: str, wanted: ToOne) -> Response:
        def work(acting: Acting) -> None:
            route = acting.change(Route, guid, rule=changed_in_space("space_guid"))
            sharing.transfer(acting, route, wanted.guid)

        await api.write(work)
        return api.json({"status": "ok"})


def _create(acting: Acting, wanted: NewRoute) -> Route:
    related = wanted.relationships
    return create_route(
        acting,
        acting.into(Space, related.space.guid, rule=changed_in_space("guid", SUPPORTERS)),
        acting.named(Domain, related.domain.guid),
        host=wanted.host or "",
        path=wanted.path or "",
        port=wanted.port,
        options=wanted.options,
        labels=new_labels(wanted),
        request=plain(wanted),
    )
