"""Archivers on loopback, started and stopped one by one, over one bus."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from appliance.archiver.service import serve
from appliance.config import ArchiverConfig
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.clock import Ids
from appliance.kernel.http.client import Client, Response
from appliance.kernel.kit import Kit
from appliance.kernel.process.spawner import Spawner
from appliance.kernel.trace import Event, Trace

PASSWORD = "a password/with:signs"
QUICK = {"retry_first": 0.02, "retry_most": 0.1, "reconcile_every": 0.0}


class Place:
    """An address that an archiver will have; until then connections to it are refused."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def open(self) -> str:
        self._socket.listen(128)
        return f"fd://{self._socket.detach()}"

    def close(self) -> None:
        self._socket.close()


@dataclass
class Node:
    """One running archiver."""

    kit: Kit
    url: str  # with credentials
    events: list[Event]
    stopped: trio.Event = field(default_factory=trio.Event)

    def path(self, data: bytes, app: str = "app", *, sync: bool = False) -> str:
        return f"{self.url}/{'sync' if sync else 'droplets'}/{app}/{hashlib.sha1(data).hexdigest()}"

    async def post(self, data: bytes, app: str = "app", **options: Any) -> Response:
        return await self.kit.http.request("POST", self.path(data, app), content=data, **options)

    async def get(self, data: bytes, app: str = "app", **options: Any) -> Response:
        return await self.kit.http.request("GET", self.path(data, app), **options)

    async def holds(self, data: bytes, app: str = "app") -> bool:
        answer = await self.get(data, app)
        return answer.status == 200 and answer.body == data

    def told(self, what: str) -> list[Event]:
        return [event for event in self.events if event.what == what]

    async def stop(self) -> None:
        self.kit.stopping.set()
        await self.stopped.wait()


class Cluster:
    """Makes nodes that share a bus and a client."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._places: list[Place] = []
        self._client = Client()
        self.bus = LocalBus()
        self.nodes: list[Node] = []

    def place(self) -> Place:
        place = Place()
        self._places.append(place)
        return place

    async def start(
        self,
        name: str = "archiver",
        *,
        at: Place | None = None,
        root: Path | None = None,
        peers: tuple[Place, ...] = (),
        **settings: Any,
    ) -> Node:
        events: list[Event] = []
        config = ArchiverConfig(
            bind=at.open() if at else "127.0.0.1:0",
            root=root,
            peers=tuple(place.url for place in peers),
            **(QUICK | {"password": PASSWORD} | settings),
        )
        kit = self.kit(name, events)
        node = Node(kit, "", events)

        async def run(*, task_status: trio.TaskStatus[str]) -> None:
            try:
                await serve(config, kit, task_status=task_status)
            finally:
                node.stopped.set()

        node.url = await self._nursery.start(run)
        self.nodes.append(node)
        return node

    async def until(self, true: Callable[[], Awaitable[bool]]) -> None:
        """Return when *true* is, or fail after ten seconds."""
        with trio.fail_after(10):
            while not await true():  # noqa: ASYNC110 (it is asked over HTTP)
                await trio.sleep(0.005)

    def kit(self, name: str, events: list[Event]) -> Kit:
        return Kit(
            room=name,
            bus=self.bus,
            http=self._client.named(name),
            spawner=cast(Spawner, None),
            trace=Trace(name, [events.append]),
            ids=Ids(seed=1),
        )

    async def close(self) -> None:
        for node in self.nodes:
            await node.stop()
        for place in self._places:
            place.close()
        await self.bus.aclose()
        await self._client.aclose()


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """``await cluster.start()`` gives a running archiver."""
    async with trio.open_nursery() as nursery:
        cluster = Cluster(nursery)
        yield cluster
        await cluster.close()
