"""Clients that others wrote work against the appliance."""

from __future__ import annotations

import asyncio
import base64
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import trio

from .conftest import Desk


def look(api: str) -> dict[str, Any]:
    """What Python's own Cloud Foundry client sees."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its dependencies' own
        from cloudfoundry_client.client import CloudFoundryClient

        client = CloudFoundryClient(api)
        client.init_with_user_credentials("admin", "admin")
        (app,) = client.v3.apps.list()
        return {
            "name": app["name"],
            "state": app["state"],
            "space": app.space()["name"],
            "droplets": [one["state"] for one in app.droplets()],
            "processes": [one["type"] for one in app.processes()],
        }


async def test_cloudfoundry_client_sees_a_pushed_app(desk: Desk) -> None:
    """Login, lists, and the links that it makes methods of."""
    assert (await desk.cli("push", "hello", Path("sample_apps/python-hello"))).status == 0

    seen = await trio.to_thread.run_sync(look, desk.running.endpoints.api)

    assert seen == {
        "name": "hello",
        "state": "STARTED",
        "space": "dev",
        "droplets": ["STAGED"],
        "processes": ["web"],
    }


def push(api: str, bits: Path) -> tuple[str, list[str]]:
    """Push *bits* with Python's own client; how the build ended, and what the app then says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its dependencies' own
        from cloudfoundry_client.client import CloudFoundryClient
        from cloudfoundry_client.v3.packages import PackageType

        client = CloudFoundryClient(api)
        client.init_with_user_credentials("admin", "admin")
        (space,) = client.v3.spaces.list(names="dev")
        relations = {"space": {"data": {"guid": space["guid"]}}}
        body = {"name": "talker", "relationships": relations}
        app = client.post(f"{api}/v3/apps", json=body).json()["guid"]
        package = client.v3.packages.create(app, PackageType.BITS)
        client.v3.packages._upload_bits(package["guid"], str(bits))
        body = {"package": {"guid": package["guid"]}}
        build = client.post(f"{api}/v3/builds", json=body).json()
        while build["state"] == "STAGING":
            build = client.get(f"{api}/v3/builds/{build['guid']}").json()
        current = f"{api}/v3/apps/{app}/relationships/current_droplet"
        droplet = build["droplet"]["guid"]
        client.patch(current, json={"data": {"guid": droplet}})
        scale = f"{api}/v3/apps/{app}/processes/worker/actions/scale"
        client.post(scale, json={"instances": 1})
        client.post(scale.replace("worker", "web"), json={"instances": 0})
        return build["state"], asyncio.run(heard(client, app))


async def heard(client: Any, app: str) -> list[str]:
    """Start *app* while its log is streamed; its own lines up to the one that ends them."""
    stream, lines = b"", list[str]()
    async with asyncio.timeout(20):
        async for piece in client.rlpgateway.stream_logs(app):
            if piece.startswith(b"event: heartbeat"):
                await asyncio.to_thread(client.v3.apps.restart, app)
            # The client hands out pieces as they come, and some events once more as a whole.
            stream += piece + b"\n"
            lines = own_lines(stream)
            if "done" in lines:
                break
    return lines


def own_lines(stream: bytes) -> list[str]:
    """What the worker printed, in the order of its timestamps, each line once."""
    found = {}
    for event in stream.split(b"\n"):
        try:
            batch = json.loads(event.removeprefix(b"data: "))["batch"]
        except (ValueError, TypeError):
            continue
        for envelope in batch:
            if envelope["tags"]["source_type"] == "APP/PROC/WORKER":
                text = base64.b64decode(envelope["log"]["payload"]).decode()
                found[int(envelope["timestamp"])] = text
    return [found[at] for at in sorted(found)]


async def test_cloudfoundry_client_pushes_and_follows_the_log(desk: Desk, tmp_path: Path) -> None:
    """Upload, build, start, and every line that the app prints, once and in order."""
    bits = tmp_path / "bits.zip"
    with zipfile.ZipFile(bits, "w") as archive:
        archive.writestr("Procfile", "worker: seq 1 50; echo done; sleep 60\n")
    api = desk.running.endpoints.api

    state, lines = await trio.to_thread.run_sync(push, api, bits)

    assert state == "STAGED"
    assert lines == [*map(str, range(1, 51)), "done"]
