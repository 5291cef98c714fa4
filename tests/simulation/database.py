"""The archiver's database on simulated hardware: real SQLite, whose commits are durable."""

from __future__ import annotations

from typing import TypeVar

from appliance.kernel.errors import StorageFull
from appliance.kernel.store.database import Database, Work
from appliance.kernel.store.errors import StateFailed, StateReadOnly
from tests.simulation.disk import STEP, Platter
from tests.simulation.life import Life

T = TypeVar("T")
KEPT = 0.15  # chance that a commit without a sync is written soon, with all before it


class Records:
    """What one node's disk has of its database; it outlives processes."""

    def __init__(self, database: Database, platter: Platter, *, synchronous: bool) -> None:
        self.database = database
        self.platter = platter
        self.synchronous = synchronous
        self._connection = database._writer
        self._safe = self._connection.serialize("main")

    def holds(self, sha256: str) -> bool:
        """Whether a droplet with these bytes is written down as stored and whole."""
        query = "SELECT count(*) FROM droplets WHERE sha256 = ? AND held AND generation % 2 = 1"
        return bool(self._connection.execute(query, (sha256,)).get)

    def committed(self) -> None:
        """A transaction has ended; without ``synchronous=FULL`` it is in memory only."""
        if not self.synchronous and self.platter.rng.random() < KEPT:
            self._safe = self._connection.serialize("main")

    def power_cut(self) -> None:
        """Without ``synchronous=FULL`` the last commits are gone."""
        if not self.synchronous:
            self._connection.deserialize("main", self._safe)


class SimDatabase(Database):
    """One process's connection to its `Records`."""

    def __init__(self, records: Records, life: Life) -> None:
        super().__init__(None, records.database._writer, records.database._reader)
        self._records = records
        self._life = life

    async def read(self, work: Work[T]) -> T:
        self._life.check()
        result = await super().read(work)
        self._life.check()
        return result

    async def write(self, work: Work[T]) -> T:
        platter = self._records.platter
        late, wait = platter.rng.random() < 0.5, platter.rng.random() * STEP
        await self._life.pause(0.0 if late else wait)
        if platter.read_only:
            raise StateReadOnly("The database cannot be written to.")
        if platter.full and platter.rng.random() < 0.5:
            platter.counts["refused: no room for a row"] += 1
            raise StorageFull("The disk has no room left.")
        if platter.failing_syncs:
            platter.failing_syncs -= 1
            platter.counts["failed commit"] += 1
            raise StateFailed("The disk failed.")
        result = await super().write(work)
        self._records.committed()
        if late:
            await self._life.pause(wait)
        self._life.check()
        return result
