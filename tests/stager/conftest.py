"""A stager with everything real around it but the controller, which is a few lines here."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import socket
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.config import StagerConfig
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.http.blob_plane import Blob, Exchange
from appliance.kernel.http.client import Client, Response
from appliance.kernel.http.errors import HttpFailed
from appliance.kernel.http.server import serve_http
from appliance.kernel.kit import Kit
from appliance.kernel.process.archive import DROPLET_LIMITS, unpack_tar
from appliance.kernel.process.output import Lines
from appliance.kernel.process.sandbox import Profile
from appliance.kernel.process.spawner import Child, open_spawner
from appliance.kernel.trace import Event, Trace
from appliance.stager.messages import BuildpackToTry, Properties, StagingReply, StagingRequest
from appliance.stager.service import serve

SAMPLES = Path(__file__).parents[2] / "sample_apps"
MIB = 1024 * 1024


@dataclass
class Droplet:
    """A droplet as it arrived at the controller."""

    data: bytes
    filename: str

    def members(self) -> dict[str, tarfile.TarInfo]:
        """Its members by name."""
        with tarfile.open(fileobj=io.BytesIO(self.data)) as tar:
            return {member.name: member for member in tar}

    def text(self, name: str) -> str:
        """The text of one member."""
        with tarfile.open(fileobj=io.BytesIO(self.data)) as tar:
            file = tar.extractfile(name)
            assert file is not None
            return file.read().decode()

    def unpack(self, into: Path) -> Path:
        """Unpack it, as a DEA does; the folder."""
        packed = into.with_suffix(".tgz")
        packed.write_bytes(self.data)
        unpack_tar(packed, into, DROPLET_LIMITS)
        return into


@dataclass
class Bench:
    """A running stager, and the other end of its two URLs."""

    kit: Kit
    url: str
    folder: Path
    events: list[Event]
    droplets: list[Droplet] = field(default_factory=list)
    package: Path | None = None
    refuse_upload: int = 0
    buildpacks: dict[str, bytes] = field(default_factory=dict)  # zips by name
    given: list[str] = field(default_factory=list)  # names of those that were downloaded
    held: trio.Event | None = None  # downloads wait for it
    asked: trio.Event = field(default_factory=trio.Event)  # a download has begun
    downloads: int = 0

    def push(self, files: Mapping[str, str | bytes] | Mapping[str, str] | Path) -> None:
        """Make *files* the app that is staged next."""
        self.package = self.folder / f"app-{self.kit.ids.hex(8)}.zip"
        with zipfile.ZipFile(self.package, "w", zipfile.ZIP_DEFLATED) as archive:
            if isinstance(files, Path):
                for path in sorted(files.rglob("*")):
                    if path.is_file():
                        archive.write(path, path.relative_to(files))
            else:
                for name, content in files.items():
                    archive.writestr(name, content)

    def request(self, **more: Any) -> StagingRequest:
        """A request for the app that was pushed."""
        fields: dict[str, Any] = {
            "app_id": "app-1",
            "download_uri": f"{self.url}/staging/app/app-1".replace("//", "//user:secret@", 1),
            "upload_uri": f"{self.url}/staging/droplet/app-1".replace("//", "//user:secret@", 1),
            "properties": Properties(),
        }
        return StagingRequest(**fields | more)

    async def stage(self, **more: Any) -> StagingReply:
        """Ask the stager as a controller does."""
        return await self.kit.request(self.request(**more), StagingReply, timeout=60)

    async def give(self, exchange: Exchange) -> None:
        """``GET``: the package, to whoever has the credentials."""
        self.downloads += 1
        self.asked.set()
        if self.held is not None:
            await self.held.wait()
        if "authorization" not in exchange.headers:
            await exchange.reply(401, "Who are you?")
        elif self.package is None:
            await exchange.reply(404, "There is no package.")
        else:
            await exchange.send_file(self.package)

    def buildpack(self, name: str, scripts: Mapping[str, str], **more: Any) -> BuildpackToTry:
        """Offer a classic buildpack of these files; what a request says to have it."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, text in scripts.items():
                archive.writestr(path, text)  # without x-bits, as some tools write them
        self.buildpacks[name] = packed.getvalue()
        fields = {
            "url": f"{self.url}/buildpacks/{name}.zip".replace("//", "//user:secret@", 1),
            "sha256": hashlib.sha256(packed.getvalue()).hexdigest(),
            "skip_detect": True,
        }
        return BuildpackToTry(name=name, **fields | more)

    async def give_buildpack(self, exchange: Exchange) -> None:
        """``GET``: an uploaded buildpack, to whoever has the credentials."""
        name = exchange.params["name"].removesuffix(".zip")
        self.given.append(name)
        if "authorization" not in exchange.headers or name not in self.buildpacks:
            await exchange.reply(404, "There is no such buildpack.")
            return
        file = self.folder / f"{name}.zip"
        file.write_bytes(self.buildpacks[name])
        await exchange.send_file(file)

    async def take(self, exchange: Exchange) -> None:
        """``POST``: the droplet."""
        form = await exchange.receive_form(self.folder, limit=500 * MIB)
        if self.refuse_upload:
            await exchange.reply(self.refuse_upload, "The handle was used before.")
            return
        part = form.files["upload[droplet]"]
        self.droplets.append(Droplet(part.path.read_bytes(), part.filename))
        part.path.unlink()
        await exchange.reply(200, "OK")


