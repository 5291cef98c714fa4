"""The routes of the package cache: those of 2012, and those for stagers on other machines."""

from __future__ import annotations

import json
from dataclasses import dataclass

import trio

from appliance.kernel.errors import ApplianceError, BadRequest, NotFound
from appliance.kernel.http.blob_plane import Blob, Exchange
from appliance.package_cache.keys import is_key
from appliance.package_cache.loader import Loader

REQUIREMENTS = 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Routes:
    """Handlers; what they decide is elsewhere."""

    loader: Loader

    def blobs(self) -> list[Blob]:
        """Everything this room answers, besides /varz and /healthz."""
        return [
            Blob("PUT", "/load/:location/:type/:name/:runtime", self.load),
            Blob("POST", "/resolve/pip/:runtime", self.resolve),
            Blob("GET", "/packages", self.index),
            Blob("GET", "/packages/:key", self.package),
        ]

    async def load(self, exchange: Exchange) -> None:
        """204: built now; 200: was there; 500 with a JSON string: why not, as in 2012."""
        given = exchange.params
        try:
            built = await self.loader.load(
                given["location"], given["type"], given["name"], given["runtime"]
            )
        except ApplianceError as error:
            text = f"{error} {error.hint}".strip()
            body = json.dumps(text).encode()
            await exchange.reply(500, body, content_type="application/json")
        else:
            await exchange.reply(204 if built else 200)

    async def resolve(self, exchange: Exchange) -> None:
        """The pins for the requirements in the body."""
        runtime = self.loader.runtimes.get(exchange.params["runtime"], "python")
        body = await exchange.receive_bytes(REQUIREMENTS)
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise BadRequest("The requirements are not UTF-8.") from None
        resolution = await self.loader.resolver.resolve(text, runtime)
        await exchange.reply(200, resolution.answer(runtime.name))

    async def index(self, exchange: Exchange) -> None:
        """All packages of an index that are here."""
        listing = await trio.to_thread.run_sync(self.loader.store.listing)
        await exchange.reply(200, {"packages": listing})

    async def package(self, exchange: Exchange) -> None:
        """One package's archive."""
        key = exchange.params["key"]
        if not is_key(key):
            raise NotFound(f"There is no package {key!r}.")
        # A key's content never changes while it is there.
        await exchange.send_file(self.loader.store.path(key), content_type="application/gzip")
