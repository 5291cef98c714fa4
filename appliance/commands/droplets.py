"""``appliance droplets``."""

from __future__ import annotations

import os

import click

from appliance.commands.api import Api, Json, with_api
from appliance.commands.apps import current_droplet, detected
from appliance.commands.screen import Screen, output, size
from appliance.commands.target import Wanted, find


@click.command()
@click.argument("name")
@output
@click.pass_obj
def droplets(wanted: Wanted, screen: Screen, name: str) -> None:
    """List the droplets of an app, the newest first."""
    target = find(wanted, os.environ)
    screen.doing(
        "Getting droplets of app {app} in {place} as {user}...\n",
        app=name,
        place=target.place,
        user=target.user,
    )

    async def work(api: Api) -> list[Json]:
        guid = (await api.app(name))["guid"]
        current = await current_droplet(api, guid)
        found = await api.all("/v3/droplets", app_guids=guid, order_by="-created_at")
        return [_droplet(one, current) for one in found]

    found = with_api(target, work)
    screen.result({"app": name, "droplets": found})
    if not found:
        screen.say("No droplets found.")
        return
    rows = [
        (
            one["guid"] + " (current)" * one["current"],
            one["state"].lower(),
            one["created_at"],
            one["detected"],
            "" if one["size"] is None else size(one["size"]),
            one["sha1"] or "",
        )
        for one in found
    ]
    screen.table(("guid", "state", "created", "detected", "size", "sha1"), rows)


def _droplet(droplet: Json, current: Json | None) -> Json:
    # What V3 does not tell, our controller adds under a name of its own.
    ours = droplet.get("appliance") or {}
    return {
        "guid": droplet["guid"],
        "state": droplet["state"],
        "created_at": droplet["created_at"],
        "current": current is not None and current["guid"] == droplet["guid"],
        "detected": detected(droplet),
        "checksum": droplet["checksum"],
        "sha1": ours.get("sha1"),
        "size": ours.get("size"),
    }
