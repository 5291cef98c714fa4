"""A controller that has apps and droplets, and a registry that asks it."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs

import pytest
import trio

from appliance.config import RegistryConfig
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.errors import NotFound, Unauthorized
from appliance.kernel.http.blob_plane import Blob, Exchange
from appliance.kernel.http.client import Client
from appliance.kernel.http.server import serve_http
from appliance.kernel.kit import Kit
from appliance.kernel.trace import Event, Trace
from appliance.registry.service import serve

SECRET = "registry-secret"
ORG, SPACE = "10000000-0000-4000-8000-000000000000", "20000000-0000-4000-8000-000000000000"
WEB = "30000000-0000-4000-8000-000000000000"
DROPLET = "40000000-0000-4000-8000-000000000000"
OLDER = "50000000-0000-4000-8000-000000000000"


def make_droplet(text: str = "hello") -> bytes:
    """A small droplet whose command prints *text*."""
    info = {"detected_buildpack": "binary", "start_command": f"echo {text}"}
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, content in {
            "staging_info.yml": json.dumps(info).encode(),
            "app/hello.txt": text.encode() * 10_000,
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()


@dataclass
class FakeController:
    """Enough of CAPI and UAA for the registry; counts what it was asked."""

    folder: Path
    url: str = ""
    archiver: str = ""
    apps: list[dict[str, Any]] = field(default_factory=list)
    droplets: dict[str, bytes] = field(default_factory=dict)
    current: dict[str, str] = field(default_factory=dict)
    token: str = "token-1"
    tokens: int = 0
    downloads: int = 0
    gate: trio.Event = field(default_factory=trio.Event)  # downloads wait for it

    def blobs(self) -> list[Blob]:
        """Its routes."""
        return [
            Blob("POST", "/oauth/token", self.grant),
            Blob("GET", "/v3/apps", self.list_apps),
            Blob("GET", "/v3/apps/:guid", self.show_app),
            Blob("GET", "/v3/apps/:guid/droplets/current", self.show_current),
            Blob("GET", "/v3/organizations", self.list_orgs),
            Blob("GET", "/v3/spaces", self.list_spaces),
            Blob("GET", "/v3/droplets", self.list_droplets),
            Blob("GET", "/v3/droplets/:guid/download", self.download),
            Blob("GET", "/archive/:guid", self.archive),
        ]

    async def grant(self, exchange: Exchange) -> None:
        form = parse_qs((await exchange.receive_bytes(10_000)).decode())
        assert form["grant_type"] == ["client_credentials"]
        if (form["client_id"], form["client_secret"]) != (["registry"], [SECRET]):
            raise Unauthorized("Bad client credentials.")
        self.tokens += 1
        await exchange.reply(200, {"access_token": self.token, "expires_in": 3600})

    def check(self, exchange: Exchange) -> None:
        if exchange.headers.get("authorization") != f"Bearer {self.token}":
            raise Unauthorized("Invalid token.")

    async def page(self, exchange: Exchange, found: list[dict[str, Any]]) -> None:
        """One resource per page, so that the links must be followed."""
        self.check(exchange)
        if names := exchange.query.get("names"):
            found = [each for each in found if each["name"] in names.split(",")]
        at = int(exchange.query.get("page", "1"))
        following = None
        if at < len(found):
            query = "&".join(
                f"{name}={value}"
                for name, value in (exchange.query | {"page": str(at + 1)}).items()
            )
            following = {"href": f"{exchange.url}{exchange.path}?{query}"}
        told = {"pagination": {"next": following}, "resources": found[at - 1 : at]}
        await exchange.reply(200, told)

    async def list_apps(self, exchange: Exchange) -> None:
        assert exchange.query.get("space_guids", SPACE) == SPACE
        await self.page(exchange, self.apps)

    async def show_app(self, exchange: Exchange) -> None:
        self.check(exchange)
        for app in self.apps:
            if app["guid"] == exchange.params["guid"]:
                return await exchange.reply(200, app)
        raise NotFound("App not found")

    async def list_orgs(self, exchange: Exchange) -> None:
        await self.page(exchange, [{"guid": ORG, "name": "dev"}])

    async def list_spaces(self, exchange: Exchange) -> None:
        assert exchange.query["organization_guids"] == ORG
        await self.page(exchange, [{"guid": SPACE, "name": "dev"}])

    def droplet(self, guid: str) -> dict[str, Any]:
        return {
            "guid": guid,
            "created_at": "2026-01-02T03:04:05Z",
            "state": "STAGED",
            "process_types": {"web": "from the controller"},
            "checksum": None,
        }

    async def show_current(self, exchange: Exchange) -> None:
        self.check(exchange)
        guid = self.current.get(exchange.params["guid"])
        if guid is None:
            raise NotFound("Droplet not found")
        await exchange.reply(200, self.droplet(guid))

    async def list_droplets(self, exchange: Exchange) -> None:
        owned = self.droplets if exchange.query["app_guids"] == WEB else {}
        staged = [self.droplet(guid) for guid in owned]
        failed = {**self.droplet("60000000-0000-4000-8000-000000000000"), "state": "FAILED"}
        await self.page(exchange, [*staged, failed])

    async def download(self, exchange: Exchange) -> None:
        self.check(exchange)
        self.downloads += 1
        await self.gate.wait()
        location = f"{self.archiver}/archive/{exchange.params['guid']}"
        await exchange.reply(302, headers={"Location": location})

    async def archive(self, exchange: Exchange) -> None:
        # Another origin: the registry's token is not for it.
        assert "authorization" not in exchange.headers
        path = self.folder / exchange.params["guid"]
        path.write_bytes(self.droplets[exchange.params["guid"]])
        await exchange.send_file(path)


@pytest.fixture
def events() -> list[Event]:
    """What the kit's trace was told."""
    return []


@pytest.fixture
async def kit(events: list[Event]) -> AsyncIterator[Kit]:
    """A kit with a real bus and client."""
    bus, client = LocalBus(), Client()
    yield Kit(
        room="registry",
        bus=bus,
        http=client.named("registry"),
        spawner=cast(Any, None),
        trace=Trace("registry", [events.append]),
    )
    await client.aclose()
    await bus.aclose()


@pytest.fixture
async def controller(kit: Kit, nursery: trio.Nursery, tmp_path: Path) -> FakeController:
    """One app ``web`` with two droplets, and one app that was never staged."""
    folder = tmp_path / "archive"
    folder.mkdir()
    fake = FakeController(folder)
    fake.apps = [{"guid": WEB, "name": "web"}, {"guid": WEB[:-1] + "1", "name": "My Empty App"}]
    fake.droplets = {DROPLET: make_droplet("new"), OLDER: make_droplet("old")}
    fake.current = {WEB: DROPLET}
    fake.gate.set()
    start = partial(serve_http, None, "127.0.0.1:0", kit, blobs=fake.blobs())
    fake.url = await nursery.start(start)
    fake.archiver = await nursery.start(start)
    return fake


@pytest.fixture
async def registry(controller: FakeController, kit: Kit, nursery: trio.Nursery) -> str:
    """The URL of a registry with a store of its own."""
    config = RegistryConfig(bind="127.0.0.1:0", controller=controller.url, client_secret=SECRET)
    return cast(str, await nursery.start(partial(serve, config, kit)))
