"""The archiver's store: what was acknowledged is there, whenever the process died."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from appliance.archiver.errors import DropletLost, NoSuchDroplet
from appliance.archiver.plan import Holding
from appliance.archiver.store import DropletStore, Fault, open_store
from appliance.kernel.clock import Clock
from appliance.kernel.errors import StorageFull
from appliance.kernel.store.database import Database
from appliance.kernel.store.digest import DigestMismatch

DATA = b"droplet"
SHA1 = hashlib.sha1(DATA).hexdigest()
KEY = ("app", SHA1)
NUMBERS = itertools.count()


class Killed(BaseException):
    """The process ends here."""


@dataclass
class File:
    """A received file, as the HTTP server hands it over."""

    path: Path
    size: int
    sha1: str
    sha256: str


def spooled(store: DropletStore) -> list[Path]:
    return list(store.spool.iterdir())


def receive(store: DropletStore, data: bytes = DATA) -> File:
    path = store.spool / f"incoming-{next(NUMBERS)}"
    path.write_bytes(data)
    return File(path, len(data), hashlib.sha1(data).hexdigest(), hashlib.sha256(data).hexdigest())


def files(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "blobs").rglob("*") if path.is_file())


def killing_at(point: str) -> Fault:
    async def fault(reached: str) -> None:
        if reached == point:
            raise Killed

    return fault


async def owed(store: DropletStore, peer: str = "peer") -> list[Holding]:
    rows = await store.outbox.due(peer, now=4e9, horizon=60, limit=100)
    return [row.holding for row in rows]


@pytest.mark.parametrize("point", ["store.checked", "store.renamed", "store.committed"])
async def test_killed_while_storing(tmp_path: Path, point: str) -> None:
    """After any step the droplet is here and owed, or neither; never a half of it."""
    async with open_store(tmp_path, Clock(), fault=killing_at(point)) as store:
        with pytest.raises(Killed):
            await store.keep(KEY, receive(store), owed_to=["peer"])
    async with open_store(tmp_path, Clock()) as store:
        assert await store.recover() == 0
        if point == "store.committed":
            held = await store.find(KEY)
            assert store.path(held).read_bytes() == DATA
            assert await owed(store) == [held]
        else:
            with pytest.raises(NoSuchDroplet):
                await store.find(KEY)
            assert await owed(store) == []
            assert files(tmp_path) == []
        # In either case the uploader may try again.
        await store.keep(KEY, receive(store), owed_to=["peer"])
        assert (await store.find(KEY)).size == len(DATA)


async def test_killed_while_deleting(tmp_path: Path) -> None:
    """The row goes first: the file without one is removed at the next start."""
    async with open_store(tmp_path, Clock(), fault=killing_at("store.forgotten")) as store:
        await store.keep(KEY, receive(store))
        with pytest.raises(Killed):
            await store.delete(KEY, owed_to=["peer"])
    assert len(files(tmp_path)) == 1
    async with open_store(tmp_path, Clock()) as store:
        await store.recover()
        with pytest.raises(NoSuchDroplet):
            await store.find(KEY)
        assert [held.generation for held in await owed(store)] == [2]
    assert files(tmp_path) == []


async def test_the_start_removes_what_uploads_left(tmp_path: Path) -> None:
    """Half received files are nobody's."""
    async with open_store(tmp_path, Clock()) as store:
        receive(store)
    async with open_store(tmp_path, Clock()) as store:
        await store.recover()
        assert not spooled(store)


@pytest.mark.parametrize("damage", ["gone", "short"])
async def test_the_start_notices_lost_files(tmp_path: Path, damage: str) -> None:
    """A row whose file is gone or cut is not served; storing it again heals it."""
    async with open_store(tmp_path, Clock()) as store:
        held = (await store.keep(KEY, receive(store))).holding
        path = store.path(held)
    path.unlink() if damage == "gone" else path.write_bytes(b"drop")
    async with open_store(tmp_path, Clock()) as store:
        assert await store.recover() == 1
        with pytest.raises(DropletLost):
            await store.find(KEY)
        assert [held.stored for held in await store.bucket(SHA1[:2])] == [False]
        kept = await store.keep(KEY, receive(store), owed_to=["peer"])
        assert kept.fresh
        assert await store.find(KEY) == held
        assert await owed(store) == []


async def test_refused_bytes_leave_nothing(tmp_path: Path) -> None:
    """A wrong digest: no row, no file, and the received file is removed."""
    async with open_store(tmp_path, Clock()) as store:
        with pytest.raises(DigestMismatch):
            await store.keep(("app", "0" * 40), receive(store))
        with pytest.raises(DigestMismatch):
            await store.keep(KEY, receive(store), sha256="0" * 64)
        assert not spooled(store)
    assert files(tmp_path) == []


