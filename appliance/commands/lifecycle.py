"""``appliance start``, ``stop`` and ``restart``."""

from __future__ import annotations

import os

import click

from appliance.commands.address import router_url
from appliance.commands.api import Api, with_api
from appliance.commands.routing import first_answer
from appliance.commands.screen import Screen, output
from appliance.commands.starting import started
from appliance.commands.target import Wanted, find


@click.command()
@click.argument("name")
@output
@click.pass_obj
def start(wanted: Wanted, screen: Screen, name: str) -> None:
    """Start an app, and wait until an instance runs."""
    _change(wanted, screen, name, "start")


@click.command()
@click.argument("name")
@output
@click.pass_obj
def stop(wanted: Wanted, screen: Screen, name: str) -> None:
    """Stop an app."""
    _change(wanted, screen, name, "stop")


@click.command()
@click.argument("name")
@output
@click.pass_obj
def restart(wanted: Wanted, screen: Screen, name: str) -> None:
    """Stop an app if it runs, start it, and wait until an instance runs."""
    _change(wanted, screen, name, "restart")


VERBS = {"start": "Starting", "stop": "Stopping", "restart": "Restarting"}


def _change(wanted: Wanted, screen: Screen, name: str, action: str) -> None:
    target = find(wanted, os.environ)
    screen.doing(
        VERBS[action] + " app {app} in {place} as {user}...\n",
        app=name,
        place=target.place,
        user=target.user,
    )

    async def work(api: Api) -> None:
        app = await api.app(name)
        changed = await api.post(f"/v3/apps/{app['guid']}/actions/{action}")
        if action != "stop":
            process = await api.get(f"/v3/apps/{app['guid']}/processes/web")
            stats = await started(api, app["guid"], process["guid"])
            await _reachable(api, app["guid"], bool(stats))
        screen.result({"app": name, "guid": app["guid"], "state": changed["state"]})

    with_api(target, work)
    screen.ok()


async def _reachable(api: Api, app_guid: str, running: bool) -> None:
    """Return when the router leads to the app: it hears of an instance after the API does."""
    routes = await api.all(f"/v3/apps/{app_guid}/routes")
    router = await router_url(api)
    if running and routes and router:
        await first_answer(api, router, routes[0]["url"])
