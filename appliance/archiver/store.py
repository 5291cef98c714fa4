"""The droplets of one archiver: files by their SHA-256, and rows that say whose they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import apsw
import trio

from appliance.archiver import outbox
from appliance.archiver.checkup import examine, opened
from appliance.archiver.errors import DropletLost, NoSuchDroplet, SameName
from appliance.archiver.outbox import Outbox
from appliance.archiver.plan import Holding, Key, digest_bucket, next_generation
from appliance.kernel.clock import Clock
from appliance.kernel.errors import ApplianceError
from appliance.kernel.process.folders import room_folder
from appliance.kernel.store.blobs import BlobStore
from appliance.kernel.store.database import Database, open_database
from appliance.kernel.store.digest import Digest
from appliance.kernel.trace import current_trace

SCHEMA = (
    """
CREATE TABLE droplets (
    app_id TEXT NOT NULL,
    sha1 TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    held INTEGER NOT NULL,      -- 0: the file is gone and must come from a peer
    stored_at REAL NOT NULL,    -- seconds since 1970, for people
    PRIMARY KEY (app_id, sha1)
) WITHOUT ROWID;
CREATE INDEX droplets_sha1 ON droplets (sha1);
CREATE INDEX droplets_sha256 ON droplets (sha256);
"""
    + outbox.SCHEMA,
)

_COLUMNS = "app_id, sha1, sha256, size, generation"

#: Called at named points between two durable steps; a simulation crashes there.
Fault = Callable[[str], Awaitable[None]]


class Received(Protocol):
    """A file in `DropletStore.spool`, received and digested."""

    @property
    def path(self) -> Path: ...
    @property
    def size(self) -> int: ...
    @property
    def sha1(self) -> str: ...
    @property
    def sha256(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a droplet that was handed in."""

    holding: Holding
    fresh: bool  # False: it was here already, or has been deleted since


async def no_fault(point: str) -> None:
    """Nothing happens at *point*."""