async def test_a_full_database_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is renamed already when the row does not fit: it must not fill the disk further."""

    async def full(self: Database, work: object) -> None:
        raise StorageFull("The disk has no room left.")

    async with open_store(tmp_path, Clock()) as store:
        with monkeypatch.context() as patched:
            patched.setattr(Database, "write", full)
            with pytest.raises(StorageFull):
                await store.keep(KEY, receive(store))
        assert files(tmp_path) == []
        assert (await store.keep(KEY, receive(store))).fresh


async def test_is_not_owed_twice(tmp_path: Path) -> None:
    """A repeated upload is confirmed, and the peers hear of it once."""
    async with open_store(tmp_path, Clock()) as store:
        assert (await store.keep(KEY, receive(store), owed_to=["peer"])).fresh
        (row,) = await store.outbox.due("peer", now=4e9, horizon=60, limit=10)
        await store.outbox.settle([row.seq], [])
        assert not (await store.keep(KEY, receive(store), owed_to=["peer"])).fresh
        assert await owed(store) == []


async def test_a_late_replica_does_not_bring_back_what_was_deleted(tmp_path: Path) -> None:
    """The deletion is newer; a droplet that is stored again is newer still."""
    async with open_store(tmp_path, Clock()) as store:
        await store.keep(KEY, receive(store))
        await store.delete(KEY)
        late = await store.keep(KEY, receive(store), generation=1)
        assert not late.fresh
        with pytest.raises(NoSuchDroplet):
            await store.find(KEY)
        again = await store.keep(KEY, receive(store))
        assert again.holding.generation == 3
        assert await store.delete(KEY, generation=2) is None
        assert (await store.find(KEY)).generation == 3


async def test_equal_droplets_share_a_file_until_the_last_is_deleted(tmp_path: Path) -> None:
    """Two apps with one droplet: deleting it of one leaves it to the other."""
    async with open_store(tmp_path, Clock()) as store:
        await store.keep(("one", SHA1), receive(store))
        await store.keep(("two", SHA1), receive(store))
        assert len(files(tmp_path)) == 1
        await store.delete(("one", SHA1))
        assert store.path(await store.find(("two", SHA1))).read_bytes() == DATA
        await store.delete(("two", SHA1))
    assert files(tmp_path) == []


async def test_storing_and_deleting_at_once_never_leaves_a_row_without_a_file(
    tmp_path: Path,
) -> None:
    """Whatever the order, a droplet that is found can be read."""
    async with open_store(tmp_path, Clock()) as store:

        async def put(app: str) -> None:
            for _ in range(5):
                await store.keep((app, SHA1), receive(store))

        async def remove(app: str) -> None:
            for _ in range(5):
                await store.delete((app, SHA1))

        async with trio.open_nursery() as nursery:
            for app in ("one", "two", "three"):
                nursery.start_soon(put, app)
                nursery.start_soon(remove, app)
        for held, _ in await store.droplets():
            assert store.path(held).read_bytes() == DATA


async def test_digests_follow_every_change() -> None:
    """Cached by bucket, and never stale."""
    async with open_store(None, Clock()) as store:
        seen = [await store.digests()]
        await store.keep(KEY, receive(store))
        seen.append(await store.digests())
        await store.delete(KEY)
        seen.append(await store.digests())
        await store.keep(KEY, receive(store))
        seen.append(await store.digests())
        await store.mark_lost(await store.find(KEY))
        seen.append(await store.digests())
    assert seen[0] == {}
    assert all(list(digests) == [SHA1[:2]] for digests in seen[1:])
    for before, after in itertools.pairwise(seen):
        assert before != after


async def test_a_row_that_was_put_off_far_into_the_future_is_due() -> None:
    """The clock was set back by an hour: waits longer than the longest wait make no sense."""
    async with open_store(None, Clock()) as store:
        await store.keep(KEY, receive(store), owed_to=["peer"])
        now = Clock().time()
        assert await store.outbox.due("peer", now=now - 30, horizon=60, limit=9) == []
        assert len(await store.outbox.due("peer", now=now - 3600, horizon=60, limit=9)) == 1


async def test_forgets_debts_to_those_who_are_no_peers(tmp_path: Path) -> None:
    """A peer that was taken out of the settings is owed nothing."""
    async with open_store(tmp_path, Clock()) as store:
        await store.keep(KEY, receive(store), owed_to=["one", "two"])
        await store.outbox.keep_only({"two"})
        assert await owed(store, "one") == []
        assert len(await owed(store, "two")) == 1
        await store.outbox.keep_only(set())
        assert await store.outbox.count() == 0


async def test_a_newer_state_is_not_crossed_out_by_an_older_sending() -> None:
    """While a replica is on its way the droplet is deleted: the deletion stays owed."""
    async with open_store(None, Clock()) as store:
        await store.keep(KEY, receive(store), owed_to=["peer"])
        (sending,) = await store.outbox.due("peer", now=4e9, horizon=60, limit=9)
        await store.delete(KEY, owed_to=["peer"])
        await store.outbox.settle([sending.seq], [])
        assert [held.generation for held in await owed(store)] == [2]
