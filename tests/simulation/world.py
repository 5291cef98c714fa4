"""A whole run: nodes, users, a minute of faults, a quiet time, and the checks after it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from unittest import mock

import trio

from appliance.archiver import http as archiver_http
from appliance.archiver import replicator
from appliance.archiver.plan import Key
from appliance.archiver.store import SCHEMA
from appliance.config import ArchiverConfig
from appliance.kernel.store.database import open_database
from appliance.kernel.trace import Event
from tests.simulation import scheduler
from tests.simulation.chaos import Chaos
from tests.simulation.check import Checks
from tests.simulation.database import Records
from tests.simulation.disk import Platter
from tests.simulation.net import Net
from tests.simulation.node import PASSWORD, ROOT, Node
from tests.simulation.users import Users
from tests.simulation.variants import CORRECT, Variant

NAMES = ("a", "b", "c")
CHAOS = 40.0  # seconds of faults
SETTLE = 50.0  # seconds after the last fault in which everything must have been repaired
IDLE = 30.0  # seconds after that, in which hardly anything may happen
SMALL = 600  # bytes; droplets above are checked while they are sent, and asked for before

#: Short times, so that much happens within a minute.
TIMES = {"retry_first": 0.2, "retry_most": 8.0}
RECONCILE, SCRUB = 15.0, 20.0


@dataclass
class Outcome:
    """What became of one seed."""

    seed: int
    failures: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    trace: str = ""  # digest of everything that happened, in order


def simulate(seed: int, variant: Variant = CORRECT) -> Outcome:
    """Run one world to its end, and say what was wrong with it."""
    outcome = Outcome(seed)
    with (
        mock.patch.object(archiver_http, "SMALL", SMALL),
        mock.patch.object(replicator, "ASK_FIRST", SMALL),
    ):
        scheduler.run(lambda: World(seed, variant, outcome).run(), seed)
    return outcome


class World:
    """Everything of one run."""

    def __init__(self, seed: int, variant: Variant, outcome: Outcome) -> None:
        self.rng = Random(seed)
        self.variant = variant
        self.outcome = outcome
        self.counts = outcome.counts
        self.nodes: list[Node] = []
        self._trace = hashlib.sha256()
        self.net = Net(self.rng, self.counts, self.note)
        self.acknowledged: dict[Key, bytes] = {}  # droplets that must be everywhere
        self.deleted: set[Key] = set()  # those that must be nowhere

    async def run(self) -> None:
        async with AsyncExitStack() as stack:
            for name in NAMES:
                self.nodes.append(await self._make_node(name, stack))
            async with trio.open_nursery() as nursery:
                for node in self.nodes:
                    nursery.start_soon(node.run)
                await self._live()
                nursery.cancel_scope.cancel()
        self.outcome.trace = self._trace.hexdigest()

    async def _live(self) -> None:
        users, chaos = Users(self), Chaos(self)
        with trio.move_on_after(CHAOS):
            async with trio.open_nursery() as nursery:
                users.start(nursery)
                chaos.start(nursery)
        chaos.end()
        checks = Checks(self)
        await trio.sleep(10)
        if self.variant.read_all:
            await users.read_everything()
        await trio.sleep(SETTLE - 10)
        before = self.net.requests
        await trio.sleep(IDLE)
        checks.idle(self.net.requests - before)
        await checks.everything()
        # What was acknowledged and copied outlives a power cut of the whole room.
        for node in self.nodes:
            node.crash(power=True)
        await trio.sleep(node.down + 1)
        checks.disks("after a power cut everywhere")

    async def _make_node(self, name: str, stack: AsyncExitStack) -> Node:
        variant = self.variant
        platter = Platter(
            self.rng, self.counts, sync_files=variant.sync_files, sync_folders=variant.sync_folders
        )
        database = await stack.enter_async_context(open_database(None, SCHEMA))
        records = Records(database, platter, synchronous=variant.synchronous)
        config = ArchiverConfig(
            password=PASSWORD,
            peers=tuple(f"http://{peer}" for peer in NAMES),
            reconcile_every=RECONCILE if variant.anti_entropy else 0.0,
            scrub_every=SCRUB if variant.scrub else 0.0,
            **TIMES,  # type: ignore[arg-type]
        )
        return Node(name, self.net, platter, records, config, variant, self.tell)

    def blobs(self) -> Iterator[tuple[bytes, Path]]:
        """What was acknowledged, and where each node has it."""
        for data in self.acknowledged.values():
            name = hashlib.sha256(data).hexdigest()
            yield data, ROOT / "blobs" / name[:2] / name

    def tell(self, event: Event) -> None:
        """The sink of all nodes' traces."""
        self.note(str(event))
        self.counts[event.what] += 1
        if event.what in ("handler.failed", "connection.failed"):
            self.fail(f"{event.data}")

    def note(self, line: str) -> None:
        """Add to what is compared between two runs of one seed."""
        self._trace.update(f"{trio.current_time():.6f} {line}\n".encode())

    def fail(self, why: str) -> None:
        """Something is wrong; the run goes on."""
        self.outcome.failures.append(f"{trio.current_time():.3f} s: {why}")