class DropletStore:
    """Keeps droplets. Made by `open_store`.

    Disk, database, clock and the crashes at *fault* points are handed in, so that a
    simulation can take their places.
    """

    def __init__(self, db: Database, blobs: BlobStore, clock: Clock, fault: Fault) -> None:
        self.outbox = Outbox(db)
        self.blobs = blobs
        self.fault = fault
        #: Set, and replaced by a new one, when a file was found lost. Take it before looking.
        self.lost = trio.Event()
        self._db = db
        self._disk = blobs.disk
        self._clock = clock
        self._locks: dict[str, trio.Lock] = {}
        self._digests: dict[str, str] = {}  # by bucket
        self._dirty = {f"{number:02x}" for number in range(256)}  # buckets to digest anew

    @property
    def spool(self) -> Path:
        """The folder that droplets are received into, on the same file system."""
        return self.blobs.spool

    async def keep(
        self,
        key: Key,
        received: Received,
        *,
        sha256: str = "",
        generation: int = 0,
        owed_to: Iterable[str] = (),
    ) -> Kept:
        """Store what was *received* as the droplet *key*; the file is moved or removed.

        When this returns, the droplet survives a power cut, and so does the memory
        that it is owed to the peers. A droplet that is here already is not owed again.

        Args:
          sha256: What the sender says about it; "" when it did not.
          generation: For a replica: the peer's. A replica that is older than what is
            known here is not stored.
          owed_to: Names of the peers that are to get it.

        Raises:
          DigestMismatch: the bytes are not what their name promises.
          SameName: another content is stored under this SHA-1.
        """
        app_id, sha1 = key
        try:
            Digest.sha1(sha1).check(received.sha1)
            if sha256:
                Digest.sha256(sha256).check(received.sha256)
            await self.fault("store.checked")
            # One at a time per SHA-1: a second upload must not be told "it is here" before
            # the first is durable, nor a deletion remove the file that is just renamed.
            async with self._locked(sha1):
                known, held = await self._find(key)
                await self._check_collision(sha1, received.sha256)
                current = known.generation if known else 0
                wanted = generation or next_generation(current, stored=True)
                if known and wanted < current:
                    return Kept(known, fresh=False)
                if known and wanted == current and held and await self._in_place(known):
                    return Kept(known, fresh=False)
                holding = Holding(app_id, sha1, received.sha256, received.size, wanted)
                await self._commit(received, holding, owed_to if wanted != current else ())
                return Kept(holding, fresh=True)
        finally:
            # A disk that refuses this has refused more before, which is being reported.
            with suppress(OSError):
                self.blobs.discard(received.path)

    async def _commit(self, received: Received, holding: Holding, owed_to: Iterable[str]) -> None:
        """The steps that make a received file a droplet, in the order that survives a power cut.

        Its bytes are on the disk already: whoever received it has waited for that.
        """
        name = received.sha256
        try:
            await self._disk.run(lambda: self.blobs.place(received.path, name))
            await self.fault("store.renamed")
            await self._disk.run(lambda: self.blobs.settle(name))
            await self.fault("store.settled")
            await self._write(holding, owed_to)
        except (ApplianceError, OSError, trio.Cancelled):
            # What the disk refused once may be gone although it is still in memory: the
            # file must be sent again, and not be synced again.
            await self._remove_unused(name)
            raise
        await self.fault("store.committed")

    async def _in_place(self, holding: Holding) -> bool:
        return await self._disk.run(lambda: self.blobs.size(holding.sha256)) == holding.size

    async def delete(
        self, key: Key, *, generation: int = 0, owed_to: Iterable[str] = ()
    ) -> Holding | None:
        """Delete the droplet *key*; None when there was nothing to delete.

        That it was deleted stays known, so that no peer brings it back.

        Args:
          generation: For a peer's deletion: the peer's.
        """
        async with self._locked(key[1]):
            known, _ = await self._find(key)
            current = known.generation if known else 0
            wanted = generation or next_generation(current, stored=False)
            if wanted <= current:
                return None
            # The same everywhere, also where it had not arrived: else the digests would
            # never agree, and the nodes would list their buckets to each other for ever.
            deleted = Holding(*key, "", 0, wanted)
            await self._write(deleted, owed_to)
            await self.fault("store.forgotten")
            if known and known.stored:
                # The deletion is a fact by now; a file that stays is removed at the next start.
                with suppress(OSError):
                    await self._remove_unused(known.sha256)
            return deleted

    async def find(self, key: Key) -> Holding:
        """The droplet *key*, whose file is at `path`.

        Raises:
          NoSuchDroplet: it is not here.
          DropletLost: it should be here, but its file is gone.
        """
        known, held = await self._find(key)
        if known is None or not known.stored:
            raise NoSuchDroplet(*key)
        if not held:
            raise DropletLost(*key)
        return known

    def path(self, holding: Holding) -> Path:
        """Where its bytes are."""
        return self.blobs.path(holding.sha256)

    def in_place(self, holding: Holding) -> bool:
        """Whether its file is there in its full size; what is in it only `check` can tell."""
        return self.blobs.size(holding.sha256) == holding.size

    async def check(self, holding: Holding) -> None:
        """Read its file to the end. Raises `DropletLost` when it is gone or damaged."""

        def work() -> None:
            with opened(self.blobs, holding) as file:
                examine(holding, file)

        await self._disk.run(work)

    async def set_aside(self, holding: Holding) -> bool:
        """Take a damaged file out of use and want it from a peer; False when it is whole.

        The file goes into quarantine. Deciding is repeated here, behind the lock, since a
        whole file may have been put in its place meanwhile.
        """
        async with self._locked(holding.sha1):
            known, held = await self._find(holding.key)
            if known != holding or not held:
                return False
            try:
                await self.check(holding)
            except DropletLost:
                # Where it cannot be moved, it is at least not offered any more.
                with suppress(OSError):
                    await self._disk.run(lambda: self.blobs.set_aside(holding.sha256))
                await self.mark_lost(holding)
                return True
            return False

    async def mark_lost(self, holding: Holding) -> None:
        """Note that its file is gone, and wake those who fetch it."""

        def work(db: apsw.Connection) -> None:
            db.execute("UPDATE droplets SET held = 0 WHERE sha256 = ?", (holding.sha256,))

        await self._db.write(work)
        self._dirty.add(holding.bucket)
        self.lost.set()
        self.lost = trio.Event()

    async def droplets(self, app_id: str = "") -> list[tuple[Holding, float]]:
        """Every droplet (of one app), and when it was stored, in seconds since 1970."""
        rows: list[Any] = await self._db.read(
            lambda db: db.execute(
                f"""SELECT {_COLUMNS}, stored_at FROM droplets
                    WHERE generation % 2 = 1 AND held AND (?1 = '' OR app_id = ?1)
                    ORDER BY app_id, stored_at""",
                (app_id,),
            ).fetchall()
        )
        return [(_holding(row), float(row[5])) for row in rows]

    async def bucket(self, bucket: str) -> list[Holding]:
        """What is known about one bucket, deletions included; lost files count as deleted."""
        return (await self._buckets([bucket]))[bucket]

    async def digests(self) -> dict[str, str]:
        """One digest for each bucket that has anything."""
        dirty, self._dirty = sorted(self._dirty), set()
        try:
            buckets = await self._buckets(dirty)
        except BaseException:
            self._dirty.update(dirty)
            raise
        for bucket, holdings in buckets.items():
            if holdings:
                self._digests[bucket] = digest_bucket(holdings)
        return dict(self._digests)

    async def _buckets(self, buckets: list[str]) -> dict[str, list[Holding]]:
        def work(db: apsw.Connection) -> dict[str, list[Holding]]:
            return {
                bucket: [
                    _holding(row)
                    for row in db.execute(
                        """SELECT app_id, sha1, sha256, size,
                                  generation - (generation % 2 AND NOT held)
                           FROM droplets WHERE sha1 >= ? AND sha1 < ? ORDER BY sha1, app_id""",
                        (bucket, bucket + "g"),
                    )
                ]
                for bucket in buckets
            }

        return await self._db.read(work) if buckets else {}

    async def recover(self) -> int:
        """At the start: remove what a crash left, and return how many files are lost."""
        await self._disk.run(self.blobs.sweep)
        rows: list[Any] = await self._db.read(
            lambda db: db.execute(
                f"SELECT {_COLUMNS}, held FROM droplets WHERE generation % 2 = 1"
            ).fetchall()
        )
        sizes = {str(row[2]): int(row[3]) for row in rows}
        whole = await self._disk.run(lambda: self._sort_out(sizes))

        def work(db: apsw.Connection) -> None:
            db.executemany(
                "UPDATE droplets SET held = ? WHERE app_id = ? AND sha1 = ?",
                [(row[2] in whole, *row[:2]) for row in rows if row[5] != (row[2] in whole)],
            )

        await self._db.write(work)
        return len(sizes) - len(whole)

    def _sort_out(self, sizes: dict[str, int]) -> set[str]:
        """The blobs that are there in their full size; those without a row are removed.

        Nobody was told that they are stored: the row is written before the answer.
        """
        whole = set()
        for name in list(self.blobs.names()):
            if name not in sizes:
                self.blobs.delete(name)
            elif self.blobs.size(name) == sizes[name]:
                whole.add(name)
        return whole

    async def _find(self, key: Key) -> tuple[Holding | None, bool]:
        row = await self._db.read(
            lambda db: db.execute(
                f"SELECT {_COLUMNS}, held FROM droplets WHERE app_id = ? AND sha1 = ?", key
            ).fetchone()
        )
        return (_holding(row), bool(row[5])) if row else (None, False)

    async def _check_collision(self, sha1: str, sha256: str) -> None:
        other = await self._db.read(
            lambda db: db.execute(
                "SELECT 1 FROM droplets WHERE sha1 = ? AND sha256 <> ? AND generation % 2 = 1",
                (sha1, sha256),
            ).fetchone()
        )
        if other:
            raise SameName(sha1)

    async def _remove_unused(self, sha256: str) -> None:
        """Remove a file that no droplet has; not left half done when the task is cancelled."""
        with trio.CancelScope(shield=True):
            used = await self._db.read(
                lambda db: db.execute(
                    "SELECT 1 FROM droplets WHERE sha256 = ? AND generation % 2 = 1", (sha256,)
                ).fetchone()
            )
            if not used:
                await self._disk.run(lambda: self.blobs.delete(sha256))

    async def _write(self, holding: Holding, owed_to: Iterable[str]) -> None:
        now = self._clock.time()
        trace = current_trace.get()
        peers = list(owed_to)

        def work(db: apsw.Connection) -> None:
            db.execute(
                f"INSERT OR REPLACE INTO droplets ({_COLUMNS}, held, stored_at) "
                "VALUES (?, ?, ?, ?, ?, 1, ?)",
                (holding.app_id, holding.sha1, holding.sha256, holding.size,
                 holding.generation, now),
            )  # fmt: skip
            outbox.owe(db, holding.key, peers, now=now, trace=trace)

        await self._db.write(work)
        self._dirty.add(holding.bucket)
        if peers:
            self.outbox.ring()

    @asynccontextmanager
    async def _locked(self, sha1: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(sha1, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():  # else the next task in line has it
                self._locks.pop(sha1, None)


def _holding(row: Any) -> Holding:
    return Holding(*row[:5])


@asynccontextmanager
async def open_store(
    root: Path | None, clock: Clock, *, fault: Fault = no_fault
) -> AsyncIterator[DropletStore]:
    """Open the store in the folder *root*; None keeps it in memory and a private folder.

    Raises:
      StateTooNew: a newer appliance has written it.
    """
    async with room_folder(root, "archiver") as folder:
        blobs = await trio.to_thread.run_sync(lambda: BlobStore(folder, fsync=root is not None))
        async with open_database(root and folder / "archiver.db", SCHEMA) as db:
            yield DropletStore(db, blobs, clock, fault)