@asynccontextmanager
async def running_bench(
    folder: Path, config: StagerConfig, *, sandbox: str = "auto"
) -> AsyncIterator[Bench]:
    """A stager with *config* and its controller, stopped at the end."""
    events: list[Event] = []
    http, bus = Client(), LocalBus()
    async with open_spawner(sandbox) as spawner:
        trace = Trace("stager", [events.append])
        kit = Kit(room="stager", bus=bus, http=http, spawner=spawner, trace=trace)
        bench = Bench(kit, "", folder, events)
        routes = [
            Blob("GET", "/staging/app/:id", bench.give),
            Blob("POST", "/staging/droplet/:id", bench.take),
            Blob("GET", "/buildpacks/:name", bench.give_buildpack),
        ]
        async with trio.open_nursery() as nursery:
            bench.url = await nursery.start(
                partial(serve_http, None, "127.0.0.1:0", kit.named("controller"), blobs=routes)
            )
            await nursery.start(serve, config, kit)
            try:
                yield bench
            finally:
                if bench.held is not None:
                    bench.held.set()
                kit.stopping.set()
                with trio.CancelScope(shield=True):
                    await http.aclose()
        await bus.aclose()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that sandboxed programs of another user can reach, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="stager-test-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
async def bench(folder: Path) -> AsyncIterator[Bench]:
    """A stager without a package cache."""
    async with running_bench(folder, StagerConfig(root=folder / "stager")) as bench:
        yield bench


def expectation(name: str) -> dict[str, Any]:
    """``expect.toml`` of a sample."""
    return tomllib.loads((SAMPLES / name / "expect.toml").read_text())


def staging_info_of(droplet: Droplet) -> dict[str, Any]:
    """The droplet's staging_info.yml, which is JSON."""
    info: dict[str, Any] = json.loads(droplet.text("staging_info.yml"))
    return info


@dataclass
class Running:
    """A droplet's ``startup``, running in the sandbox as on a DEA."""

    port: int
    lines: list[str]
    child: Child

    async def get(self, kit: Kit, path: str = "/") -> Response:
        """GET from the app, once it listens; fails after 10 s."""
        with trio.fail_after(10):
            while True:
                assert self.child.returncode is None, f"it ended: {self.lines}"
                try:
                    return await kit.http.request("GET", f"http://127.0.0.1:{self.port}{path}")
                except HttpFailed:
                    await trio.sleep(0.02)  # a listening port has no event

    async def says(self, text: str) -> None:
        """Wait for a line with *text*; fails after 10 s."""
        with trio.fail_after(10):
            while not any(text in line for line in self.lines):  # noqa: ASYNC110
                await trio.sleep(0.02)


@asynccontextmanager
async def started(
    kit: Kit, droplet: Droplet, into: Path, *, argv: Sequence[str] = ("./startup",), **env: str
) -> AsyncIterator[Running]:
    """Unpack *droplet* into the folder *into* and run it until the block is left."""
    droplet.unpack(into)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sandbox = kit.spawner.sandbox
    await sandbox.hand_over(into)
    variables = {"PORT": str(port), "VCAP_APP_PORT": str(port), "VCAP_APP_HOST": "127.0.0.1"}
    profile = Profile(
        name="app",
        home=into,
        cwd="/home/vcap",
        network="host",
        env={**variables, "VCAP_STREAM_LOGS": "1", "CF_INSTANCE_INDEX": "0", **env},
    )
    command = sandbox.command(profile, list(argv))
    child = await kit.spawner.spawn(command.argv, env=command.env, cwd=command.cwd, stderr="stdout")
    lines: list[str] = []
    assert child.stdout is not None

    async def listen(stream: trio.abc.ReceiveStream) -> None:
        splitter = Lines(lines.append)
        async for chunk in stream:
            splitter.add(bytes(chunk))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen, child.stdout)
        yield Running(port, lines, child)
        nursery.cancel_scope.cancel()
    await child.aclose()
    await sandbox.reclaim(into)
