"""``cf push`` call by call against a whole appliance: staged here, or brought along."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import trio

from tests.fake_controller.cf import Cf
from tests.fake_controller.conftest import Cloud

from .conftest import Desk

SERVER = """\
import http.server, os, pathlib
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        beside = pathlib.Path(os.environ["TMPDIR"], "beside")
        self.wfile.write(f"{os.environ['WHO']} {beside.exists()}".encode())
http.server.HTTPServer(("", int(os.environ["PORT"])), Answer).serve_forever()
"""
BESIDE = {
    "name": "beside",
    "command": "touch $TMPDIR/beside && exec sleep 1000",
    "process_types": ["web"],
}


def droplet() -> bytes:
    """A droplet as Cloud Foundry makes them: no startup script, names that begin with a dot."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in (
            ("./app/server.py", SERVER),
            ("./staging_info.yml", '{"start_command": "python3 server.py"}'),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


async def cf(desk: Desk, tmp_path: Path, nursery: trio.Nursery) -> Cf:
    """A CLI that is logged in to the appliance."""
    running = desk.running
    cloud = Cloud(url=running.endpoints.api, kit=running.kit, nursery=nursery, events=[])
    await cloud.login()
    return Cf(cloud, tmp_path)


async def test_an_app_is_pushed_with_a_sidecar(
    desk: Desk, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """Everything that the CLI polls has settled at its first look."""
    shell = await cf(desk, tmp_path, nursery)
    manifest = {"name": "shop", "memory": "64M", "env": {"WHO": "me"}, "sidecars": [BESIDE]}
    files = {"server.py": SERVER, "Procfile": "web: python3 server.py"}

    await shell.push(manifest, files, with_file=True)

    assert shell.looks == {"job": 1, "build": 1, "stats": 1}
    await answers(desk, "shop.apps.localhost", "me True")


async def test_a_droplet_from_elsewhere_is_pushed(
    desk: Desk, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """It is started as its own files say, and can be taken away as it came."""
    shell, bits = await cf(desk, tmp_path, nursery), droplet()

    app = await shell.push_droplet({"name": "own", "env": {"WHO": "you"}}, bits)

    await answers(desk, "own.apps.localhost", "you False")
    current = await shell.cloud.call("GET", f"/v3/apps/{app}/droplets/current", expect=200)
    taken = await shell.cloud.raw("GET", f"/v3/droplets/{current['guid']}/download")
    assert (taken.status, taken.body) == (200, bits)


async def answers(desk: Desk, host: str, text: str) -> None:
    """Ask until the app says *text*: what runs beside it may be later."""
    with trio.fail_after(10):
        while (await desk.get(host)).text != text:
            pass
