"""One archiver: its store, its routes, and a sender and a comparer for each peer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from urllib.parse import quote, urlsplit

import trio

from appliance.archiver.http import Routes
from appliance.archiver.plan import Peer, make_peer
from appliance.archiver.reconcile import Announce, reconcile
from appliance.archiver.replicator import replicate
from appliance.archiver.scrub import scrub
from appliance.archiver.store import DropletStore, Fault, no_fault, open_store
from appliance.config import ArchiverConfig
from appliance.kernel.component import Component
from appliance.kernel.kit import Kit
from appliance.kernel.neighbours import follow


async def serve(
    config: ArchiverConfig,
    kit: Kit,
    *,
    fault: Fault = no_fault,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run one archiver until `kit.stopping`; ``started()`` gets its base URL with credentials.

    Raises:
      PortTaken: somebody else listens at `config.bind`.
      StateTooNew: a newer appliance has written to `config.root`.
    """
    # Hypercorn takes a while to load; whoever imports this module may not serve yet.
    from appliance.kernel.http.server import serve_http

    password = config.password or kit.ids.hex(32)
    peers = [make_peer(url, config.user, password) for url in config.peers]
    async with open_store(config.root, kit.clock, fault=fault) as store:
        await prepare(store, None if config.announced else peers, kit)
        routes = Routes(store, peers, config, kit, password)
        component = Component(kit, "Archiver", config=config, varz=lambda: {"peers": len(peers)})
        blobs = [*routes.blobs(), *component.routes(healthz=False)]
        async with trio.open_nursery() as background:
            async with trio.open_nursery() as serving:
                url = await serving.start(partial(serve_http, None, config.bind, kit, blobs=blobs))
                await background.start(component.run, url)
                start_workers(background, store, peers, config, kit, routes.announce)
                if config.announced:
                    own = urlsplit(url).netloc

                    def join(host: str) -> None:
                        if host == own or host in {peer.name for peer in peers}:
                            return
                        peers.append(make_peer(f"http://{host}", config.user, password))
                        routes.owe(peers[-1])
                        serve_peer(background, store, peers[-1], config, kit, routes.announce)
                        kit.trace.event("archiver.joined", peer=host)

                    background.start_soon(follow, kit, "Archiver", join)
                kit.health.mark(kit.room, "ready")
                kit.trace.event("archiver.listening", url=url, peers=len(peers))
                task_status.started(_with_credentials(url, config.user, password))
            # serve_http has drained: kit.stopping is set.
            background.cancel_scope.cancel()
    kit.health.mark(kit.room, "stopped")


async def prepare(store: DropletStore, peers: Sequence[Peer] | None, kit: Kit) -> None:
    """Bring the store in order after whatever ended the process before.

    What is owed to others than *peers* is forgotten; None when nobody can tell who will come.
    """
    lost = await store.recover()
    if lost:
        kit.trace.event("droplets.lost", count=lost)
    if peers is not None:
        await store.outbox.keep_only({peer.name for peer in peers})


def start_workers(
    nursery: trio.Nursery,
    store: DropletStore,
    peers: Sequence[Peer],
    config: ArchiverConfig,
    kit: Kit,
    announce: Announce,
) -> None:
    """Start everything that goes on beside the requests, until *nursery* is cancelled."""
    for peer in peers:
        serve_peer(nursery, store, peer, config, kit, announce)
    if config.scrub_every:
        nursery.start_soon(scrub, store, config, kit)


def serve_peer(
    nursery: trio.Nursery,
    store: DropletStore,
    peer: Peer,
    config: ArchiverConfig,
    kit: Kit,
    announce: Announce,
) -> None:
    """Start what goes on for one peer."""
    # What is owed to a peer is in the store's outbox, not in memory: its sender
    # can be cancelled at any point and goes on after the next start.
    nursery.start_soon(replicate, store, peer, config, kit)
    if config.reconcile_every:
        nursery.start_soon(reconcile, store, peer, config, kit, announce)


def _with_credentials(url: str, user: str, password: str) -> str:
    scheme, _, place = url.partition("://")
    return f"{scheme}://{quote(user, '')}:{quote(password, '')}@{place}"
