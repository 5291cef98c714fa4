"""Those who store, read and delete droplets, and remember what they were told."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import trio

from appliance.archiver.plan import Key
from appliance.kernel.http.client import Response
from appliance.kernel.http.errors import HttpFailed
from tests.simulation.net import SimClient
from tests.simulation.node import PASSWORD

if TYPE_CHECKING:
    from tests.simulation.world import World

USERS = 3
PAUSE = 0.9  # seconds between two requests of a user, at the mean


class Users:
    """Several users with one memory."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng
        self._client = SimClient(world.net, "user")
        self._doomed: set[Key] = set()  # somebody has asked to delete them
        self._made = 0

    def start(self, nursery: trio.Nursery) -> None:
        """Start the users; cancelled with *nursery*."""
        for _ in range(USERS):
            nursery.start_soon(self._use)
        nursery.start_soon(self._store_at_once)

    async def read_everything(self) -> None:
        """Read each droplet from each node, whatever the answer."""
        for key in list(self._world.acknowledged):
            for node in self._world.nodes:
                await self._read(node.name, key)

    async def _use(self) -> None:
        while True:
            await trio.sleep(self._rng.expovariate(1 / PAUSE))
            node = self._rng.choice(self._world.nodes).name
            known = list(self._world.acknowledged)
            luck = self._rng.random()
            if luck < 0.55 or not known:
                await self._store(node, self._droplet())
            elif luck < 0.9:
                if self._world.variant.readers:
                    await self._read(node, self._rng.choice(known))
            else:
                await self._delete(node, self._rng.choice(known))

    async def _store_at_once(self) -> None:
        """The same droplet several times at the same moment, to the same node."""
        while True:
            await trio.sleep(self._rng.expovariate(1 / self._world.variant.together))
            node, data = self._rng.choice(self._world.nodes).name, self._droplet()
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(self._store, node, data)
                    await trio.sleep(self._rng.random() * 0.01)

    async def _store(self, node: str, data: bytes) -> None:
        digest = hashlib.sha1(data).hexdigest()
        key = (f"app-{digest[0]}", digest)
        answer = await self._request("POST", node, key, data)
        if answer is not None and answer.status == 200 and key not in self._doomed:
            self._world.acknowledged[key] = data
            self._world.counts["acknowledged"] += 1

    async def _read(self, node: str, key: Key) -> None:
        data = self._world.acknowledged[key]
        answer = await self._request("GET", node, key)
        if answer is not None and answer.status == 200:
            self._world.counts["read"] += 1
            if answer.body != data:
                self._world.fail(f"{node} served wrong bytes as {key[1]}")

    async def _delete(self, node: str, key: Key) -> None:
        self._doomed.add(key)
        # Whether it is there is open until there is an answer, and afterwards if there is none.
        data = self._world.acknowledged.pop(key)
        answer = await self._request("DELETE", node, key)
        if answer is None:
            return
        if answer.status == 204:
            self._world.deleted.add(key)
            self._world.counts["deleted"] += 1
        elif answer.status == 404:
            self._world.acknowledged[key] = data

    async def _request(
        self, method: str, node: str, key: Key, body: bytes = b""
    ) -> Response | None:
        url = f"http://archiver:{PASSWORD}@{node}/droplets/{key[0]}/{key[1]}"
        try:
            return await self._client.request(method, url, content=body)
        except HttpFailed:
            return None

    def _droplet(self) -> bytes:
        self._made += 1
        return self._rng.randbytes(self._rng.choice([60, 200, 900, 3000])) + b"%d" % self._made
