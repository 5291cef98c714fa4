"""What is owed to the peers: rows that are written with the droplet, and deleted when sent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import trio

from appliance.archiver.plan import Holding, Key
from appliance.kernel.store.database import Database

SCHEMA = """
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    peer TEXT NOT NULL,
    app_id TEXT NOT NULL,
    sha1 TEXT NOT NULL,
    trace TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL,
    UNIQUE (peer, app_id, sha1)
);
CREATE INDEX outbox_due ON outbox (peer, due);
"""


@dataclass(frozen=True, slots=True)
class Owed:
    """One droplet, or one deletion, that one peer has not confirmed yet."""

    seq: int
    holding: Holding  # as it is now, which may be newer than when it was written down
    tries: int
    trace: str  # the push that it belongs to


@dataclass(frozen=True, slots=True)
class Postponed:
    """A row that the peer refused, and when it is tried again."""

    seq: int
    tries: int
    due: float  # seconds since 1970


def owe(db: apsw.Connection, key: Key, peers: Iterable[str], *, now: float, trace: str) -> None:
    """Write down that *peers* must hear of *key*; within the transaction that changed it.

    A row that is there already gets a new number, so that a sender which is busy with the
    old state does not cross out the new one.
    """
    db.executemany(
        "INSERT OR REPLACE INTO outbox (peer, app_id, sha1, trace, due) VALUES (?, ?, ?, ?, ?)",
        [(peer, *key, trace, now) for peer in peers],
    )


class Outbox:
    """The rows, and the event that tells senders of new ones."""

    def __init__(self, db: Database) -> None:
        self._db = db
        #: Set, and replaced by a new one, when rows were added. Take it before looking for rows.
        self.wake = trio.Event()

    def ring(self) -> None:
        """Wake every sender: a transaction with new rows has been committed."""
        self.wake.set()
        self.wake = trio.Event()

    async def due(self, peer: str, *, now: float, horizon: float, limit: int) -> list[Owed]:
        """At most *limit* rows for *peer* whose time has come, the oldest first.

        A row that is due later than *horizon* seconds from now is due at once: the
        clock has been set back since it was written.
        """
        rows: list[Any] = await self._db.read(
            lambda db: db.execute(
                """SELECT seq, tries, trace, app_id, sha1, sha256, size, generation
                   FROM outbox JOIN droplets USING (app_id, sha1)
                   WHERE peer = ? AND (due <= ? OR due > ?) ORDER BY seq LIMIT ?""",
                (peer, now, now + horizon, limit),
            ).fetchall()
        )
        return [Owed(row[0], Holding(*row[3:]), row[1], row[2]) for row in rows]

    async def next_due(self, peer: str) -> float | None:
        """When the next row for *peer* is due, in seconds since 1970; None without rows."""
        return await self._db.read(
            lambda db: db.execute("SELECT min(due) FROM outbox WHERE peer = ?", (peer,)).get
        )

    async def settle(self, sent: Sequence[int], postponed: Sequence[Postponed]) -> None:
        """Cross out what was *sent* and put off what was refused, in one transaction."""

        def work(db: apsw.Connection) -> None:
            db.executemany("DELETE FROM outbox WHERE seq = ?", [(seq,) for seq in sent])
            db.executemany(
                "UPDATE outbox SET tries = ?, due = ? WHERE seq = ?",
                [(row.tries, row.due, row.seq) for row in postponed],
            )

        if sent or postponed:
            await self._db.write(work)

    async def keep_only(self, peers: Collection[str]) -> None:
        """Forget what is owed to archivers that are no peers any more."""
        marks = ", ".join("?" * len(peers))
        await self._db.write(
            lambda db: db.execute(
                f"DELETE FROM outbox WHERE peer NOT IN ({marks})", tuple(peers)
            ).fetchall()
        )

    async def count(self) -> int:
        """How many rows there are, for all peers together."""
        return await self._db.read(lambda db: db.execute("SELECT count(*) FROM outbox").get)
