"""A whole DEA on a bus of its own, with droplets made here and an archiver that serves them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec import structs

from appliance.config import DeaConfig
from appliance.dea.messages import Hello, Limits, Start
from appliance.dea.service import serve
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.http.blob_plane import Blob, Exchange
from appliance.kernel.http.client import Client
from appliance.kernel.http.server import serve_http
from appliance.kernel.kit import Kit
from appliance.kernel.process.spawner import open_spawner
from appliance.kernel.trace import Event, Trace

#: As staging makes it: the command can be replaced, the lines go to the pipes.
STARTUP = """\
#!/bin/bash
export TMPDIR="$PWD/tmp"
cd app
if [ -n "$VCAP_START_COMMAND" ]; then bash -c "$VCAP_START_COMMAND" &
else @RUN@ &
fi
STARTED=$!
echo "$STARTED" >> ../run.pid
wait $STARTED
"""

#: Answers any GET with the path and the environment's PORT; says when it listens.
WEB = """\
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = 500 if self.path == "/bad" else 200
        self.send_response(status); self.end_headers()
        self.wfile.write(f"{self.path} on {os.environ['PORT']}".encode())
    def log_message(self, *rest): pass
print("listening", flush=True)
place = os.environ["VCAP_APP_HOST"], int(os.environ["PORT"])
http.server.HTTPServer(place, Handler).serve_forever()
"""


@dataclass(frozen=True)
class Droplet:
    """A tar.gz and its digests."""

    data: bytes
    sha1: str
    sha256: str


def pack(files: dict[str, str | bytes]) -> Droplet:
    """A droplet with *files*; scripts named startup can be run."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o500 if name == "startup" else 0o644
            tar.addfile(member, io.BytesIO(data))
    data = gzip.compress(raw.getvalue(), mtime=0)
    return Droplet(data, hashlib.sha1(data).hexdigest(), hashlib.sha256(data).hexdigest())


def app(code: str, command: str = "python3 main.py", **more: str) -> Droplet:
    """A droplet in the layout of our stager, whose app is one Python file."""
    return pack(
        {
            "app/main.py": code,
            "startup": STARTUP.replace("@RUN@", command),
            "staging_info.yml": json.dumps({"start_command": command}),
            **more,
        }
    )


@dataclass
class World:
    """One DEA, everything it said, and the means to give it orders."""

    kit: Kit
    events: list[Event]
    archiver: str = ""
    dea: str = ""
    files: str = ""  # URL of the file viewer
    droplets: dict[str, bytes] = field(default_factory=dict)
    downloads: list[str] = field(default_factory=list)
    gate: trio.Event = field(default_factory=trio.Event)  # downloads wait for it
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    bell: trio.Event = field(default_factory=trio.Event)

    def order(self, droplet: Droplet, /, **more: Any) -> Start:
        """An order to start *droplet*, which the archiver then has."""
        self.droplets[droplet.sha1] = droplet.data
        order = Start(
            droplet="d1",
            index=0,
            name="hello",
            version=f"{droplet.sha1}-1",
            sha1=droplet.sha1,
            sha256=droplet.sha256,
            executableFile="",
            executableUri=f"{self.archiver}/droplets/{droplet.sha1}",
            uris=["hello.apps.localhost"],
            limits=Limits(mem=128, disk=256, fds=512),
            app_id="app-1",
        )
        return structs.replace(order, **more)

    def start(self, order: Start) -> None:
        """Send *order* to the DEA."""
        self.kit.publish(order, subject=f"dea.{self.dea}.start")

    async def wait_for(
        self, subject: str, test: Callable[[dict[str, Any]], bool] = lambda _: True, count: int = 1
    ) -> dict[str, Any]:
        """The *count*-th message on *subject* that passes *test*, heard or yet to be heard."""
        with trio.fail_after(20):
            while True:
                bell = self.bell
                found = [body for name, body in self.heard if name == subject and test(body)]
                if len(found) >= count:
                    return found[count - 1]
                await bell.wait()

    async def running(self, count: int = 1) -> dict[str, Any]:
        """The *count*-th router.register."""
        return await self.wait_for("router.register", count=count)

    async def exited(self, count: int = 1) -> dict[str, Any]:
        """The *count*-th droplet.exited."""
        return await self.wait_for("droplet.exited", count=count)

    def subjects(self) -> list[str]:
        """What was heard, without the log lines."""
        return [name for name, _ in self.heard if not name.startswith("logs.")]

    def registrations(self) -> list[dict[str, Any]]:
        """Every router.register heard so far."""
        return [body for name, body in self.heard if name == "router.register"]

    def lines(self, source_type: str = "APP/PROC/WEB") -> list[str]:
        """The log lines heard so far."""
        return [
            line["text"]
            for name, body in self.heard
            if name.startswith("logs.lines.")
            for line in body["lines"]
            if line["source_type"] == source_type
        ]

    async def line(self, text: str) -> None:
        """Wait until a log line has *text* in it."""
        await self.wait_for(
            "logs.lines.app-1", lambda body: any(text in line["text"] for line in body["lines"])
        )

    async def wait_closed(self, count: int) -> None:
        """Wait until *count* sessions are over."""
        with trio.fail_after(20):
            while sum(one.what == "session.closed" for one in self.events) < count:  # noqa: ASYNC110 (nobody tells)
                await trio.sleep(0.01)

    async def wait_for_lines(self, text: str, count: int) -> None:
        """Wait until *count* log lines are *text*."""
        with trio.fail_after(20):
            while True:
                bell = self.bell
                bodies = [body for name, body in self.heard if name.startswith("logs.lines.")]
                texts = [line["text"] for body in bodies for line in body["lines"]]
                if texts.count(text) >= count:
                    return
                await bell.wait()

    def has(self, what: str) -> bool:
        """Whether the trace has the event *what*."""
        return any(event.what == what for event in self.events)


