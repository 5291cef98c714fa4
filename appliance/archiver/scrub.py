"""Finds damaged droplets before somebody needs them, and has them fetched from a peer."""

from __future__ import annotations

import errno

import trio

from appliance.archiver.checkup import Checkup, opened
from appliance.archiver.errors import DropletLost
from appliance.archiver.plan import Holding
from appliance.archiver.store import DropletStore
from appliance.config import ArchiverConfig
from appliance.kernel.errors import ApplianceError
from appliance.kernel.kit import Kit
from appliance.kernel.store.errors import StateDamaged, StateFailed

_DISK_FAILED = (errno.EIO, errno.EUCLEAN)


async def scrub(store: DropletStore, config: ArchiverConfig, kit: Kit) -> None:
    """Read every droplet once per `config.scrub_every` seconds, for ever.

    At most `config.scrub_rate` bytes per second, so that nobody notices. The first pass
    begins somewhere in the first period: an appliance that is started daily scrubs too.
    """
    wait = config.scrub_every * int(kit.ids.hex(8), 16) / 0xFFFFFFFF
    while True:
        await trio.sleep(wait)
        wait = config.scrub_every
        try:
            damaged = await scrub_once(store, config, kit)
        except (ApplianceError, OSError) as error:
            note_failure(error, kit)
            kit.trace.event("scrub.failed", why=str(error))
        else:
            kit.trace.event("droplets.scrubbed", damaged=damaged)


async def scrub_once(store: DropletStore, config: ArchiverConfig, kit: Kit) -> int:
    """Read every file once, and return how many were damaged."""
    damaged = 0
    files = {held.sha256: held for held, _ in await store.droplets()}
    for held in files.values():
        try:
            await _read_slowly(store, held, config.scrub_rate)
        except DropletLost as why:
            damaged += await set_aside(store, held, why, kit)
    return damaged


async def _read_slowly(store: DropletStore, held: Holding, rate: float) -> None:
    disk = store.blobs.disk
    file = await disk.run(lambda: opened(store.blobs, held, cold=True))
    with file:
        checkup = Checkup(held)
        count = await disk.run(lambda: checkup.take(file))
        while count:
            await trio.sleep(count / rate)
            count = await disk.run(lambda: checkup.take(file))


async def set_aside(store: DropletStore, held: Holding, why: DropletLost, kit: Kit) -> bool:
    """Put the file of *held* into quarantine, and tell; False when it is whole after all.

    Whoever found the damage has already refused to use the bytes, so nothing is raised
    when the disk or the database does not even take the note.
    """
    note_failure(why, kit)
    try:
        lost = await store.set_aside(held)
    except (ApplianceError, OSError) as error:
        note_failure(error, kit)
        kit.trace.event("droplet.stuck", app=held.app_id, sha1=held.sha1, why=str(error))
        return False
    if lost:
        kit.trace.event("droplet.damaged", app=held.app_id, sha1=held.sha1, why=why.why)
    return lost


def note_failure(error: BaseException, kit: Kit) -> None:
    """Mark the room unhealthy when *error* comes from a disk that fails.

    What such a disk has refused once may be lost although memory still shows it: only a
    restart, which looks at every file, can tell what is there.
    """
    cause = error.__cause__ if isinstance(error, DropletLost) else error
    failed = isinstance(cause, OSError) and cause.errno in _DISK_FAILED
    if failed or isinstance(cause, (StateFailed, StateDamaged)):
        kit.health.mark(kit.room, "unhealthy", f"The disk failed: {cause}")
