"""``appliance apps`` and ``appliance app``: what is there, and how it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click
import trio

from appliance.commands.api import Api, Json, with_api
from appliance.commands.errors import ApiError
from appliance.commands.screen import Screen, output, size
from appliance.commands.target import Wanted, find
from appliance.kernel.clock import Clock

MIB = 1024 * 1024


@click.command()
@output
@click.pass_obj
def apps(wanted: Wanted, screen: Screen) -> None:
    """List the apps of the space."""
    target = find(wanted, os.environ)
    screen.doing("Getting apps in {place} as {user}...\n", place=target.place, user=target.user)
    found = with_api(target, _apps)
    screen.result({"apps": found})
    if not found:
        screen.say("No apps found. `appliance push NAME PATH` pushes one.")
        return
    screen.table(
        ("name", "requested state", "processes", "routes"),
        [(app["name"], app["state"].lower(), _processes(app), ", ".join(app["routes"]))
         for app in found],
    )  # fmt: skip


@click.command()
@click.argument("name")
@output
@click.pass_obj
def app(wanted: Wanted, screen: Screen, name: str) -> None:
    """Show one app: its routes, its droplet and its instances."""
    target = find(wanted, os.environ)
    screen.doing(
        "Showing health and status for app {app} in {place} as {user}...\n",
        app=name,
        place=target.place,
        user=target.user,
    )

    async def work(api: Api) -> Json:
        return await describe(api, await api.app(name))

    show(screen, with_api(target, work))


def show(screen: Screen, about: Json) -> None:
    """Print what `describe` collected."""
    screen.result(about)
    droplet = about["droplet"] or {}
    screen.facts(
        {
            "name": about["name"],
            "requested state": about["state"].lower(),
            "routes": ", ".join(about["routes"]) or "none",
            "droplet": droplet.get("guid", "none"),
            "last uploaded": droplet.get("created_at", ""),
            "detected": droplet.get("detected") or "",
        }
    )
    for process in about["processes"]:
        screen.say()
        _show_process(screen, process)


def _show_process(screen: Screen, process: Json) -> None:
    screen.facts(
        {
            "type": process["type"],
            "instances": f"{process['running']}/{process['instances']}",
            "memory usage": size(process["memory_in_mb"] * MIB),
            "start command": process["command"] or "",
        }
    )
    rows = [instance_row(one) for one in process["stats"]]
    if rows:
        screen.table(("", "state", "since", "cpu", "memory", "disk", "details"), rows)
    else:
        screen.say("There are no running instances of this process.")


def instance_row(stats: Json) -> tuple[str, ...]:
    """One instance, as a row of the table."""
    usage = stats.get("usage") or {}
    started = stats.get("uptime")
    return (
        f"#{stats['index']}",
        stats["state"].lower(),
        "" if started is None else _ago(started),
        f"{usage.get('cpu', 0) * 100:.1f}%" if usage else "",
        f"{size(usage['mem'])} of {size(stats['mem_quota'])}" if usage.get("mem") else "",
        f"{size(usage['disk'])} of {size(stats['disk_quota'])}" if usage.get("disk") else "",
        stats.get("details") or "",
    )


async def describe(api: Api, app: Json) -> Json:
    """All about *app*, asked for side by side."""
    guid = app["guid"]
    routes: list[Json] = []
    droplet: Json = {}
    processes: list[Json] = []

    async def find_routes() -> None:
        routes.extend(await api.all(f"/v3/apps/{guid}/routes"))

    async def find_droplet() -> None:
        droplet.update(await current_droplet(api, guid) or {})

    async def find_process(listed: Json) -> None:
        # Only a single process tells its command.
        own = f"/v3/processes/{listed['guid']}"
        process, stats = await api.get(own), await api.get(f"{own}/stats")
        processes.append(_process(process, stats["resources"]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(find_routes)
        nursery.start_soon(find_droplet)
        for listed in await api.all(f"/v3/apps/{guid}/processes"):
            nursery.start_soon(find_process, listed)
    processes.sort(key=lambda process: (process["type"] != "web", process["type"]))
    return {
        "name": app["name"],
        "guid": guid,
        "state": app["state"],
        "routes": [route["url"] for route in routes],
        "droplet": _droplet(droplet) if droplet else None,
        "processes": processes,
    }


async def current_droplet(api: Api, app_guid: str) -> Json | None:
    """The droplet that the app runs; None before the first staging."""
    try:
        found: Json = await api.get(f"/v3/apps/{app_guid}/droplets/current")
    except ApiError as error:
        if error.http == 404:
            return None
        raise
    return found


def detected(droplet: Json) -> str:
    """What the stager took the app for, e.g. ``python``."""
    return ", ".join(pack["detect_output"] or pack["name"] for pack in droplet["buildpacks"] or ())


def _droplet(droplet: Json) -> Json:
    return {
        "guid": droplet["guid"],
        "created_at": droplet["created_at"],
        "detected": detected(droplet),
        "checksum": droplet["checksum"],
    }


def _process(process: Json, stats: Sequence[Json]) -> Json:
    names = ("guid", "type", "instances", "memory_in_mb", "disk_in_mb", "command", "health_check")
    running = sum(one["state"] == "RUNNING" for one in stats)
    return {name: process[name] for name in names} | {"running": running, "stats": list(stats)}


async def _apps(api: Api) -> list[Json]:
    space = (await api.place()).space_guid
    found: dict[str, list[Json]] = {}

    async def fetch(path: str, **query: str) -> None:
        found[path] = await api.all(path, per_page="5000", space_guids=space, **query)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fetch, "/v3/apps")
        nursery.start_soon(fetch, "/v3/routes")
        await fetch("/v3/processes", embed="process_instances")
    return [
        _row(app, found["/v3/processes"], found["/v3/routes"])
        for app in sorted(found["/v3/apps"], key=lambda app: str(app["name"]))
    ]


def _row(app: Json, processes: Sequence[Json], routes: Sequence[Json]) -> Json:
    mine = [p for p in processes if p["relationships"]["app"]["data"]["guid"] == app["guid"]]
    return {
        "name": app["name"],
        "guid": app["guid"],
        "state": app["state"],
        "processes": [
            {
                "type": process["type"],
                "instances": process["instances"],
                "running": _running(process.get("process_instances", ())),
            }
            for process in sorted(mine, key=lambda p: (p["type"] != "web", str(p["type"])))
        ],
        "routes": [
            route["url"]
            for route in routes
            if any(one["app"]["guid"] == app["guid"] for one in route["destinations"])
        ],
    }


def _running(instances: Any) -> int:
    return sum(one["state"] == "RUNNING" for one in instances)


def _processes(app: Json) -> str:
    return ", ".join(f"{p['type']}:{p['running']}/{p['instances']}" for p in app["processes"])


def _ago(seconds: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(Clock().time() - seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
