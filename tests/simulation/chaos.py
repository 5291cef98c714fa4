"""Faults, one after the other and side by side, within what can be survived.

At least one whole durable copy of a droplet is left alone when another is damaged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tests.simulation.disk import File
from tests.simulation.node import Node

if TYPE_CHECKING:
    from tests.simulation.world import World

PAUSE = 1.5  # seconds between two faults, at the mean


class Chaos:
    """Everything bad that happens to one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng, self._net, self._nodes = world.rng, world.net, world.nodes
        self._counts = world.counts
        self._faults = world.variant.faults
        for node in self._nodes:
            node.crash_chance *= "crash point" in self._faults
        if "loss" in self._faults:
            self._net.loss = 0.02
        if "lost reply" in self._faults:
            self._net.lost_reply = 0.02
        if "duplicate" in self._faults:
            self._net.duplicate = 0.03
        if "broken body" in self._faults:
            self._net.broken_body = 0.01

    def start(self, nursery: trio.Nursery) -> None:
        """Start doing harm; *nursery* ends it."""
        nursery.start_soon(self._go_on, nursery)

    def end(self) -> None:
        """Mend everything that mends by itself, and start what is down."""
        self._net.cut.clear()
        self._net.loss = self._net.lost_reply = 0.0
        self._net.duplicate = self._net.broken_body = 0.0
        for node in self._nodes:
            node.platter.full = node.platter.read_only = False
            node.platter.failing_syncs = 0
            node.crash_chance = 0.0
            node.down = 0.5

    async def _go_on(self, nursery: trio.Nursery) -> None:
        one_shot: dict[str, Callable[[Node], None]] = {
            "kill": self._kill,
            "power": self._cut_power,
            "fsync": self._fail_sync,
            "flip": self._flip,
            "unreadable": self._make_unreadable,
            "clock": self._jump,
        }
        lasting: dict[str, Callable[[Node], Awaitable[None]]] = {
            "partition": self._partition,
            "full": self._fill,
            "read only": self._make_read_only,
        }
        choices = sorted((one_shot.keys() | lasting.keys()) & self._faults)
        while choices:
            await trio.sleep(self._rng.expovariate(1 / PAUSE))
            fault, node = self._rng.choice(choices), self._rng.choice(self._nodes)
            if fault in one_shot:
                one_shot[fault](node)
            else:
                nursery.start_soon(lasting[fault], node)

    def _kill(self, node: Node) -> None:
        node.down = self._rng.choice([0.05, 0.5, 8])
        node.crash(power=False)

    def _cut_power(self, node: Node) -> None:
        node.down = self._rng.choice([0.05, 0.5, 8])
        node.crash(power=True)

    def _fail_sync(self, node: Node) -> None:
        node.platter.failing_syncs += 1

    def _jump(self, node: Node) -> None:
        node.clock.jumped += self._rng.choice([-3600, 3600])
        self._counts["clock jump"] += 1

    def _flip(self, node: Node) -> None:
        def damage(file: File) -> None:
            spot = self._rng.randrange(len(file.data))
            changed = bytes([file.data[spot] ^ (1 << self._rng.randrange(8))])
            file.data = file.durable = file.data[:spot] + changed + file.data[spot + 1 :]

        self._damage(node, "bit flip", damage)

    def _make_unreadable(self, node: Node) -> None:
        def damage(file: File) -> None:
            file.unreadable = True

        self._damage(node, "unreadable file", damage)

    def _damage(self, node: Node, what: str, damage: Callable[[File], None]) -> None:
        """Harm one file of *node* of which another node has a whole copy on its disk."""
        candidates = [
            file
            for data, path in self._world.blobs()
            if (file := node.platter.file(path)) is not None
            and file.durable == data
            and any(_has(other, path, data) for other in self._nodes if other is not node)
        ]
        if candidates:
            damage(self._rng.choice(candidates))
            self._counts[what] += 1

    async def _partition(self, node: Node) -> None:
        self._counts["partition"] += 1
        others = [other for other in self._nodes if other is not node]
        pairs = [(node.name, other.name) for other in others]
        if self._rng.random() < 0.7:  # else it still hears, and is not heard
            pairs += [(other.name, node.name) for other in others]
        self._net.cut.update(pairs)
        await trio.sleep(self._rng.uniform(1, 15))
        self._net.cut.difference_update(pairs)

    async def _fill(self, node: Node) -> None:
        self._counts["full disk"] += 1
        node.platter.full = True
        await trio.sleep(self._rng.uniform(1, 10))
        node.platter.full = False

    async def _make_read_only(self, node: Node) -> None:
        self._counts["read-only disk"] += 1
        node.platter.read_only = node.was_read_only = True
        await trio.sleep(self._rng.uniform(0.5, 5))
        node.platter.read_only = False


def _has(node: Node, path: Path, data: bytes) -> bool:
    """Whether *node* has the bytes on its disk, and a row: a file alone is nobody's."""
    return node.platter.stored(path) == data and node.records.holds(path.name)
