"""Where routes lead: the destinations of a route."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from quart import Response, request

from fake_controller import present
from fake_controller.acting import Acting
from fake_controller.conditions import ALL, among
from fake_controller.errors import bad_query, unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import values
from fake_controller.model import App, Destination, Route
from fake_controller.present.routes import APP_PORT
from fake_controller.routing import destinations as rules
from fake_controller.routing.destinations import MOST, Wanted

FILTERS = {"guids": "guid", "app_guids": "app_guid"}


class OfProcess(msgspec.Struct):
    type: str = "web"


class OfApp(msgspec.Struct):
    guid: str
    process: OfProcess | None = None


class NewDestination(msgspec.Struct):
    app: OfApp
    port: int | None = None
    protocol: str | None = None
    weight: int | None = None


class NewDestinations(msgspec.Struct):
    destinations: list[NewDestination]


class ChangedDestination(msgspec.Struct):
    protocol: str | None = None


def routes(api: Api) -> None:
    """``/v3/routes/:guid/destinations``."""
    runner = api.workers.runner

    async def told(apps: Iterable[str]) -> None:
        for app in sorted(set(apps)):
            await runner.update_routes(app)

    @api.get("/v3/routes/<guid>/destinations")
    async def destinations(guid: str) -> Response:
        return await _shown(api, guid)

    @api.post("/v3/routes/<guid>/destinations", body=NewDestinations)
    async def add(guid: str, wanted: NewDestinations) -> Response:
        check(wanted.destinations, replace=False)

        def work(acting: Acting) -> None:
            route = acting.change(Route, guid)
            rules.add(acting, route, _named(acting, route, wanted.destinations))

        await api.write(work)
        await told(one.app.guid for one in wanted.destinations)
        return await _shown(api, guid)

    @api.patch("/v3/routes/<guid>/destinations", body=NewDestinations)
    async def replace(guid: str, wanted: NewDestinations) -> Response:
        check(wanted.destinations, replace=True)

        def work(acting: Acting) -> set[str]:
            route = acting.change(Route, guid)
            return rules.replace(acting, route, _named(acting, route, wanted.destinations))

        left = await api.write(work)
        await told([*left, *(one.app.guid for one in wanted.destinations)])
        return await _shown(api, guid)

    @api.patch("/v3/routes/<guid>/destinations/<destination>", body=ChangedDestination)
    async def change(guid: str, destination: str, wanted: ChangedDestination) -> Response:
        rules.check_protocol(wanted.protocol, "Destination")

        def work(acting: Acting) -> Destination:
            one = _of(acting, acting.change(Route, guid), destination)
            return acting.tx.change(one, protocol=rules.HTTP1)

        one = await api.write(work)
        await runner.update_routes(one.app_guid)
        return api.json(present.destination(one))

    @api.delete("/v3/routes/<guid>/destinations/<destination>")
    async def remove(guid: str, destination: str) -> Response:
        def work(acting: Acting) -> str:
            route = acting.change(Route, guid)
            one = _of(acting, route, destination)
            rules.remove(acting, route, one)
            return one.app_guid

        await runner.update_routes(await api.write(work))
        return Response("", status=204)


def _of(acting: Acting, route: Route, destination: str) -> Destination:
    one = acting.tx.get(Destination, destination)
    if one is None or one.route_guid != route.guid:
        raise unprocessable(
            "Unable to unmap route from destination. Ensure the route has a destination with "
            "this guid."
        )
    return one


def check(wanted: Sequence[NewDestination], *, replace: bool) -> None:
    """Whether these can be destinations; raises 422 with all that is wrong."""
    least = 0 if replace else 1
    if not least <= len(wanted) <= MOST:
        raise unprocessable(
            f"Destinations must be an array containing between {least} and {MOST} destination "
            "objects."
        )
    errors = [
        f"Destinations[{index}]: {error}"
        for index, one in enumerate(wanted)
        for error in _wrong(one, replace=replace)
    ]
    if errors:
        raise unprocessable(", ".join(errors))


def _wrong(one: NewDestination, *, replace: bool) -> Iterator[str]:
    """What is wrong with *one*, and what the router could not do for it."""
    if not 0 < len(one.app.guid) < 200:
        yield 'app must have the structure {"guid": "app_guid"}'
    if one.app.process is not None and not one.app.process.type:
        yield 'process must have the structure {"type": "process_type"}'
    if one.weight is not None and not replace:
        yield "weighted destinations can only be used when replacing all destinations."
    elif one.weight is not None:
        yield "weight must be null: the router gives every instance the same share."
    if one.port not in (None, APP_PORT):
        yield f"port must be {APP_PORT}, which leads to the app's PORT: it has no other."
    if wrong := rules.wrong_protocol(one.protocol):
        yield wrong


def _named(acting: Acting, route: Route, wanted: Sequence[NewDestination]) -> list[Wanted]:
    """*wanted*, whose apps *acting* sees and *route* may lead to."""
    apps = {one.app.guid: acting.sees(App, one.app.guid) for one in wanted}
    if absent := [guid for guid, app in apps.items() if app is None]:
        named = '", "'.join(absent)
        raise unprocessable(
            f'App(s) with guid(s) "{named}" do not exist or you do not have access.'
        )
    if not all(app and rules.available_in(route, app.space_guid) for app in apps.values()):
        raise unprocessable(
            "Routes destinations must be in either the route's space or the route's shared spaces"
        )
    return [
        Wanted(
            app_guid=one.app.guid,
            process_type=one.app.process.type if one.app.process else "web",
            port=one.port,
        )
        for one in wanted
    ]


async def _shown(api: Api, guid: str) -> Response:
    condition = ALL
    for key, value in request.args.items(multi=True) if request.method == "GET" else ():
        if key not in FILTERS:
            valid = "', '".join(FILTERS)
            raise bad_query(f"Unknown query parameter(s): '{key}'. Valid parameters are: '{valid}'")
        condition &= among(FILTERS[key], values(value))

    def look(acting: Acting) -> list[Destination]:
        acting.see(Route, guid)
        return acting.tx.find(Destination, condition, route_guid=guid)

    found = await api.read(look)
    own = f"{api.base}/v3/routes/{guid}"
    shown: dict[str, Any] = {
        "destinations": [present.destination(one) for one in found],
        "links": {"self": {"href": f"{own}/destinations"}, "route": {"href": own}},
    }
    return api.json(shown)
