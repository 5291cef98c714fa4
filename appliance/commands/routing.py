"""The route that leads to an app, and the first answer that comes along it."""

from __future__ import annotations

import re

import trio

from appliance.commands.address import reachable
from appliance.commands.api import Api, Json
from appliance.commands.errors import ApiError, NoSuchPlace, PhaseFailed
from appliance.kernel.clock import Ids
from appliance.kernel.http.errors import HttpFailed

ANSWER_WITHIN = 10.0  # seconds from running to the first answer through the router
POLL = 0.02  # seconds between two tries, while the route is on its way to the router
ROUTER_ERROR = "x-cf-routererror"  # on answers that the router itself made


def host_for(name: str) -> str:
    """*name* as a host: ``My App`` becomes ``my-app``."""
    host = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:63].rstrip("-")
    return host or "app"


async def ensure_route(api: Api, app_guid: str, name: str, *, random: bool) -> str:
    """A route to the app: the one it has, else ``NAME.<first shared domain>``; returns its name."""
    existing = await api.all(f"/v3/apps/{app_guid}/routes")
    if existing:
        return str(existing[0]["url"])
    domain = await _shared_domain(api)
    host = host_for(name)
    if random:
        host = f"{host[:56]}-{Ids().hex(6)}"
    route = await _find_or_create(api, host, domain)
    destination = {"destinations": [{"app": {"guid": app_guid}}]}
    await api.post(f"/v3/routes/{route['guid']}/destinations", destination)
    return str(route["url"])


async def remove_routes(api: Api, app_guid: str) -> None:
    """Take every route away from the app; the routes themselves stay, as with cf."""
    for route in await api.all(f"/v3/apps/{app_guid}/routes"):
        for one in route["destinations"]:
            if one["app"]["guid"] == app_guid:
                await api.delete(f"/v3/routes/{route['guid']}/destinations/{one['guid']}")


async def _shared_domain(api: Api) -> Json:
    domains = await api.all("/v3/domains")
    for domain in domains:
        if not domain["internal"] and not domain["relationships"]["organization"]["data"]:
            return domain
    raise NoSuchPlace("There is no shared domain to make a route in.", hint="Push with --no-route.")


async def _find_or_create(api: Api, host: str, domain: Json) -> Json:
    space = (await api.place()).space_guid
    guid = domain["guid"]
    related = {"space": {"data": {"guid": space}}, "domain": {"data": {"guid": guid}}}
    try:
        route: Json = await api.post("/v3/routes", {"host": host, "relationships": related})
    except ApiError as error:
        if "already exists" not in str(error):
            raise
        found = await api.all("/v3/routes", hosts=host, domain_guids=guid, paths="")
        if not found or found[0]["relationships"]["space"]["data"]["guid"] != space:
            raise
        return found[0]
    return route


async def first_answer(api: Api, router: str, route: str, *, within: float = ANSWER_WITHIN) -> int:
    """The status of the app's first answer through the router.

    The route is announced when the instance runs, and needs a moment to arrive. An app's own
    5xx is tried again, too, and returned when nothing better comes in time.

    Raises:
      PhaseFailed: the router does not reach the app.
    """
    url, host = reachable(router, route)
    client = api.client.named("cli")
    status, reason = 0, "nothing"
    with trio.move_on_after(within):
        while True:
            try:
                answer = await client.request("GET", url, headers={"Host": host}, timeout=within)
                own = answer.headers.get(ROUTER_ERROR)
                reason = own or f"status {answer.status}"
                status = 0 if own else answer.status
                if 200 <= status < 500:
                    return status
            except HttpFailed as error:
                reason = str(error)
            await trio.sleep(POLL)
    if status:
        return status
    raise PhaseFailed(
        f"The app runs, but {route} does not lead to it: {reason}.",
        phase="start",
        code="unreachable",
        exit_code=40,
        hint="`appliance trace NAME` shows what the router has been told.",
    )
