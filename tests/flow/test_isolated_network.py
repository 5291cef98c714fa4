"""A whole appliance whose apps have networks of their own."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

import appliance
from appliance.boot import anywhere
from appliance.config import Config

from .conftest import Desk

#: Tells on each request which of the ports in its path it gets to.
PROBE = """\
import http.server, json, os, socket, threading
together = threading.Barrier(3)
def tried(port):
    try: socket.create_connection(("127.0.0.1", port), 3).close(); return "reached"
    except OSError as error: return type(error).__name__
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/together": together.wait(10); self.path = "/"
        body = json.dumps([tried(int(each)) for each in self.path.strip("/").split(",") if each])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *rest): pass
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A person's desk at such an appliance."""
    config = anywhere(Config())
    config = replace(config, dea=replace(config.dea, network="isolated"))
    async with appliance.running(config) as running:
        sandbox = running.kit.spawner.sandbox
        if not sandbox.isolated:
            pytest.skip(f"no bubblewrap here: {sandbox.reason}")
        yield Desk(running, str(tmp_path))


async def test_an_app_answers_and_reaches_nothing(desk: Desk, tmp_path: Path) -> None:
    """API, router, registry and relay are closed to it; the router has a way in of its own."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "app.py").write_text(PROBE)
    (app / "Procfile").write_text("web: python3 app.py\n")
    pushed = await desk.cli("push", "probe", app)
    assert pushed.status == 0, pushed
    dialers = desk.running.kit.dialers
    ((address, dial),) = dialers.items()
    ends = desk.running.endpoints
    ports = [8080, *(urlsplit(url).port for url in (ends.api, ends.apps, ends.registry))]
    path = "/" + ",".join(map(str, [*ports, address[1]]))
    answer = await desk.get("probe.apps.localhost", path)
    assert json.loads(answer.text) == ["reached", *["ConnectionRefusedError"] * 4]

    dialled = 0

    async def counted() -> socket.socket:
        nonlocal dialled
        dialled += 1
        return await dial()

    dialers[address] = counted
    async with trio.open_nursery() as visitors:
        for _ in range(3):  # the app answers when all are there: one connection is not enough
            visitors.start_soon(desk.get, "probe.apps.localhost", "/together")
    assert dialled > 0
