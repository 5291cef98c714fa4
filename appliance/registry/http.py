"""The distribution API, read only; no decisions."""

from __future__ import annotations

from appliance.kernel.http.blob_plane import Blob, Exchange
from appliance.registry.controller import App, Controller, Droplet
from appliance.registry.errors import BlobUnknown, ManifestUnknown, NameUnknown, ReadOnly
from appliance.registry.images import Images
from appliance.registry.manifest import INDEX_TYPE, MANIFEST_TYPE, Image, empty_index
from appliance.registry.names import PAGE, Wanted, is_digest, page, parse, slug
from appliance.registry.store import Store

VERSION_HEADER = {"Docker-Distribution-Api-Version": "registry/2.0"}
IMMUTABLE = {"Cache-Control": "max-age=31536000, immutable"}
LATEST = "latest"


class Routes:
    """Who answers what under ``/v2/``."""

    def __init__(self, controller: Controller, images: Images, store: Store) -> None:
        self._controller = controller
        self._images = images
        self._store = store

    def blobs(self) -> list[Blob]:
        """The routes, for `serve_http`."""
        pushes = [Blob(verb, "/v2/*path", refuse) for verb in ("POST", "PUT", "PATCH", "DELETE")]
        return [
            Blob("GET", "/v2", self.get),
            Blob("GET", "/v2/*path", self.get),
            *pushes,
        ]

    async def get(self, exchange: Exchange) -> None:
        """``GET`` and ``HEAD`` of everything that can be pulled."""
        exchange.answer_headers |= VERSION_HEADER
        wanted = parse(exchange.params.get("path", ""))
        if wanted.kind == "base":
            await exchange.reply(200, {})
        elif wanted.kind == "catalog":
            await self._catalog(exchange)
        elif wanted.kind == "tags":
            await self._tags(exchange, await self._app(wanted))
        elif wanted.kind == "manifests":
            await self._manifest(exchange, wanted)
        elif wanted.kind == "blobs":
            await self._blob(exchange, wanted)
        else:
            # Nothing is ever attached to an image here, which is an answer, not an error.
            await exchange.reply(200, empty_index(), content_type=INDEX_TYPE)

    async def _catalog(self, exchange: Exchange) -> None:
        names = [slug(app.name) or app.guid for app in await self._controller.apps()]
        shown, link = page(names, exchange.query, "/v2/_catalog", default=PAGE)
        await exchange.reply(200, {"repositories": shown}, headers=_linked(link))

    async def _tags(self, exchange: Exchange, app: App) -> None:
        tags = [droplet.guid for droplet in await self._controller.droplets(app)]
        if await self._controller.current(app):
            tags.append(LATEST)
        shown, link = page(tags, exchange.query, exchange.path)
        name = exchange.path.removeprefix("/v2/").removesuffix("/tags/list")
        await exchange.reply(200, {"name": name, "tags": shown}, headers=_linked(link))

    async def _manifest(self, exchange: Exchange, wanted: Wanted) -> None:
        digest = wanted.reference
        if is_digest(digest):
            data = self._store.manifest(digest) or await self._made_again(wanted)
        else:
            image = await self._tagged(wanted)
            digest, data = image.digest, image.manifest
        headers = {"Docker-Content-Digest": digest, "ETag": f'"{digest}"'}
        if f'"{digest}"' in exchange.headers.get("if-none-match", ""):
            await exchange.reply(304, headers=headers)
            return
        await exchange.reply(200, data, headers=headers, content_type=MANIFEST_TYPE)

    async def _tagged(self, wanted: Wanted) -> Image:
        app = await self._app(wanted)
        droplet: Droplet | None = None
        if wanted.reference == LATEST:
            droplet = await self._controller.current(app)
        else:
            for each in await self._controller.droplets(app):
                if each.guid == wanted.reference:
                    droplet = each
        if droplet is None:
            raise ManifestUnknown(f"{wanted.repository} has no droplet {wanted.reference!r}.")
        return await self._images.image(droplet)

    async def _made_again(self, wanted: Wanted) -> bytes:
        """A manifest whose store is gone, as after a restart: conversion repeats itself.

        Raises:
          ManifestUnknown: the app's current droplet gives another digest.
        """
        droplet = await self._controller.current(await self._app(wanted))
        if droplet is not None:
            image = await self._images.image(droplet)
            if image.digest == wanted.reference:
                return image.manifest
        raise ManifestUnknown(f"{wanted.repository} has no manifest {wanted.reference}.")

    async def _blob(self, exchange: Exchange, wanted: Wanted) -> None:
        path = self._store.path(wanted.reference)
        if path is None:
            raise BlobUnknown(f"No image has a blob {wanted.reference}.")
        headers = {"Docker-Content-Digest": wanted.reference} | IMMUTABLE
        await exchange.send_file(path, etag=wanted.reference, headers=headers)

    async def _app(self, wanted: Wanted) -> App:
        app = await self._controller.find_app(wanted.repository)
        if app is None:
            raise NameUnknown(f"There is no app for the repository {wanted.repository!r}.")
        return app


async def refuse(exchange: Exchange) -> None:
    """Every verb that would change something."""
    raise ReadOnly(f"{exchange.method} is not supported: this registry is read only.")


def _linked(link: str) -> dict[str, str]:
    return {"Link": link} if link else {}
