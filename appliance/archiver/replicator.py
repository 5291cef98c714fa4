"""Sends to one peer what is owed to it, until it has everything."""

from __future__ import annotations

from typing import Literal

import trio

from appliance.archiver.errors import DropletLost
from appliance.archiver.outbox import Owed, Postponed
from appliance.archiver.plan import Holding, Peer, delay
from appliance.archiver.scrub import note_failure, set_aside
from appliance.archiver.store import DropletStore
from appliance.archiver.wire import droplet_url, has, headers, sync_url
from appliance.config import MIB, ArchiverConfig
from appliance.kernel.errors import ApplianceError
from appliance.kernel.http.errors import HttpFailed
from appliance.kernel.kit import Kit, joined

Outcome = Literal["sent", "refused", "down"]

ASK_FIRST = 1 * MIB  # bytes; a larger droplet is sent only to a peer that says it lacks it

_PEER_IS_DOWN = (401, 403, 408, 429)  # … and every 5xx: it will take the same later


async def replicate(store: DropletStore, peer: Peer, config: ArchiverConfig, kit: Kit) -> None:
    """Work off the outbox for *peer*, for ever; cancel it at any point.

    What is owed is in the store and not in memory: it is crossed out only after
    the peer has confirmed it, so a restart goes on where this ended. A peer that is down
    is asked with one droplet at a time, after waits that double; a droplet that the peer
    refuses waits by itself and holds up no other.
    """
    while True:
        try:
            await _work_off(store, peer, config, kit)
        except (ApplianceError, OSError) as error:
            # Our own disk or database; a full one has room again some time.
            note_failure(error, kit)
            kit.trace.event("replication.failed", peer=peer.name, why=str(error))
            await trio.sleep(delay(4, config.retry_first, config.retry_most, _luck(kit)))


async def _work_off(store: DropletStore, peer: Peer, config: ArchiverConfig, kit: Kit) -> None:
    down = 0  # failures in a row
    while True:
        # Taken before looking: a row that is written meanwhile sets it.
        wake = store.outbox.wake
        now = kit.clock.time()
        owed = await store.outbox.due(
            peer.name, now=now, horizon=config.retry_most, limit=1 if down else config.batch
        )
        if not owed:
            await _pause(store, peer, now, config, wake)
            continue
        outcomes = await _send_all(owed, store, peer, kit)
        await store.fault("replicas.sent")
        await store.outbox.settle(
            [row.seq for row in owed if outcomes[row.seq] == "sent"],
            [_postponed(row, config, kit) for row in owed if outcomes[row.seq] == "refused"],
        )
        if "down" not in outcomes.values():
            if down:
                kit.trace.event("peer.recovered", peer=peer.name, tries=down)
            down = 0
            continue
        down += 1
        if down == 1:
            kit.trace.event("peer.lost", peer=peer.name, owed=await store.outbox.count())
        await trio.sleep(delay(down, config.retry_first, config.retry_most, _luck(kit)))


async def _pause(
    store: DropletStore, peer: Peer, now: float, config: ArchiverConfig, wake: trio.Event
) -> None:
    """Wait for a new row, or for the time of one that was put off."""
    next_due = await store.outbox.next_due(peer.name)
    longest = float("inf")
    if next_due is not None:
        longest = min(max(next_due - now, 0.001), config.retry_most)
    with trio.move_on_after(longest):
        await wake.wait()


async def _send_all(
    owed: list[Owed], store: DropletStore, peer: Peer, kit: Kit
) -> dict[int, Outcome]:
    """Send the rows side by side: one after the other, a burst would never be caught up with."""
    outcomes: dict[int, Outcome] = {}

    async def send(row: Owed) -> None:
        with joined(row.trace):
            outcomes[row.seq] = await _send(row, store, peer, kit)

    async with trio.open_nursery() as nursery:
        for row in owed:
            nursery.start_soon(send, row)
    return outcomes


async def _send(row: Owed, store: DropletStore, peer: Peer, kit: Kit) -> Outcome:
    held = row.holding
    about = {"app": held.app_id, "sha1": held.sha1, "peer": peer.name}
    try:
        if held.stored and held.size > ASK_FIRST and await _has(peer, held, kit):
            kit.trace.event("replica.had", **about)
            return "sent"
        url = sync_url(peer, held)
        if held.stored:
            answer = await kit.http.upload("POST", url, store.path(held), headers=headers(held))
        else:
            answer = await kit.http.request("DELETE", url, headers=headers(held))
    except HttpFailed as error:
        kit.trace.event("replica.unsent", **about, why=str(error))
        return "down"
    except OSError as error:
        # Deleted since (the row has been replaced then), or lost: it is fetched again from
        # another peer and sent later, or this one has got it from there by then.
        kit.trace.event("replica.unsent", **about, why=f"its file: {error.strerror or error}")
        await _examine(store, held, kit)
        return "refused"
    if 200 <= answer.status < 300 or (not held.stored and answer.status == 404):
        kit.trace.event("replica.sent" if held.stored else "deletion.sent", **about)
        return "sent"
    why = answer.body[:200].decode("utf-8", "replace")
    kit.trace.event("replica.refused", **about, status=answer.status, why=why)
    if answer.status == 422:
        # The peer says that these are other bytes than promised; it may be right.
        await _examine(store, held, kit)
    return "down" if answer.status >= 500 or answer.status in _PEER_IS_DOWN else "refused"


async def _has(peer: Peer, held: Holding, kit: Kit) -> bool:
    """Whether *peer* has the very droplet already, so that its bytes need not travel."""
    answer = await kit.http.request("HEAD", droplet_url(peer, held))
    return answer.status == 200 and has(answer.headers, held)


async def _examine(store: DropletStore, held: Holding, kit: Kit) -> None:
    try:
        await store.check(held)
    except DropletLost as why:
        await set_aside(store, held, why, kit)


def _postponed(row: Owed, config: ArchiverConfig, kit: Kit) -> Postponed:
    tries = row.tries + 1
    wait = delay(tries, config.retry_first, config.retry_most, _luck(kit))
    return Postponed(row.seq, tries, kit.clock.time() + wait)


def _luck(kit: Kit) -> float:
    return int(kit.ids.hex(8), 16) / 0xFFFFFFFF
