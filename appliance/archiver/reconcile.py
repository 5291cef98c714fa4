"""Compares holdings with one peer and fetches what is missing.

The outbox makes replicas quick; this makes them certain, whatever was lost on the way.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from appliance.archiver.plan import Holding, Peer, differing, lacking
from appliance.archiver.scrub import note_failure
from appliance.archiver.store import DropletStore
from appliance.archiver.wire import droplet_url, read_bucket, read_digests
from appliance.config import ArchiverConfig
from appliance.kernel.errors import ApplianceError
from appliance.kernel.http.errors import BadAnswer
from appliance.kernel.kit import Kit

FIRST_AFTER = 1.0  # seconds from the start to the first comparison
SIDE_BY_SIDE = 4  # droplets that are fetched at once

Announce = Callable[[Holding, bool], None]  # and whether it is a replica


async def reconcile(
    store: DropletStore, peer: Peer, config: ArchiverConfig, kit: Kit, announce: Announce
) -> None:
    """Compare after a moment, and then every `config.reconcile_every` seconds, for ever.

    The first comparison brings a node up to date that was away, or is new; it leaves the
    start of the process to what clients wait for. When a file was found lost, the next one
    does not wait.
    """
    with trio.move_on_after(min(FIRST_AFTER, config.reconcile_every)):
        await store.lost.wait()
    while True:
        lost = store.lost  # taken before comparing: what is lost meanwhile sets it
        try:
            fetched = await compare(store, peer, config, kit, announce)
        except (ApplianceError, OSError) as error:
            note_failure(error, kit)
            kit.trace.event("reconciliation.failed", peer=peer.name, why=str(error))
        else:
            if fetched:
                kit.trace.event("peer.reconciled", peer=peer.name, fetched=fetched)
        # Not all at the same moment, although they started together.
        luck = int(kit.ids.hex(8), 16) / 0xFFFFFFFF
        with trio.move_on_after(config.reconcile_every * (0.75 + 0.5 * luck)):
            await lost.wait()


async def compare(
    store: DropletStore, peer: Peer, config: ArchiverConfig, kit: Kit, announce: Announce
) -> int:
    """Take over from *peer* what it knows better, and return how many droplets that were.

    Only pulls: the peer does the same with us.

    Raises:
      ApplianceError: the peer does not answer, or not sensibly.
    """
    fetched = 0
    slots = trio.CapacityLimiter(SIDE_BY_SIDE)

    async def take(held: Holding) -> None:
        nonlocal fetched
        async with slots:
            fetched += await _take(held, store, peer, config, kit, announce)

    theirs = read_digests(await _get(f"{peer.url}/digests", kit))
    for bucket in differing(await store.digests(), theirs):
        listed = read_bucket(await _get(f"{peer.url}/digests/{bucket}", kit))
        async with trio.open_nursery() as nursery:
            for held in lacking(await store.bucket(bucket), listed):
                nursery.start_soon(take, held)
    return fetched


async def _take(
    held: Holding,
    store: DropletStore,
    peer: Peer,
    config: ArchiverConfig,
    kit: Kit,
    announce: Announce,
) -> bool:
    """Fetch one droplet, or repeat one deletion; False when that did not work out."""
    try:
        if not held.stored:
            await store.delete(held.key, generation=held.generation)
            return False
        received = await kit.http.download(
            droplet_url(peer, held),
            store.spool,
            limit=config.max_droplet,
            fsync=store.blobs.fsync,
        )
        kept = await store.keep(held.key, received, sha256=held.sha256, generation=held.generation)
    except (ApplianceError, OSError) as error:
        note_failure(error, kit)
        kit.trace.event(
            "replica.unfetched", app=held.app_id, sha1=held.sha1, peer=peer.name, why=str(error)
        )
        return False
    if kept.fresh:
        kit.trace.event("replica.fetched", app=held.app_id, sha1=held.sha1, peer=peer.name)
        announce(kept.holding, True)
    return kept.fresh


async def _get(url: str, kit: Kit) -> bytes:
    answer = await kit.http.request("GET", url)
    if answer.status != 200:
        raise BadAnswer(f"The peer answered {answer.status}.", answer.status)
    return answer.body
