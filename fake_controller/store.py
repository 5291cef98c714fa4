"""The controller's records in SQLite: one JSON document per record, indexed where lists filter.

Documents need no migration when a record gains a field with a default. A unit of work is
one plain function of a `Tx`; it runs in the database's thread and commits as a whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec
import trio
from msgspec.structs import replace

from appliance.kernel.clock import Clock, Ids
from appliance.kernel.store.database import Database, open_database
from fake_controller.conditions import ALL, Condition, among, column, is_, table_of
from fake_controller.errors import missing
from fake_controller.model import RECORDS, Record

R = TypeVar("R", bound=Record)
T = TypeVar("T")

_decoders = {kind: msgspec.json.Decoder(kind) for kind in RECORDS}
_kinds: dict[str, type[Record]] = {kind.table: kind for kind in RECORDS}


def _tables() -> str:
    """Makes what is not there yet, so a new kind of record needs no migration either."""
    lines = []
    for kind in RECORDS:
        lines.append(
            f"CREATE TABLE IF NOT EXISTS {kind.table} (seq INTEGER PRIMARY KEY,"
            " guid TEXT NOT NULL UNIQUE, doc TEXT NOT NULL);"
        )
        lines += [
            f"CREATE INDEX IF NOT EXISTS {kind.table}_{name} ON {kind.table} ({column(name)});"
            for name in kind.indexed
        ]
    return "\n".join(lines)


class Tx:
    """One unit of work.

    `find`, `first` and `count` take conditions, and fields by name: one value, or several of
    which the field is one.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        clock: Clock,
        ids: Ids,
        watchers: Mapping[type[Record], Watcher] = {},
    ) -> None:
        self._connection = connection
        self._watchers = watchers
        self.clock = clock
        self.ids = ids
        self.touched: set[type[Record]] = set()  # kinds of which a record was changed

    def new(self, kind: type[R], *, guid: str = "", **values: Any) -> R:
        """A stored record of *kind*, made now."""
        now = self.clock.time()
        record = kind(guid=guid or self.ids.guid(), created_at=now, updated_at=now, **values)
        self._connection.execute(
            f"INSERT INTO {kind.table} (guid, doc) VALUES (?, ?)", (record.guid, _text(record))
        )
        self._changed(None, record)
        return record

    def change(self, record: R, **values: Any) -> R:
        """Store *record* with *values* in place of its own; returns the new one."""
        changed = replace(record, **{"updated_at": self.clock.time()} | values)
        self._connection.execute(
            f"UPDATE {record.table} SET doc = ? WHERE guid = ?", (_text(changed), record.guid)
        )
        self._changed(record, changed)
        return changed

    def delete(self, record: Record) -> None:
        """Forget *record*."""
        self._connection.execute(f"DELETE FROM {record.table} WHERE guid = ?", (record.guid,))
        self._changed(record, None)

    def get(self, kind: type[R], guid: str | None) -> R | None:
        """The record, or None."""
        for (doc,) in self._connection.execute(
            f"SELECT doc FROM {kind.table} WHERE guid = ?", (guid,)
        ):
            return _decode(kind, doc)
        return None

    def need(self, kind: type[R], guid: str | None) -> R:
        """The record; raises "App not found" and the like when there is none."""
        record = self.get(kind, guid)
        if record is None:
            raise missing(kind.noun())
        return record

    def find(
        self,
        kind: type[R],
        *conditions: Condition,
        order_by: str = "created_at",
        limit: int | None = None,
        offset: int = 0,
        **where: Any,
    ) -> list[R]:
        """Records that match everything; *order_by* may begin with ``-``."""
        condition = _all_of(conditions, where)
        direction = "DESC" if order_by.startswith("-") else "ASC"
        sql = (
            f"SELECT doc FROM {kind.table} WHERE {condition.sql}"
            f" ORDER BY {column(order_by.lstrip('-'))} {direction}, seq {direction}"
        )
        if limit is not None:
            sql += f" LIMIT {int(limit)} OFFSET {int(offset)}"
        return [_decode(kind, doc) for (doc,) in self._connection.execute(sql, condition.values)]

    def first(self, kind: type[R], *conditions: Condition, **where: Any) -> R | None:
        """The oldest record that matches, or None."""
        found = self.find(kind, *conditions, limit=1, **where)
        return found[0] if found else None

    def latest(self, kind: type[R], *conditions: Condition, **where: Any) -> R | None:
        """The newest record that matches, or None."""
        found = self.find(kind, *conditions, order_by="-created_at", limit=1, **where)
        return found[0] if found else None

    def count(self, kind: type[R], *conditions: Condition, **where: Any) -> int:
        """How many match."""
        condition = _all_of(conditions, where)
        sql = f"SELECT count(*) FROM {kind.table} WHERE {condition.sql}"
        return int(next(row[0] for row in self._connection.execute(sql, condition.values)))

    def total(self, kind: type[R], field: str, *conditions: Condition, **where: Any) -> int:
        """The sum of *field*, a whole number, over those that match."""
        condition = _all_of(conditions, where)
        sql = f"SELECT coalesce(sum({column(field)}), 0) FROM {kind.table} WHERE {condition.sql}"
        return int(next(row[0] for row in self._connection.execute(sql, condition.values)))

    def follow(self, records: Sequence[Record], path: str) -> list[Any]:
        """The records that *path* leads to, each once: ``space.organization`` of some apps."""
        for step in path.split("."):
            guids = {getattr(record, f"{step}_guid") for record in records} - {None}
            records = self.find(_kinds[table_of(step)], guid=guids)
        return list(records)

    def _changed(self, before: Record | None, after: Record | None) -> None:
        record = after or before
        if record is not None:
            self.touched.add(type(record))
        if record is not None and (watcher := self._watchers.get(type(record))):
            watcher(self, before, after)


