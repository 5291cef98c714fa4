"""``appliance scale``."""

from __future__ import annotations

import os
from typing import Any

import click

from appliance.commands.api import Api, with_api
from appliance.commands.screen import Screen, output
from appliance.commands.starting import started
from appliance.commands.target import Wanted, find


class Megabytes(click.ParamType[int]):
    """``512``, ``512M`` or ``1G``, as an int of MB."""

    name = "SIZE"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """As click asks for it."""
        text = str(value).upper().removesuffix("B")
        factor = {"M": 1, "G": 1024}.get(text[-1:], 0)
        number = text[:-1] if factor else text
        if not (number.isascii() and number.isdigit()) or int(number) < 1:
            self.fail(f"{value} is no size: write 512M or 1G.", param, ctx)
        return int(number) * (factor or 1)


@click.command()
@click.argument("name")
@click.option("-i", "--instances", type=click.IntRange(min=0), help="Number of instances.")
@click.option("-m", "--memory", type=Megabytes(), help="Memory of each, e.g. 512M; restarts.")
@click.option("-k", "--disk", type=Megabytes(), help="Disk of each, e.g. 1G; restarts.")
@output
@click.pass_obj
def scale(
    wanted: Wanted,
    screen: Screen,
    name: str,
    instances: int | None,
    memory: int | None,
    disk: int | None,
) -> None:
    """Change the number of instances, memory or disk of an app.

    More instances join while the others run; a new memory or disk limit restarts the app.
    """
    wish = {"instances": instances, "memory_in_mb": memory, "disk_in_mb": disk}
    body = {key: value for key, value in wish.items() if value is not None}
    if not body:
        raise click.UsageError("Say what to change: -i, -m or -k.")
    target = find(wanted, os.environ)
    screen.doing(
        "Scaling app {app} in {place} as {user}...\n",
        app=name,
        place=target.place,
        user=target.user,
    )

    async def work(api: Api) -> None:
        app = await api.app(name)
        guid = app["guid"]
        process = await api.post(f"/v3/apps/{guid}/processes/web/actions/scale", body)
        running = app["state"] == "STARTED"
        if running and (memory or disk):
            await api.post(f"/v3/apps/{guid}/actions/restart")
        if running:
            await started(api, guid, process["guid"], all_of_them=True)
        names = ("guid", "type", "instances", "memory_in_mb", "disk_in_mb")
        screen.result({"app": name} | {key: process[key] for key in names})

    with_api(target, work)
    screen.ok()
