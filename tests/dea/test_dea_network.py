"""Instances whose network is their own: they answer, and nobody answers them."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest
import trio

from tests.dea.conftest import Droplet, World

pytestmark = pytest.mark.other_users


Make = Callable[..., AbstractAsyncContextManager[World]]

#: Tells on each request what it was told, and how far it gets.
PROBE = """\
import http.server, json, os, socket
def tried(port):
    try: socket.create_connection(("127.0.0.1", port), 3).close(); return "reached"
    except OSError as error: return type(error).__name__
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ports = [int(each) for each in self.path.strip("/").split(",") if each]
        self.send_response(200); self.end_headers()
        told = {name: os.environ.get(name) for name in
                ("PORT", "VCAP_APP_PORT", "VCAP_APP_HOST", "CF_INSTANCE_PORT", "CF_INSTANCE_PORTS")}
        self.wfile.write(json.dumps({**told, "tried": [tried(port) for port in ports]}).encode())
    def log_message(self, *rest): pass
http.server.ThreadingHTTPServer(
    (os.environ["VCAP_APP_HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""


class MakeApp(Protocol):
    """Makes a droplet of one Python file."""

    def __call__(self, code: str, command: str = ..., **more: str) -> Droplet: ...


@pytest.fixture
def isolated(make_world: Make) -> Make:
    """A DEA that gives each app a network; skips where it cannot."""

    @asynccontextmanager
    async def make(**more: Any) -> AsyncIterator[World]:
        async with make_world(network="isolated", **more) as world:
            sandbox = world.kit.spawner.sandbox
            if not sandbox.isolated:
                pytest.skip(f"no bubblewrap here: {sandbox.reason}")
            yield world

    return make


async def ask(world: World, route: dict[str, Any], *ports: int) -> dict[str, Any]:
    """What the instance behind *route* says, having tried *ports*."""
    path = ",".join(map(str, ports))
    url = f"http://{route['host']}:{route['port']}/{path}"
    answer = json.loads((await world.kit.http.request("GET", url)).body)
    assert isinstance(answer, dict)
    return answer


async def test_it_listens_on_8080_and_answers_at_its_routes_address(
    isolated: Make, app: MakeApp
) -> None:
    """Inside and outside have different ports, and the environment names each rightly."""
    async with isolated() as world:
        world.start(world.order(app(PROBE)))
        route = await world.running()
        said = await ask(world, route)
        assert said["PORT"] == said["VCAP_APP_PORT"] == "8080"
        assert said["VCAP_APP_HOST"] == "127.0.0.1"
        assert said["CF_INSTANCE_PORT"] == str(route["port"]) != "8080"
        ports = [{"external": route["port"], "internal": 8080}]
        assert json.loads(said["CF_INSTANCE_PORTS"]) == ports


async def test_instances_reach_neither_each_other_nor_the_machine(
    isolated: Make, app: MakeApp
) -> None:
    """Not the other's port outside, not the DEA's file viewer, not the archiver: only itself."""
    async with isolated() as world:
        droplet = app(PROBE)
        world.start(world.order(droplet))
        world.start(world.order(droplet, index=1))
        one, other = await world.running(1), await world.running(2)
        viewer, archiver = (urlsplit(url).port or 0 for url in (world.files, world.archiver))
        said = await ask(world, one, 8080, other["port"], one["port"], viewer, archiver)
        assert said["tried"] == ["reached", *["ConnectionRefusedError"] * 4]


async def test_rooms_of_this_process_dial_it_themselves(isolated: Make, app: MakeApp) -> None:
    """While it runs there is a way to it by its address, and afterwards none."""
    async with isolated() as world:
        world.start(world.order(app(PROBE)))
        route = await world.running()
        (address,) = world.kit.dialers
        assert address == (route["host"], route["port"])
        sock = await world.kit.dialers[address]()
        with sock:
            assert sock.getpeername() == ("127.0.0.1", 8080)
        world.kit.bus.publish("dea.stop", b'{"droplet": "d1"}')
        await world.exited()
        assert not world.kit.dialers
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(address, 5)


@pytest.mark.parametrize("kind", ["port", "http"])
async def test_it_is_ready_when_the_app_listens_not_the_relay(
    isolated: Make, app: MakeApp, kind: str, root: Path
) -> None:
    """The relay takes connections before the app does; that counts for nothing."""
    code = "import os, time\nwhile not os.path.exists('../tmp/go'): time.sleep(0.02)\n" + PROBE
    async with isolated(root=root) as world:
        world.start(world.order(app(code), health_check={"type": kind, "endpoint": "/"}))
        with trio.fail_after(20):
            while not world.kit.dialers:  # noqa: ASYNC110 (nobody tells when the relay is there)
                await trio.sleep(0.01)
        (address,) = world.kit.dialers
        stream = await trio.open_tcp_stream(*address)
        await stream.aclose()
        assert "router.register" not in world.subjects()
        (folder,) = root.glob("apps/*/tmp")
        (folder / "go").touch()
        await world.running()


async def test_an_app_that_never_listens_is_told_its_own_port(isolated: Make, app: MakeApp) -> None:
    """Not the relay's, of which it knows nothing."""
    async with isolated(start_timeout=0.5) as world:
        world.start(world.order(app("import time; time.sleep(60)")))
        said = await world.exited()
        assert said["exit_description"] == "Never listened on port 8080 within 0.5 s"


async def test_an_app_that_ends_at_once_is_told_its_status(isolated: Make, app: MakeApp) -> None:
    """Having no network any more is not why it crashed."""
    async with isolated() as world:
        world.start(world.order(app("raise SystemExit(3)")))
        assert (await world.exited())["exit_description"] == ("APP/PROC/WEB: Exited with status 3")


async def test_a_worker_needs_no_way_in(isolated: Make, app: MakeApp) -> None:
    """It has no port, and a network of its own all the same."""
    code = """\
import socket, time
try: socket.create_connection(("8.8.8.8", 53), 3); print("out", flush=True)
except OSError: print("nobody", flush=True)
time.sleep(60)
"""
    async with isolated() as world:
        world.start(world.order(app(code), uris=[], port_wanted=False))
        await world.line("nobody")
        assert not world.kit.dialers


async def test_without_isolation_the_network_is_shared_and_that_is_said(
    make_world: Make, web: Droplet
) -> None:
    """The app runs, on a port of the machine."""
    async with make_world(sandbox="off", network="isolated") as world:
        world.start(world.order(web))
        route = await world.running()
        answer = await world.kit.http.request("GET", f"http://127.0.0.1:{route['port']}/x")
        assert answer.body == f"/x on {route['port']}".encode()
        assert world.has("network.shared")
