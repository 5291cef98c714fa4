"""The database: whole units of work, versions, and errors as sentences."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
import trio

from appliance.kernel.errors import StorageFull
from appliance.kernel.store.database import open_database
from appliance.kernel.store.errors import StateBusy, StateDamaged, StateTooNew

FIRST = "CREATE TABLE droplets (name TEXT PRIMARY KEY)"
SECOND = "ALTER TABLE droplets ADD COLUMN size INTEGER NOT NULL DEFAULT 7"


@pytest.fixture(params=["memory", "disk"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """Where the database is; every promise holds in both places."""
    return None if request.param == "memory" else tmp_path / "state.db"


def put(name: str) -> Callable[[apsw.Connection], object]:
    return lambda db: db.execute("INSERT INTO droplets (name) VALUES (?)", (name,)).fetchall()


def names(db: apsw.Connection) -> list[str]:
    return [str(row[0]) for row in db.execute("SELECT name FROM droplets ORDER BY name")]


async def test_reads_what_was_written(place: Path | None) -> None:
    """A committed row is seen by the next read."""
    async with open_database(place, [FIRST]) as db:
        await db.write(put("a"))
        assert await db.read(names) == ["a"]


async def test_a_unit_that_raises_changes_nothing(place: Path | None) -> None:
    """What it did before it raised is rolled back, and the next unit works."""

    def half(db: apsw.Connection) -> None:
        db.execute("INSERT INTO droplets (name) VALUES ('half')")
        raise KeyError("stop")

    async with open_database(place, [FIRST]) as db:
        with pytest.raises(KeyError):
            await db.write(half)
        await db.write(put("b"))
        assert await db.read(names) == ["b"]


async def test_writes_of_many_tasks_do_not_mix(place: Path | None) -> None:
    """Read and write in one unit is safe among fifty tasks that do the same."""

    def count_up(db: apsw.Connection) -> None:
        ((count,),) = db.execute("SELECT count(*) FROM droplets").fetchall()
        db.execute("INSERT INTO droplets (name) VALUES (?)", (f"{count:03}",))

    async with open_database(place, [FIRST], synchronous=False) as db:
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(db.write, count_up)
        assert await db.read(names) == [f"{n:03}" for n in range(50)]


async def test_cancellation_waits_for_the_outcome(tmp_path: Path) -> None:
    """A unit that has begun is committed, although its task was cancelled meanwhile."""
    async with open_database(tmp_path / "state.db", [FIRST]) as db:
        with trio.CancelScope() as scope:

            def cancelled_inside(conn: apsw.Connection) -> None:
                trio.from_thread.run_sync(scope.cancel)
                conn.execute("INSERT INTO droplets (name) VALUES ('kept')")

            await db.write(cancelled_inside)
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert await db.read(names) == ["kept"]


async def test_a_cancelled_task_does_not_begin(place: Path | None) -> None:
    """Nothing is written for a task that is cancelled already."""
    async with open_database(place, [FIRST]) as db:
        with trio.CancelScope() as scope:
            scope.cancel()
            await db.write(put("late"))
        assert await db.read(names) == []


async def test_brings_old_tables_up_to_date_and_keeps_rows(tmp_path: Path) -> None:
    """Only the scripts that are new run."""
    path = tmp_path / "state.db"
    async with open_database(path, [FIRST]) as db:
        await db.write(put("old"))
    async with open_database(path, [FIRST, SECOND]) as db:
        rows = await db.read(lambda c: c.execute("SELECT name, size FROM droplets").fetchall())
    assert rows == [("old", 7)]


async def test_a_failing_script_leaves_the_old_version(tmp_path: Path) -> None:
    """All new scripts and the version number are one transaction."""
    path = tmp_path / "state.db"
    async with open_database(path, [FIRST]):
        pass
    with pytest.raises(apsw.SQLError):
        async with open_database(path, [FIRST, SECOND, "CREATE NONSENSE"]):
            pass
    async with open_database(path, [FIRST, SECOND]) as db:
        assert await db.read(names) == []


async def test_refuses_the_state_of_a_newer_appliance(tmp_path: Path) -> None:
    """The file stays as it is, and the sentence has both versions."""
    path = tmp_path / "state.db"
    async with open_database(path, [FIRST, SECOND]):
        pass
    with pytest.raises(StateTooNew, match=r"version 2 .* up to 1"):
        async with open_database(path, [FIRST]):
            pass
    async with open_database(path, [FIRST, SECOND]) as db:
        assert await db.read(names) == []


async def test_says_when_the_file_is_no_database(tmp_path: Path) -> None:
    """A sentence, not a traceback."""
    path = tmp_path / "state.db"
    path.write_bytes(b"This is a shopping list. " * 100)
    with pytest.raises(StateDamaged, match="damaged or no database"):
        async with open_database(path, [FIRST]):
            pass


async def test_says_when_another_process_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waits for a while, then gives up with a sentence."""
    monkeypatch.setattr("appliance.kernel.store.database.BUSY_TIMEOUT", 50)
    path = tmp_path / "state.db"
    async with open_database(path, [FIRST]) as db:
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(StateBusy, match="held by another process"):
                await db.write(put("x"))
        finally:
            other.close()
        await db.write(put("y"))
        assert await db.read(names) == ["y"]


async def test_says_when_the_disk_is_full(tmp_path: Path) -> None:
    """What was there stays readable, and smaller writes go on working."""
    async with open_database(tmp_path / "state.db", [FIRST]) as db:
        await db.write(put("small"))
        await db.write(lambda c: c.execute("PRAGMA max_page_count = 6").fetchall())
        with pytest.raises(StorageFull, match="no room left"):
            await db.write(put("x" * 100_000))
        assert await db.read(names) == ["small"]


def test_survives_a_kill_in_the_middle_of_a_write(tmp_path: Path) -> None:
    """What was committed is there after SIGKILL; what was not, is not."""
    path = tmp_path / "state.db"
    program = f"""
import os, signal, trio
from pathlib import Path
from appliance.kernel.store.database import open_database

async def main():
    async with open_database(Path({str(path)!r}), [{FIRST!r}]) as db:
        await db.write(lambda c: c.execute("INSERT INTO droplets VALUES ('acknowledged')"))
        def killed(c):
            c.execute("INSERT INTO droplets VALUES ('half')")
            os.kill(os.getpid(), signal.SIGKILL)
        await db.write(killed)

trio.run(main)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9

    async def look() -> list[str]:
        async with open_database(path, [FIRST]) as db:
            return await db.read(names)

    assert trio.run(look) == ["acknowledged"]
