"""``appliance demo``: everything at once, in this process, on free ports, and nothing left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click
import trio

import appliance
from appliance.boot import running
from appliance.commands import trace
from appliance.commands.address import reachable
from appliance.commands.api import Api, connected
from appliance.commands.errors import BadApp
from appliance.commands.push import breakdown
from appliance.commands.pushing import Pushed, Wish
from appliance.commands.pushing import push as push_app
from appliance.commands.screen import Screen, output, size
from appliance.commands.target import Target
from appliance.endpoints import Endpoints

SAMPLE = "sample_apps/python-hello"
REPLICATED_WITHIN = 10.0  # seconds
POLL = 0.05  # seconds


@click.command()
@click.option("--path", type=click.Path(path_type=Path), help=f"Push this instead of {SAMPLE}.")
@output
def demo(screen: Screen, path: Path | None) -> None:
    """Start an appliance, push a sample app, show all of it, and stop.

    It uses free ports and keeps everything in memory: it never meets another appliance.
    """
    path = path or Path(appliance.__file__).parent.parent / SAMPLE
    if not path.exists():
        raise BadApp(f"There is no {path}.", hint="Name an app: appliance demo --path DIR.")
    trio.run(_demo, path, screen)


async def _demo(path: Path, screen: Screen) -> None:
    screen.say(_title("An appliance starts"))
    began = trio.current_time()
    async with running() as started:
        spent = trio.current_time() - began
        endpoints = started.endpoints
        screen.say(f"   ready after {spent:.2f} s at {endpoints.api}, sandbox: {endpoints.sandbox}")
        target = Target(
            api=endpoints.api,
            user=endpoints.user,
            password=endpoints.password,
            org="dev",
            space="dev",
            found_by="demo",
            endpoints=endpoints,
        )
        async with connected(target) as api:
            await _show(api, endpoints, path, screen)
        screen.say(_title("It stops"))
    screen.say("   nothing is left: no process, no file, no port")


async def _show(api: Api, endpoints: Endpoints, path: Path, screen: Screen) -> None:
    screen.say(_title(f"{path.name} is pushed"))
    pushed = await push_app(api, Wish(name="hello", path=path, memory=128), screen)
    screen.say(f"   {pushed.phases['total']} ms: {breakdown(pushed.phases)}")

    screen.say(_title("Its droplet is on every archiver"))
    copies = await _copies(api, endpoints, pushed)
    for url, held in copies:
        screen.say(f"   {url}  sha1 {pushed.droplet_sha1}, {size(held)}")

    screen.say(_title(f"It answers at {pushed.url}"))
    answer = await _ask(api, endpoints, pushed)
    for line in answer.splitlines():
        screen.say(f"   {line}")

    screen.say(_title("What every room did"))
    found = await trace.fetch(api, {"trace": pushed.trace})
    for line in trace.drawn(found, "text", about="hello"):
        screen.say(f"   {line}")
    screen.result(
        pushed.as_dict()
        | {"archivers": [url for url, _ in copies], "answer": answer, "events": found["events"]}
    )


async def _copies(api: Api, endpoints: Endpoints, pushed: Pushed) -> Sequence[tuple[str, int]]:
    """Each archiver's URL and the droplet's size there, once all have it."""
    found: list[tuple[str, int]] = []
    with trio.move_on_after(REPLICATED_WITHIN):
        while len(found) < len(endpoints.archivers):
            path = f"/_appliance/droplets/{pushed.droplet}/copies"
            answer = (await api.send("GET", path, silent=True)).json()
            found = [(copy["archiver"], copy["size"]) for copy in answer["copies"]]
            await trio.sleep(POLL)
    return sorted(found)


async def _ask(api: Api, endpoints: Endpoints, pushed: Pushed) -> str:
    at = urlsplit(pushed.url)
    url, host = reachable(endpoints.apps, f"{at.hostname}{at.path}")
    return (await api.client.request("GET", url, headers={"Host": host})).text


def _title(text: str) -> str:
    return click.style(f"\n── {text}", bold=True)
