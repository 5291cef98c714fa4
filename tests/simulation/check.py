"""What must be true when the faults are over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from appliance.archiver.store import _COLUMNS
from tests.simulation.net import SimClient
from tests.simulation.node import PASSWORD, ROOT, Node

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Requests between the nodes while nothing happens: each asks each for its digests, and
#: now and then something small. A storm is thousands.
MOST_IDLE = 60


class Checks:
    """The checks of one world; each tells what it finds by `World.fail`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def idle(self, requests: int) -> None:
        """Nothing goes on any more."""
        if requests > MOST_IDLE:
            self._world.fail(f"{requests} requests between idle nodes")

    async def everything(self) -> None:
        """All that can be seen from inside and outside."""
        self.disks("after the quiet time")
        for node in self._world.nodes:
            self._left_over(node)
        client = SimClient(self._world.net, "user")
        for key, data in self._world.acknowledged.items():
            for node in self._world.nodes:
                url = f"http://archiver:{PASSWORD}@{node.name}/droplets/{key[0]}/{key[1]}"
                answer = await client.request("GET", url)
                if (answer.status, answer.body) != (200, data):
                    self._world.fail(f"{node.name} answers {answer.status} for {key[1]}")

    def disks(self, when: str) -> None:
        """Rows and files, seen from outside: every node has all, whole, and the same."""
        holdings = {node.name: self._rows(node) for node in self._world.nodes}
        first, *others = holdings.values()
        if any(other != first for other in others):
            self._world.fail(f"the nodes differ {when}")
        for node in self._world.nodes:
            rows = holdings[node.name]
            for key, data in self._world.acknowledged.items():
                generation, sha256, held = rows.get(key, (0, "", 0))
                if generation % 2 != 1 or not held:
                    self._world.fail(f"{node.name} has lost {key[1]} {when}")
                elif self._bytes(node, sha256) != data:
                    self._world.fail(f"{node.name} has other bytes for {key[1]} {when}")
            for key in self._world.deleted:
                if rows.get(key, (0, "", 0))[0] % 2:
                    self._world.fail(f"{node.name} still has {key[1]}, which was deleted, {when}")

    def _left_over(self, node: Node) -> None:
        owed = node.records.database._reader.execute("SELECT count(*) FROM outbox").get
        if owed and self._world.variant.outbox:
            self._world.fail(f"{node.name} still owes {owed}")
        left = [path for path in node.platter.names if path.startswith(f"{ROOT}/spool/")]
        if left and not node.was_read_only:
            self._world.fail(f"{node.name} has left {left[:3]}")

    def _rows(self, node: Node) -> dict[tuple[str, str], tuple[int, str, int]]:
        rows: list[Any] = node.records.database._reader.execute(
            f"SELECT {_COLUMNS}, held FROM droplets"
        ).fetchall()
        return {(row[0], row[1]): (row[4], row[2], row[5]) for row in rows}

    def _bytes(self, node: Node, sha256: str) -> bytes | None:
        file = node.platter.file(ROOT / "blobs" / sha256[:2] / sha256)
        return None if file is None or file.unreadable else file.data
