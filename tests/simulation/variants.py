"""The archiver as it is, and with one thing broken; the simulation must tell them apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from appliance.archiver import outbox
from appliance.archiver.http import Routes, _key
from appliance.archiver.plan import Holding, Key
from appliance.archiver.store import DropletStore, Kept, Received
from appliance.archiver.wire import headers
from appliance.kernel.http.blob_plane import Exchange

#: Everything that can happen to a world.
FAULTS = frozenset({
    "kill", "power", "crash point", "partition", "loss", "duplicate", "lost reply", "broken body",
    "full", "read only", "fsync", "flip", "unreadable", "clock",
})  # fmt: skip
DAMAGE = frozenset({"flip", "unreadable"})


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What runs, and what happens to it. ``Variant()`` is the product under all faults."""

    name: str = "correct"
    faults: frozenset[str] = FAULTS
    store: type[DropletStore] = DropletStore
    routes: type[Routes] = Routes
    sync_files: bool = True
    sync_folders: bool = True
    synchronous: bool = True  # SQLite FULL; else NORMAL
    outbox: bool = True
    memory_outbox: bool = False
    forgetful: bool = False  # what cannot be sent is crossed out
    anti_entropy: bool = True
    scrub: bool = True
    readers: bool = True  # users read droplets during the faults
    read_all: bool = False  # and all of them once afterwards
    crash_chance: float = 0.004  # at each fault point
    together: float = 3.0  # seconds between equal uploads at the same moment, at the mean


class WithoutCheck(Routes):
    """Sends what is in the file."""

    async def _send(self, exchange: Exchange, held: Holding) -> None:
        await exchange.send_file(self._store.path(held), etag=held.sha256, headers=headers(held))


class SyncOwesAgain(Routes):
    """A replica is owed to the peers as if it were new."""

    async def sync(self, exchange: Exchange) -> None:
        await super().sync(exchange)
        key, peers, now = _key(exchange), self._peers, self._kit.clock.time()
        await self._store._db.write(lambda db: outbox.owe(db, key, peers, now=now, trace=""))
        self._store.outbox.ring()


class HaveItTooEarly(DropletStore):
    """Says that a droplet is here as soon as its file has the name."""

    async def keep(
        self,
        key: Key,
        received: Received,
        *,
        sha256: str = "",
        generation: int = 0,
        owed_to: Iterable[str] = (),
    ) -> Kept:
        if self.blobs.exists(received.sha256):
            self.blobs.discard(received.path)
            held = Holding(*key, received.sha256, received.size, generation or 1)
            return Kept(held, fresh=False)
        return await super().keep(
            key, received, sha256=sha256, generation=generation, owed_to=owed_to
        )


CORRECT = Variant()
#: One repair mechanism alone, with what it is there for (damage is beyond the outbox), and
#: the worlds in which only the correct code may survive what some broken one does not.
ALONE = (
    Variant(name="outbox alone", anti_entropy=False, scrub=False, faults=FAULTS - DAMAGE),
    Variant(name="anti-entropy alone", outbox=False, scrub=False, faults=FAULTS - DAMAGE),
    Variant(name="scrub finds damage", outbox=False, routes=WithoutCheck, readers=False),
    Variant(name="reading finds damage", outbox=False, scrub=False, read_all=True),
    Variant(name="hot droplets", crash_chance=0.05, together=0.4),
    Variant(name="no fault at all", anti_entropy=False, scrub=False, faults=frozenset()),
)  # fmt: skip

_OUTBOX_ONLY: dict[str, Any] = {
    "anti_entropy": False, "scrub": False, "faults": FAULTS - DAMAGE,
}  # fmt: skip
BROKEN = (
    Variant(name="no fsync of the file", sync_files=False),
    Variant(name="no fsync of the folder", sync_folders=False),
    Variant(name="no digest check on GET", routes=WithoutCheck),
    Variant(name="no scrub", scrub=False),
    Variant(name="no anti-entropy", anti_entropy=False),
    Variant(name="sync owes again", routes=SyncOwesAgain),
    Variant(name="outbox in memory", memory_outbox=True, **_OUTBOX_ONLY),
    Variant(name="outbox dropped on the first error", forgetful=True, **_OUTBOX_ONLY),
    Variant(name="synchronous NORMAL", synchronous=False, **_OUTBOX_ONLY),
    Variant(name="have it too early", store=HaveItTooEarly, crash_chance=0.05, together=0.4),
)
