"""``appliance wait``: for scripts that start an appliance and go on when it is ready."""

from __future__ import annotations

import os
from typing import Any

import click
import trio

from appliance.commands.errors import NotReadyInTime, NotRunning
from appliance.commands.screen import Screen, output
from appliance.commands.target import Target, Wanted, find
from appliance.kernel.http.client import Client
from appliance.kernel.http.errors import HttpFailed

POLL = 0.05  # seconds


@click.command()
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait at most.")
@output
@click.pass_obj
def wait(wanted: Wanted, screen: Screen, timeout: float) -> None:
    """Wait until the appliance is ready.

    It need not even have been started yet. Exit code 75 when it is not ready in time.
    """
    rooms = trio.run(_until_ready, wanted, timeout)
    screen.result({"ready": True, "rooms": rooms})
    screen.ok()


async def _until_ready(wanted: Wanted, timeout: float) -> dict[str, Any]:
    """The state of each room, once all are ready."""
    client = Client()
    why = "nothing has been tried"
    try:
        with trio.move_on_after(timeout):
            while True:
                try:
                    target = find(wanted, os.environ)
                    why, rooms = await _look(client, target)
                    if not why:
                        return rooms
                except NotRunning as error:
                    why = str(error)
                await trio.sleep(POLL)
    finally:
        with trio.CancelScope(shield=True):
            await client.aclose()
    raise NotReadyInTime(f"The appliance was not ready within {timeout:g} s: {why}")


async def _look(client: Client, target: Target) -> tuple[str, dict[str, Any]]:
    """What is missing, "" when nothing is; and the rooms."""
    try:
        answer = await client.request("GET", f"{target.api}/readyz", timeout=5.0)
    except HttpFailed as error:
        return str(error), {}
    if answer.status == 200:
        return "", answer.json()
    return f"{target.api}/readyz answers {answer.status}: {answer.text.strip()[:300]}", {}
