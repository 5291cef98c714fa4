"""``appliance logs``."""

from __future__ import annotations

import os

import click

from appliance.commands.api import Api, with_api
from appliance.commands.log import LogReader
from appliance.commands.screen import Screen, output
from appliance.commands.target import Wanted, find

EVERY = 0.25  # seconds between two looks while nothing is new, as cf


@click.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option("--recent", is_flag=True, help="The recent lines and no more; the default.")
@output
@click.pass_obj
def logs(wanted: Wanted, screen: Screen, name: str, follow: bool, recent: bool) -> None:
    """Show the recent log of an app, and follow it with -f.

    No line is lost between the recent ones and those that follow. With -f and JSON, every
    line is an object of its own.
    """
    if follow and recent:
        raise click.UsageError("--follow and --recent exclude each other.")
    target = find(wanted, os.environ)
    screen.doing(
        "Retrieving logs for app {app} in {place} as {user}...\n",
        app=name,
        place=target.place,
        user=target.user,
    )

    async def work(api: Api) -> None:
        reader = LogReader(api, (await api.app(name))["guid"])
        lines = await reader.recent()
        for line in lines:
            screen.say(line.styled)
        if not follow:
            screen.result({"app": name, "lines": [line.as_dict() for line in lines]})
            return
        for line in lines:
            screen.item(line.as_dict())
        async for line in reader.follow(every=EVERY):
            screen.say(line.styled)
            screen.item(line.as_dict())

    with_api(target, work)
