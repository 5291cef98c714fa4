"""One simulated archiver: hardware that stays, and processes that come and go on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import trio

from appliance.archiver.plan import make_peer
from appliance.archiver.service import prepare, start_workers
from appliance.config import ArchiverConfig
from appliance.kernel.clock import Clock, Ids
from appliance.kernel.errors import ApplianceError
from appliance.kernel.http.blob_plane import Routes as RouteTable
from appliance.kernel.http.client import Response
from appliance.kernel.http.errors import HttpFailed
from appliance.kernel.kit import Kit
from appliance.kernel.store.blobs import BlobStore
from appliance.kernel.trace import Event, Trace
from tests.simulation.database import Records, SimDatabase
from tests.simulation.disk import Platter, SimDisk
from tests.simulation.life import Dead, Life
from tests.simulation.net import Net, SimClient
from tests.simulation.variants import Variant

ROOT = Path("/node")
PASSWORD = "secret"


class NodeClock(Clock):
    """Wall time that goes with trio's clock, and jumps."""

    def __init__(self) -> None:
        self.jumped = 0.0  # seconds

    def time(self) -> float:
        return 1.7e9 + trio.current_time() + self.jumped


class _NoBus:
    def publish(self, *_: object, **__: object) -> None:
        """Nobody listens."""


class ForgetfulClient(SimClient):
    """Takes a peer that does not answer for one that has said yes."""

    async def upload(self, *args: Any, **options: Any) -> Response:
        try:
            answer = await super().upload(*args, **options)
        except HttpFailed:
            return Response(200, {}, b"OK")
        return answer if answer.ok else Response(200, {}, b"OK")


class Running:
    """One process of a node; the net sees it as a `Server`."""

    def __init__(self, node: Node, nursery: trio.Nursery, life: Life, kit: Kit) -> None:
        self.life, self.nursery, self.kit = life, nursery, kit
        self.disk = SimDisk(node.platter, life)
        variant, config = node.variant, node.config
        blobs = BlobStore(ROOT, fsync=True, disk=self.disk)
        self.store = variant.store(SimDatabase(node.records, life), blobs, kit.clock, node.fault)
        peers = [make_peer(url, config.user, PASSWORD) for url in config.peers]
        self.peers = peers if variant.outbox else []  # none is owed anything
        self.all_peers = peers
        self.handlers = variant.routes(self.store, self.peers, config, kit, PASSWORD)
        self.routes = RouteTable(self.handlers.blobs())

    async def work(self, config: ArchiverConfig) -> None:
        """Bring the store in order and start the workers, as `service.serve` does."""
        await prepare(self.store, self.peers, self.kit)
        arguments = (config, self.kit, self.handlers.announce)
        start_workers(self.nursery, self.store, self.all_peers, *arguments)


class Node:
    """Hardware, and the process on it if there is one."""

    def __init__(
        self,
        name: str,
        net: Net,
        platter: Platter,
        records: Records,
        config: ArchiverConfig,
        variant: Variant,
        tell: Callable[[Event], None],
    ) -> None:
        self.name, self.net, self.platter, self.records = name, net, platter, records
        self.config, self.variant = config, variant
        self.clock = NodeClock()
        self.crash_chance = variant.crash_chance
        self.down = 1.0  # seconds until a new process is started
        self.was_read_only = False  # during this process
        self._tell = tell
        self._life = Life()
        self._rng, self._counts = platter.rng, platter.counts

    async def run(self) -> None:
        """Start a process whenever there is none, for ever."""
        while True:
            self._life = life = Life()
            try:
                with life.scope:
                    await self._live(life)
            except* Dead:
                pass
            finally:
                self.net.servers.pop(self.name, None)
            await trio.sleep(self.down)

    async def _live(self, life: Life) -> None:
        if self.variant.memory_outbox:
            await self.records.database.write(lambda db: db.execute("DELETE FROM outbox"))
        self.was_read_only = self.platter.read_only
        kit = self._kit(life)
        async with trio.open_nursery() as nursery:
            try:
                running = Running(self, nursery, life, kit)
                await running.work(self.config)
            except (ApplianceError, OSError):
                # Whoever runs the room starts it again after a while.
                self._counts["start refused"] += 1
                life.end()
                return
            self._counts["start"] += 1
            self.net.servers[self.name] = running

    def _kit(self, life: Life) -> Kit:
        client = ForgetfulClient if self.variant.forgetful else SimClient
        return Kit(
            room=self.name,
            bus=cast(Any, _NoBus()),
            http=cast(Any, client(self.net, self.name, SimDisk(self.platter, life))),
            spawner=cast(Any, None),
            trace=Trace(self.name, [self._tell], started_at=0.0),
            clock=self.clock,
            ids=Ids(seed=self._rng.getrandbits(32)),
        )

    def crash(self, *, power: bool) -> None:
        """SIGKILL, or the plug is pulled."""
        self._life.end()
        self._counts["power cut" if power else "kill"] += 1
        self.net.note(f"{self.name} {'power cut' if power else 'killed'}")
        if power:
            self.platter.power_cut()
            self.records.power_cut()

    async def fault(self, point: str) -> None:
        """Called by the archiver between two durable steps."""
        self._life.check()
        self._counts[f"passed {point}"] += 1
        if self._rng.random() < self.crash_chance:
            self._counts[f"crash at {point}"] += 1
            self.crash(power=self._rng.random() < 0.5)
            raise Dead