#: Told of a record before and after a change, in its transaction; None before it was made,
#: and after it was deleted.
Watcher = Callable[[Tx, Any, Any], None]


def _text(record: Record) -> str:
    return msgspec.json.encode(record).decode()


def _decode(kind: type[R], doc: str) -> R:
    return _decoders[kind].decode(doc)  # type: ignore[return-value]


def _all_of(conditions: tuple[Condition, ...], where: dict[str, Any]) -> Condition:
    found = ALL
    for condition in conditions:
        found &= condition
    for name, wanted in where.items():
        several = isinstance(wanted, (list, tuple, set, frozenset))
        found &= among(name, wanted) if several else is_(name, wanted)
    return found


class Store:
    """Runs units of work."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: Ids,
        watchers: Mapping[type[Record], Watcher] = {},
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._watchers = watchers
        self._changes: dict[type[Record], trio.Event] = {}

    async def read(self, work: Callable[[Tx], T]) -> T:
        """Run *work*, which changes nothing."""
        return await self._database.read(lambda c: work(self._tx(c)))

    async def write(self, work: Callable[[Tx], T]) -> T:
        """Run *work* and commit, or roll all of it back when it raises."""

        def unit(connection: apsw.Connection) -> tuple[T, set[type[Record]]]:
            tx = self._tx(connection)
            return work(tx), tx.touched

        result, touched = await self._database.write(unit)
        for kind in touched & self._changes.keys():
            self._changes.pop(kind).set()
        return result

    def changed(self, kind: type[Record]) -> trio.Event:
        """Set when the next record of *kind* has been changed. Take it *before* looking."""
        return self._changes.setdefault(kind, trio.Event())

    async def get(self, kind: type[R], guid: str) -> R:
        """One record; raises "App not found" and the like."""
        return await self.read(lambda tx: tx.need(kind, guid))

    async def find(self, kind: type[R], *conditions: Condition, **where: Any) -> list[R]:
        """Records that match; see `Tx.find`."""
        return await self.read(lambda tx: tx.find(kind, *conditions, **where))

    def _tx(self, connection: apsw.Connection) -> Tx:
        return Tx(connection, self._clock, self._ids, self._watchers)


@asynccontextmanager
async def open_store(
    path: Path | None,
    clock: Clock,
    ids: Ids,
    watchers: Mapping[type[Record], Watcher] = {},
) -> AsyncIterator[Store]:
    """The store in file *path*, or in memory; *watchers* are told of changes, by kind of record."""
    # The first script once made the tables; what lacks them gets them here, at each start.
    async with open_database(path, ("SELECT 1",)) as database:
        await database.write(lambda connection: connection.execute(_tables()))
        yield Store(database, clock, ids, watchers)
