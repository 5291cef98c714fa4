"""SQLite for trio: units of work that happen as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import apsw
import trio

from appliance.kernel.errors import ApplianceError, StorageFull
from appliance.kernel.store.errors import (
    StateBusy,
    StateDamaged,
    StateFailed,
    StateReadOnly,
    StateTooNew,
)

T = TypeVar("T")
Work = Callable[[apsw.Connection], T]

BUSY_TIMEOUT = 5_000  # ms to wait for another process's transaction


class Database:
    """A database of one room. Each unit of work is one synchronous function.

    On disk, writing and reading have a connection and a thread's turn each, so a read does
    not wait for the fsync of a write. In memory, where a unit of work takes microseconds,
    it simply runs, which also keeps simulations deterministic.

    `apsw.aio` is not used: there a cancelled task goes on while its transaction still runs,
    so nobody knows whether it was committed. Here cancellation waits for the outcome.
    """

    def __init__(self, path: Path | None, writer: apsw.Connection, reader: apsw.Connection) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        self._write_turn = trio.CapacityLimiter(1)
        self._read_turn = trio.CapacityLimiter(1)

    async def read(self, work: Work[T]) -> T:
        """Run *work*, which only reads. It sees everything committed before.

        Raises:
          ApplianceError: the disk failed, or the state is damaged.
        """
        return await self._run(_reading, self._reader, work, self._read_turn)

    async def write(self, work: Work[T]) -> T:
        """Run *work* in one transaction, and return when it is committed.

        When *work* raises, nothing has changed. *work* may be run in another thread and
        must not keep the connection.

        Raises:
          StorageFull: no room on the disk; nothing has changed.
          ApplianceError: the disk failed, or the state is damaged or held by another process.
        """
        return await self._run(_writing, self._writer, work, self._write_turn)

    async def _run(
        self,
        unit: Callable[[apsw.Connection, Work[T]], T],
        connection: apsw.Connection,
        work: Work[T],
        turn: trio.CapacityLimiter,
    ) -> T:
        with reported(self.path):
            if self.path is None:
                await trio.lowlevel.checkpoint_if_cancelled()
                result = unit(connection, work)
                await trio.lowlevel.cancel_shielded_checkpoint()
                return result
            return await trio.to_thread.run_sync(unit, connection, work, limiter=turn)


@asynccontextmanager
async def open_database(
    path: Path | None, schema: Sequence[str], *, synchronous: bool = True
) -> AsyncIterator[Database]:
    """Open the database at *path*, bringing its tables up to date; closed with the context.

    Args:
      path: The file; None keeps everything in memory.
      schema: Scripts that lead from each version to the next; the first makes version 1.
        A released script never changes: what is new is appended.
      synchronous: Whether a commit waits for the disk. Without it a power cut may lose
        the last commits, but no more.

    Raises:
      StateTooNew: a newer appliance has written the file; it is left as it is.
      StateDamaged: the file is no database.
    """
    with reported(path):
        if path is None:
            writer = reader = _connect(None, schema, synchronous)
        else:
            writer, reader = await trio.to_thread.run_sync(_connect_both, path, schema, synchronous)
    try:
        yield Database(path, writer, reader)
    finally:
        # The last connection to close moves the write-ahead log into the file.
        reader.close()
        writer.close()


def _connect_both(
    path: Path, schema: Sequence[str], synchronous: bool
) -> tuple[apsw.Connection, apsw.Connection]:
    writer = _connect(path, schema, synchronous)
    try:
        reader = apsw.Connection(str(path))
        reader.set_busy_timeout(BUSY_TIMEOUT)
        reader.execute("PRAGMA query_only = ON")
    except BaseException:
        writer.close()
        raise
    return writer, reader


def _connect(path: Path | None, schema: Sequence[str], synchronous: bool) -> apsw.Connection:
    if path is not None:
        # SQLite would make it readable for all; its log and index take the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = apsw.Connection(":memory:" if path is None else str(path))
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT)
        connection.execute("PRAGMA foreign_keys = ON")
        if path is not None:
            connection.execute("PRAGMA journal_mode = WAL")
            # NORMAL would keep the database whole but lose the last commits in a power cut.
            connection.execute(f"PRAGMA synchronous = {'FULL' if synchronous else 'OFF'}")
        _writing(connection, lambda connection: _migrate(connection, path, schema))
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: apsw.Connection, path: Path | None, schema: Sequence[str]) -> None:
    version = int(str(connection.pragma("user_version")))
    if version > len(schema):
        raise StateTooNew(path, version, len(schema))
    for script in schema[version:]:
        connection.execute(script)
    if version < len(schema):
        connection.execute(f"PRAGMA user_version = {len(schema)}")


def _reading(connection: apsw.Connection, work: Work[T]) -> T:
    # One transaction, so that all of its queries see the same state.
    connection.execute("BEGIN")
    try:
        return work(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _writing(connection: apsw.Connection, work: Work[T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors, a full disk for one.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


@contextmanager
def reported(path: Path | None) -> Iterator[None]:
    """Turn SQLite's errors about the disk and the file into sentences; others are bugs."""
    try:
        yield
    except apsw.Error as error:
        sentence = _sentence(error, path)
        if sentence is None:
            raise
        raise sentence from error


def _sentence(error: apsw.Error, path: Path | None) -> ApplianceError | None:
    if isinstance(error, apsw.FullError):
        return StorageFull(f"The disk of {path} has no room left.")
    if isinstance(error, (apsw.NotADBError, apsw.CorruptError)):
        return StateDamaged(f"{path} is damaged or no database ({error}).")
    if isinstance(error, (apsw.BusyError, apsw.LockedError)):
        return StateBusy(f"{path} is held by another process.")
    if isinstance(error, (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError)):
        return StateReadOnly(f"{path} cannot be written to ({error}).")
    if isinstance(error, apsw.IOError):
        return StateFailed(f"The disk failed at {path} ({error}).")
    return None
