"""Storing a droplet fails at its first call of the system, at its second, up to the last."""

from __future__ import annotations

import errno
import hashlib
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from appliance.archiver.errors import NoSuchDroplet
from appliance.archiver.store import SCHEMA, DropletStore, no_fault
from appliance.kernel.clock import Clock
from appliance.kernel.errors import ApplianceError
from appliance.kernel.store.blobs import BlobStore
from appliance.kernel.store.database import open_database
from tests.simulation import scheduler
from tests.simulation.database import Records, SimDatabase
from tests.simulation.disk import Platter, SimDisk, refused
from tests.simulation.life import Dead, Life
from tests.simulation.net import spool
from tests.simulation.node import ROOT

DATA = b"droplet" * 100
KEY = ("app", hashlib.sha1(DATA).hexdigest())


class Counting(Life):
    """Does *harm* at the call with this number."""

    def __init__(self, number: int, harm: Callable[[Life], None]) -> None:
        super().__init__()
        self.left, self._harm = number, harm

    def check(self) -> None:
        super().check()
        self.left -= 1
        if self.left == 0:
            self._harm(self)


async def store_once(number: int, how: str) -> bool:
    """Store with harm at call *number*, start again, look; False when there were fewer calls."""
    platter = Platter(Random(number), Counter())

    def harm(life: Life) -> None:
        if how == "no room":
            raise refused(errno.ENOSPC)
        if how == "failing disk":
            raise refused(errno.EIO)
        life.end()
        if how == "power cut":
            platter.power_cut()
        raise Dead

    async with open_database(None, SCHEMA) as database:
        records = Records(database, platter, synchronous=True)

        def process(life: Life) -> tuple[DropletStore, SimDisk]:
            disk = SimDisk(platter, life)
            blobs = BlobStore(ROOT, fsync=True, disk=disk)
            return DropletStore(SimDatabase(records, life), blobs, Clock(), no_fault), disk

        life = Counting(number, harm)
        acknowledged = False
        try:
            store, disk = process(life)
            received = await spool(disk, store.spool, DATA, True, broken=False)
            await store.keep(KEY, received, owed_to=["peer"])
            acknowledged = True
        except (Dead, OSError, ApplianceError):
            pass
        life.dead = True

        store, disk = process(Life())
        assert await store.recover() == 0
        assert not disk.names(store.spool)
        owed = [
            row.holding.key for row in await store.outbox.due("peer", now=4e9, horizon=60, limit=9)
        ]
        try:
            await store.check(await store.find(KEY))
            assert owed == [KEY]
        except NoSuchDroplet:
            assert not acknowledged
            assert owed == []
            assert not list(store.blobs.names())
        # Whoever was not answered tries again.
        received = await spool(disk, store.spool, DATA, True, broken=False)
        await store.keep(KEY, received, owed_to=["peer"])
        platter.power_cut()
        await store.check(await store.find(KEY))
    return life.left <= 0


@pytest.mark.parametrize("how", ["kill", "power cut", "no room", "failing disk"])
def test_fails_at_each_call_and_recovers(how: str) -> None:
    """Whichever call it is: what was acknowledged is there, and nothing else is left."""
    number = 1
    while scheduler.run(lambda number=number: store_once(number, how), number):  # type: ignore[misc]
        number += 1
    assert number > 20  # calls that storing a droplet makes
