"""A controller of its own for each test, with a stager, an archiver and a DEA that are told
what to do."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.config import ControllerConfig
from appliance.dea.messages import (
    Discover,
    DropletExited,
    FindDroplet,
    FoundInstance,
    Heartbeat,
    HeartbeatInstance,
    Hello,
    Start,
    Stop,
    Update,
)
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.http.blob_plane import Blob, Exchange
from appliance.kernel.http.client import Client
from appliance.kernel.http.server import serve_http
from appliance.kernel.kit import Kit
from appliance.kernel.process.spawner import open_spawner
from appliance.kernel.trace import Event, Trace, TraceLog
from appliance.stager.messages import StagingReply, StagingRequest
from fake_controller.service import serve


def zipped(files: dict[str, str]) -> bytes:
    """*files* as a zip, as clients upload them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


@dataclass
class Cloud:
    """A controller and the means to talk to it."""

    url: str
    kit: Kit
    nursery: trio.Nursery
    events: list[Event]
    token: str = ""
    stored: dict[str, int] = field(default_factory=dict)  # archiver path: bytes
    held: dict[str, bytes] = field(default_factory=dict)  # archiver path: what is there
    refuses: bool = False  # the archiver is full
    updates: list[Update] = field(default_factory=list)
    folder: Path = Path()  # where stagers put what they deliver

    async def call(
        self, method: str, path: str, body: Any = None, *, expect: int | None = None
    ) -> Any:
        """Ask the API as admin; *expect* is the status that must come back."""
        answer = await self.raw(method, path, body)
        if expect is not None:
            assert answer.status == expect, answer.body
        if location := answer.headers.get("location"):
            return location
        return answer.json() if answer.body else None

    async def raw(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The bare answer."""
        login = {"Authorization": f"bearer {self.token}"} if self.token else {}
        url = path if path.startswith("http") else self.url + path
        return await self.kit.http.request(method, url, json=body, headers=login | headers)

    async def login(self) -> None:
        """Get a token."""
        answer = await self.kit.http.request(
            "POST",
            f"{self.url}/oauth/token",
            content=b"grant_type=password&username=admin&password=admin",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        self.token = answer.json()["access_token"]

    async def space(self) -> str:
        """The guid of space dev."""
        return str((await self.call("GET", "/v3/spaces"))["resources"][0]["guid"])

    async def app(self, name: str = "hello") -> str:
        """A new app's guid."""
        relation = {"space": {"data": {"guid": await self.space()}}}
        made = await self.call(
            "POST", "/v3/apps", {"name": name, "relationships": relation}, expect=201
        )
        return str(made["guid"])

    async def package(self, app: str, files: dict[str, str], tmp_path: Path) -> str:
        """A READY package of *files*."""
        relation = {"app": {"data": {"guid": app}}}
        made = await self.call("POST", "/v3/packages", {"relationships": relation}, expect=201)
        guid = str(made["guid"])
        bits = tmp_path / f"{guid}.zip"
        bits.write_bytes(zipped(files))
        answer = await self.upload(guid, bits)
        assert answer.json()["state"] == "READY", answer.body
        return guid

    async def upload(self, package: str, bits: Path, resources: str = "[]") -> Any:
        """Upload *bits* to a package; the bare answer."""
        return await self.kit.http.upload_form(
            f"{self.url}/v3/packages/{package}/upload",
            "bits",
            bits,
            filename="package.zip",
            fields={"resources": resources},
            headers={"Authorization": f"bearer {self.token}"},
        )

    async def staged(self, app: str, tmp_path: Path, text: str = "print('hi')") -> str:
        """The guid of a droplet, made by the stager that is there."""
        package = await self.package(app, {"app.py": text}, tmp_path)
        build = await self.build(package)
        assert build["state"] == "STAGED", build["error"]
        return str(build["droplet"]["guid"])

    async def build(self, package: str) -> Any:
        """A build of *package*, ended."""
        build = await self.call("POST", "/v3/builds", {"package": {"guid": package}}, expect=201)
        with trio.fail_after(10):
            while build["state"] == "STAGING":
                build = await self.call("GET", f"/v3/builds/{build['guid']}", expect=200)
        return build

    async def states(self, process: str) -> list[str]:
        """The states that clients are shown."""
        stats = await self.call("GET", f"/v3/processes/{process}/stats", expect=200)
        return [one["state"] for one in stats["resources"]]

    async def until_states(self, process: str, *wanted: str) -> None:
        """Ask, as clients do, until the process's instances are in these states."""
        with trio.fail_after(10):
            while await self.states(process) != list(wanted):
                await trio.lowlevel.checkpoint()


@asynccontextmanager
async def running_cloud(root: Path | None = None, **settings: Any) -> AsyncIterator[Cloud]:
    """A controller with *settings*, and an archiver that notes what it is sent."""
    events: list[Event] = []
    log = TraceLog(10_000)
    async with open_spawner() as spawner, trio.open_nursery() as nursery:
        client = Client()
        kit = Kit(
            room="test",
            bus=LocalBus(),
            http=client,
            spawner=spawner,
            trace=Trace("test", [events.append, log]),
        )
        cloud = Cloud(url="", kit=kit, nursery=nursery, events=events)

        async def keep(exchange: Exchange) -> None:
            if cloud.refuses:
                await exchange.reply(507, "full")
                return
            cloud.held[exchange.path] = await exchange.receive_bytes(1 << 24)
            cloud.stored[exchange.path] = len(cloud.held[exchange.path])
            await exchange.reply(200, "OK")

        async def forget(exchange: Exchange) -> None:
            cloud.stored.pop(exchange.path, None)
            await exchange.reply(200, "OK")

        async def give(exchange: Exchange) -> None:
            there = exchange.path in cloud.stored
            await exchange.reply(200 if there else 404, cloud.held[exchange.path] if there else b"")

        path = "/droplets/:app/:sha1"
        blobs = [Blob("POST", path, keep), Blob("DELETE", path, forget), Blob("GET", path, give)]

        async def archiver(*, task_status: trio.TaskStatus[str]) -> None:
            await serve_http(
                None, "127.0.0.1:0", kit.named("archiver"), blobs=blobs, task_status=task_status
            )

        async def controller(*, task_status: trio.TaskStatus[str]) -> None:
            config = replace(
                ControllerConfig(),
                bind="127.0.0.1:0",
                root=root,
                archivers=(archiver_url.replace("://", "://u:p@"),),
                broker_poll=0.02,
                **settings,
            )
            await serve(config, kit.named("controller"), trace_log=log, task_status=task_status)

        archiver_url = await nursery.start(archiver)
        cloud.url = await nursery.start(controller)
        await cloud.login()
        try:
            yield cloud
        finally:
            kit.stopping.set()
            await client.aclose()
            nursery.cancel_scope.cancel()


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    """A controller in memory."""
    async with running_cloud() as made:
        yield made


@dataclass
class Stager:
    """Answers staging requests: fetches the package and delivers a droplet, or fails."""

    cloud: Cloud
    error: str | None = None
    deliver: bool = True
    hold: trio.Event | None = None
    holding: trio.Event = field(default_factory=trio.Event)  # it has the package, and waits
    answered: trio.Event = field(default_factory=trio.Event)  # it has answered a request
    requests: list[StagingRequest] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)  # fields of the reply

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Take requests until cancelled."""
        kit = self.cloud.kit.named("stager")
        async with kit.subscribe(StagingRequest, queue="staging") as inbox:
            task_status.started()
            async for received in inbox:
                request = received.body
                self.requests.append(request)
                package = await kit.http.request("GET", request.download_uri)
                assert package.status == 200
                if self.hold is not None:
                    self.holding.set()
                    await self.hold.wait()
                if self.deliver and self.error is None:
                    answer = await self.upload(request, package.body)
                    assert answer.status == 200, answer.body
                reply = StagingReply(
                    task_id=request.task_id or "",
                    task_log="[2026-01-01 00:00:00] Done!\n",
                    error=self.error,
                    process_types={"web": "python3 app.py", "worker": "python3 work.py"},
                    detected="python",
                    **self.more,
                )
                kit.respond(received, reply)
                self.answered.set()

    async def upload(self, request: StagingRequest, droplet: bytes) -> Any:
        """Deliver *droplet* as a stager of 2012 does."""
        path = trio.Path(self.cloud.folder / "droplet.tgz")
        await path.write_bytes(droplet)
        return await self.cloud.kit.http.upload_form(
            request.upload_uri, "upload[droplet]", Path(path), filename="droplet.tgz"
        )


@pytest.fixture
async def stager(cloud: Cloud, tmp_path: Path) -> Stager:
    """A stager beside the controller."""
    cloud.folder = tmp_path
    made = Stager(cloud)
    await cloud.nursery.start(made.run)
    return made


@dataclass
class Dea:
    """A DEA that runs nothing: each start order becomes RUNNING, or what *fate* says."""

    cloud: Cloud
    fate: str = "RUNNING"  # RUNNING, CRASHED, or STARTING for ever
    room: bool = True
    slow_to_stop: bool = False  # what was asked to end runs on
    live: dict[str, Start] = field(default_factory=dict)
    starts: list[Start] = field(default_factory=list)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Be there until cancelled."""
        async with trio.open_nursery() as nursery:
            for listener in (self.discover, self.start, self.stop, self.find, self.update):
                await nursery.start(listener)
            task_status.started()

    async def discover(self, *, task_status: trio.TaskStatus[None]) -> None:
        kit = self.cloud.kit.named("dea")
        async with kit.subscribe(Discover) as inbox:
            task_status.started()
            async for received in inbox:
                if self.room:
                    kit.respond(received, Hello(id="d1", ip="127.0.0.1", port=1))

    async def start(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with self.cloud.kit.named("dea").subscribe(Start) as inbox:
            task_status.started()
            async for received in inbox:
                order = received.body
                self.starts.append(order)
                self.live[str(order.instance_guid)] = order
                self.beat(order, "STARTING")
                if self.fate == "RUNNING":
                    self.beat(order, "RUNNING")
                elif self.fate == "CRASHED":
                    self.exit(order, "CRASHED", "Exited with status 1")

    async def stop(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with self.cloud.kit.named("dea").subscribe(Stop) as inbox:
            task_status.started()
            async for received in inbox:
                order = received.body
                for guid, start in list(self.live.items()):
                    chosen = order.instances is None or guid in order.instances
                    if start.droplet == order.droplet and chosen and not self.slow_to_stop:
                        self.exit(start, "STOPPED", None)

    async def find(self, *, task_status: trio.TaskStatus[None]) -> None:
        kit = self.cloud.kit.named("dea")
        async with kit.subscribe(FindDroplet) as inbox:
            task_status.started()
            async for received in inbox:
                for guid, start in self.live.items():
                    if start.droplet == received.body.droplet:
                        found = FoundInstance(
                            dea="d1",
                            version=start.version,
                            droplet=str(start.droplet),
                            instance=guid,
                            index=start.index,
                            state="RUNNING",
                            state_timestamp=1.0,
                        )
                        kit.respond(received, found)

    async def update(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with self.cloud.kit.named("dea").subscribe(Update) as inbox:
            task_status.started()
            async for received in inbox:
                self.cloud.updates.append(received.body)

    def beat(self, order: Start, state: str) -> None:
        """Tell of one instance."""
        instance = HeartbeatInstance(
            droplet=str(order.droplet),
            version=order.version,
            instance=str(order.instance_guid),
            index=order.index,
            state=state,
            state_timestamp=1,
        )
        self.cloud.kit.publish(Heartbeat(droplets=[instance], dea="d1"))

    def exit(self, order: Start, reason: str, why: str | None) -> None:
        """End one instance."""
        del self.live[str(order.instance_guid)]
        exited = DropletExited(
            droplet=str(order.droplet),
            version=order.version,
            instance=str(order.instance_guid),
            index=order.index,
            reason=reason,
            crash_timestamp=1 if reason == "CRASHED" else None,
            exit_description=why,
        )
        self.cloud.kit.publish(exited)


@pytest.fixture
async def dea(cloud: Cloud) -> Dea:
    """A DEA beside the controller."""
    made = Dea(cloud)
    await cloud.nursery.start(made.run)
    return made
