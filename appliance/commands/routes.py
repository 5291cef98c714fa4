"""``appliance routes``."""

from __future__ import annotations

import os
from functools import partial

import click
import trio

from appliance.commands.address import browsable, router_url
from appliance.commands.api import Api, Json, with_api
from appliance.commands.screen import Screen, output
from appliance.commands.target import Wanted, find


@click.command()
@output
@click.pass_obj
def routes(wanted: Wanted, screen: Screen) -> None:
    """List the routes of the space, and where they lead."""
    target = find(wanted, os.environ)
    screen.doing("Getting routes in {place} as {user}...\n", place=target.place, user=target.user)
    found = with_api(target, _routes)
    screen.result({"routes": found})
    if not found:
        screen.say("No routes found.")
        return
    screen.table(
        ("host", "domain", "path", "apps", "url"),
        [(one["host"], one["domain"], one["path"], ", ".join(one["apps"]), one["url"])
         for one in found],
    )  # fmt: skip


async def _routes(api: Api) -> list[Json]:
    space = (await api.place()).space_guid
    found: dict[str, list[Json]] = {}
    router = ""

    async def fetch(path: str, **query: str) -> None:
        found[path] = await api.all(path, per_page="5000", **query)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(fetch, "/v3/routes", space_guids=space))
        nursery.start_soon(partial(fetch, "/v3/apps", space_guids=space))
        nursery.start_soon(fetch, "/v3/domains")
        router = await router_url(api)
    apps = {app["guid"]: app["name"] for app in found["/v3/apps"]}
    domains = {domain["guid"]: domain["name"] for domain in found["/v3/domains"]}
    return [
        {
            "guid": route["guid"],
            "host": route["host"],
            "domain": domains.get(route["relationships"]["domain"]["data"]["guid"], ""),
            "path": route["path"],
            "apps": sorted(
                apps.get(one["app"]["guid"], one["app"]["guid"]) for one in route["destinations"]
            ),
            "url": browsable(router, route["url"]),
        }
        for route in found["/v3/routes"]
    ]
