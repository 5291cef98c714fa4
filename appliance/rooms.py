"""The rooms that run in this process: started one by one, stopped in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import trio

from appliance.kernel.kit import Kit
from appliance.supervisor import Room, Serve

#: Which rooms are asked to stop, step by step, and which of them the next step waits for.
#: Stagings still need the controller, which takes the droplet, and the archivers, which keep
#: it; apps go when no request is on its way to them. Who is not named stops last.
STOPPING: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("stager", "health_manager", "router", "registry"), ("stager", "health_manager")),
    (("controller",), ("controller", "router", "registry")),
    (("dea",), ("dea",)),
)


@dataclass(frozen=True)
class Rooms:
    """The rooms that run, and how they end."""

    kit: Kit
    nursery: trio.Nursery
    supervised: bool
    rooms: dict[str, Room] = field(default_factory=dict)

    async def start(self, name: str, serve: Serve, settings: Any, **more: Any) -> None:
        """Start one room, and return when it is ready."""
        self.kit.health.mark(name, "starting")
        room = Room(
            name=name,
            serve=serve,
            settings=settings,
            kit=replace(self.kit.named(name), stopping=trio.Event()),
            more=more,
            supervised=self.supervised,
        )
        await self.nursery.start(room.run)
        self.rooms[name] = room

    async def stop(self) -> None:
        """Stop all of them in their order, and return when the last one is over."""
        self.kit.draining.set()
        for name in self.rooms:
            self.kit.health.mark(name, "draining")
        try:
            for asked, awaited in STOPPING:
                for room in self._of(asked):
                    room.kit.stopping.set()
                for room in self._of(awaited):
                    await room.over.wait()
        finally:
            for room in self.rooms.values():
                room.kit.stopping.set()
        for room in self.rooms.values():
            await room.over.wait()

    def _of(self, kinds: Sequence[str]) -> list[Room]:
        return [
            room
            for name, room in self.rooms.items()
            if name.rstrip("0123456789").rstrip("-") in kinds
        ]
