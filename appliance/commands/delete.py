"""``appliance delete``."""

from __future__ import annotations

import os

import click

from appliance.commands.api import Api, with_api
from appliance.commands.screen import Screen, output
from appliance.commands.target import Wanted, find


@click.command()
@click.argument("name")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--keep-routes", is_flag=True, help="Leave its routes, for another app.")
@output
@click.pass_obj
def delete(wanted: Wanted, screen: Screen, name: str, force: bool, keep_routes: bool) -> None:
    """Delete an app and the routes that lead to nothing else.

    An app that is not there is no error: afterwards it is gone in any case.
    """
    target = find(wanted, os.environ)
    if not force and not screen.json:
        click.confirm(f"Really delete the app {name}?", abort=True)
    elif not force:
        raise click.UsageError("In JSON mode nothing can be asked: give -f.")
    screen.doing(
        "Deleting app {app} in {place} as {user}...\n",
        app=name,
        place=target.place,
        user=target.user,
    )

    async def work(api: Api) -> None:
        app = await api.find_app(name)
        if app is None:
            screen.say(f"App {name} does not exist.\n")
            screen.result({"app": name, "deleted": False})
            return
        routes = await api.all(f"/v3/apps/{app['guid']}/routes")
        await api.delete(f"/v3/apps/{app['guid']}")
        for route in routes:
            others = [one for one in route["destinations"] if one["app"]["guid"] != app["guid"]]
            if not others and not keep_routes:
                await api.delete(f"/v3/routes/{route['guid']}")
        screen.result({"app": name, "guid": app["guid"], "deleted": True})

    with_api(target, work)
    screen.ok()