@asynccontextmanager
async def a_world(config: DeaConfig, sandbox: str = "auto") -> AsyncIterator[World]:
    """A DEA that runs while the block does, and has ended afterwards."""
    events: list[Event] = []
    http, bus = Client(), LocalBus()
    async with open_spawner(sandbox) as spawner:
        trace = Trace("dea", [events.append])
        kit = Kit(room="dea", bus=bus, http=http, spawner=spawner, trace=trace)
        world = World(kit, events)
        world.gate.set()

        async def serve_droplet(exchange: Exchange) -> None:
            sha1 = exchange.params["sha1"]
            world.downloads.append(sha1)
            await world.gate.wait()
            found = world.droplets.get(sha1)
            await exchange.reply(*((200, found) if found else (404, "no such droplet")))

        async def hear(*, task_status: trio.TaskStatus[None]) -> None:
            async with bus.subscribe(">") as everything:
                task_status.started()
                async for message in everything:
                    if not message.subject.startswith("_INBOX."):
                        world.heard.append((message.subject, json.loads(message.data or b"{}")))
                        world.bell.set()
                        world.bell = trio.Event()

        async with trio.open_nursery() as nursery:
            blobs = [Blob("GET", "/droplets/:sha1", serve_droplet)]
            world.archiver = await nursery.start(
                partial(serve_http, None, "127.0.0.1:0", kit, blobs=blobs)
            )
            await nursery.start(hear)
            async with trio.open_nursery() as serving, kit.subscribe(Hello) as hellos:
                world.files = await serving.start(partial(serve, config, kit))
                world.dea = (await hellos.__anext__()).body.id
                try:
                    yield world
                finally:
                    kit.stopping.set()
            await bus.flush()
            nursery.cancel_scope.cancel()
        await http.aclose()
        await bus.aclose()


CONFIG = DeaConfig(bind="127.0.0.1:0", max_memory=512, start_timeout=15, stop_timeout=5)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """One DEA with 512 MB."""
    async with a_world(CONFIG) as one:
        yield one


@pytest.fixture
def make_world() -> Callable[..., Any]:
    """A DEA with settings of one's own: ``async with make_world(monitor=0.1) as world``."""
    return lambda sandbox="auto", **more: a_world(replace(CONFIG, **more), sandbox)


@pytest.fixture(name="app")
def app_fixture() -> Callable[..., Droplet]:
    """Makes a droplet as our stager does."""
    return app


@pytest.fixture(name="pack")
def pack_fixture() -> Callable[..., Droplet]:
    """Makes a droplet of any files."""
    return pack


@pytest.fixture
def web(app: Callable[..., Droplet]) -> Droplet:
    """A droplet that answers on its port."""
    return app(WEB)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder for a DEA that keeps its things in a known place."""
    return tmp_path / "dea"
