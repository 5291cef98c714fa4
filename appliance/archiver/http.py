"""The routes of one archiver: those of 2012, and a few of ours. No decisions."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from appliance.archiver.checkup import examine, unreadable
from appliance.archiver.errors import DropletLost, NoSuchDroplet
from appliance.archiver.messages import DropletStored
from appliance.archiver.plan import Holding, Key, Peer, check_name
from appliance.archiver.scrub import note_failure, set_aside
from appliance.archiver.store import DropletStore, Kept
from appliance.archiver.wire import headers, present, read_generation, read_sha256
from appliance.config import MIB, ArchiverConfig
from appliance.kernel.errors import ApplianceError, BadRequest, StorageFull
from appliance.kernel.http.auth import basic_auth
from appliance.kernel.http.blob_plane import Blob, Exchange
from appliance.kernel.kit import Kit

RESERVE = 64 * MIB  # bytes that uploads leave free on the disk
SMALL = 1 * MIB  # bytes; what is larger is checked while it is sent, and not before

Handler = Callable[[Exchange], Awaitable[None]]


class Routes:
    """The handlers, and what they share."""

    def __init__(
        self,
        store: DropletStore,
        peers: Sequence[Peer],
        config: ArchiverConfig,
        kit: Kit,
        password: str,
    ) -> None:
        self._store = store
        self._peers = [peer.name for peer in peers]
        self._config = config
        self._kit = kit
        self._password = password

    def owe(self, peer: Peer) -> None:
        """From now on *peer* gets what is stored here, too."""
        self._peers.append(peer.name)

    def blobs(self) -> list[Blob]:
        """All routes; all but the two about health need the archiver's user and password."""
        return [
            Blob("GET", "/droplets/:app_id/:digest", self._guarded(self.get)),
            Blob("POST", "/droplets/:app_id/:digest", self._guarded(self.post)),
            Blob("DELETE", "/droplets/:app_id/:digest", self._guarded(self.delete)),
            Blob("GET", "/droplets", self._guarded(self.list)),
            Blob("POST", "/sync/:app_id/:digest", self._guarded(self.sync)),
            Blob("DELETE", "/sync/:app_id/:digest", self._guarded(self.sync_deletion)),
            Blob("GET", "/digests", self._guarded(self.digests)),
            Blob("GET", "/digests/:prefix", self._guarded(self.bucket)),
            Blob("GET", "/healthz", self.healthz),
            Blob("GET", "/readyz", self.readyz),
        ]

    async def get(self, exchange: Exchange) -> None:
        """The droplet; Range, HEAD and If-None-Match work. Wrong bytes never end cleanly."""
        held = await self._store.find(_key(exchange))
        try:
            await self._send(exchange, held)
        except OSError as error:
            why = unreadable(held, error)
            why.__cause__ = error
        except DropletLost as error:
            why = error
        else:
            return
        await set_aside(self._store, held, why, self._kit)
        raise why

    async def post(self, exchange: Exchange) -> None:
        """200 once the droplet is on disk and owed to the peers; no peer is waited for."""
        kept = await self._receive(exchange, generation=0, owed_to=self._peers)
        if kept.fresh:
            self.announce(kept.holding, replica=False)
        await exchange.reply(200, "OK")

    async def sync(self, exchange: Exchange) -> None:
        """A replica from a peer: stored as any, and owed to nobody."""
        generation = read_generation(exchange.headers, stored=True)
        kept = await self._receive(exchange, generation=generation, owed_to=())
        if kept.fresh:
            self.announce(kept.holding, replica=True)
        await exchange.reply(200, "OK")

    async def delete(self, exchange: Exchange) -> None:
        """204 once it is gone here and the peers are owed the deletion."""
        key = _key(exchange)
        # Also when its file is lost: nobody would get rid of it otherwise.
        if await self._store.delete(key, owed_to=self._peers) is None:
            raise NoSuchDroplet(*key)
        self._kit.trace.event("droplet.deleted", app=key[0], sha1=key[1])
        await exchange.reply(204)

    async def sync_deletion(self, exchange: Exchange) -> None:
        """A peer's deletion; repeating it does no harm."""
        key = _key(exchange)
        generation = read_generation(exchange.headers, stored=False)
        if await self._store.delete(key, generation=generation):
            self._kit.trace.event("droplet.deleted", app=key[0], sha1=key[1])
        await exchange.reply(204)

    async def list(self, exchange: Exchange) -> None:
        """``{"droplets": [{"app_id", "sha1", "sha256", "size", "stored_at"}]}``; ``?app_id=``."""
        rows = await self._store.droplets(exchange.query.get("app_id", ""))
        droplets = [
            {
                "app_id": held.app_id,
                "sha1": held.sha1,
                "sha256": held.sha256,
                "size": held.size,
                "stored_at": stored_at,
            }
            for held, stored_at in rows
        ]
        await exchange.reply(200, {"droplets": droplets})

    async def digests(self, exchange: Exchange) -> None:
        """``{"buckets": {"2f": digest}}``, for peers to compare; empty ones are left out."""
        await exchange.reply(200, {"buckets": await self._store.digests()})

    async def bucket(self, exchange: Exchange) -> None:
        """What is known about the droplets whose SHA-1 starts with these two digits."""
        prefix = exchange.params["prefix"]
        if not re.fullmatch(r"[0-9a-f]{2}", prefix):
            raise BadRequest(f"{prefix[:40]!r} is no bucket: two digits of 0-9a-f are.")
        await exchange.reply(200, present(await self._store.bucket(prefix)))

    async def healthz(self, exchange: Exchange) -> None:
        """The process is alive."""
        await exchange.reply(200, "ok")

    async def readyz(self, exchange: Exchange) -> None:
        """Whether this archiver takes droplets, and why not."""
        ready = self._kit.health.ready(self._kit.room)
        report = self._kit.health.report()
        await exchange.reply(200 if ready else 503, report)

    async def _send(self, exchange: Exchange, held: Holding) -> None:
        if not self._store.in_place(held):
            raise DropletLost(*held.key)
        small = held.size <= SMALL
        if small and exchange.method != "HEAD":
            await self._store.check(held)
        await exchange.send_file(
            self._store.path(held),
            content_type="application/octet-stream",
            etag=held.sha256,
            headers=headers(held),
            check=None if small else partial(examine, held),
        )

    def announce(self, held: Holding, replica: bool) -> None:
        """Tell the bus and the trace that a droplet is on this archiver's disk."""
        self._kit.trace.event(
            "droplet.stored",
            app=held.app_id,
            sha1=held.sha1,
            bytes=held.size,
            replica=replica,
        )
        self._kit.publish(
            DropletStored(
                archiver=self._kit.room,
                app_id=held.app_id,
                sha1=held.sha1,
                sha256=held.sha256,
                size=held.size,
                replica=replica,
            )
        )

    async def _receive(
        self, exchange: Exchange, *, generation: int, owed_to: Sequence[str]
    ) -> Kept:
        key = _key(exchange)
        promised = read_sha256(exchange.headers)
        self._check_room(exchange)
        received = await exchange.receive_file(
            self._store.spool, limit=self._config.max_droplet, fsync=self._store.blobs.fsync
        )
        return await self._store.keep(
            key, received, sha256=promised, generation=generation, owed_to=owed_to
        )

    def _check_room(self, exchange: Exchange) -> None:
        # Before reading, so that a droplet which cannot fit does not fill the disk first.
        length = exchange.headers.get("content-length", "0")
        free = self._store.blobs.disk.free(self._store.spool)
        if int(length if length.isdigit() else 0) + RESERVE > free:
            raise StorageFull("The archiver's disk has no room for this droplet.")

    def _guarded(self, handler: Handler) -> Handler:
        """*handler* behind the password; a failing disk makes the room unhealthy."""

        async def guarded(exchange: Exchange) -> None:
            basic_auth(exchange.headers, self._config.user, self._password)
            try:
                await handler(exchange)
            except (ApplianceError, OSError) as error:
                note_failure(error, self._kit)
                raise

        return guarded


def _key(exchange: Exchange) -> Key:
    return check_name(exchange.params["app_id"], exchange.params["digest"])
