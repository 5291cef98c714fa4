"""Would this DEA take an instance, and how eagerly does it say so? Pure."""

from __future__ import annotations

from dataclasses import dataclass

TAINT_SAME = 0.010  # seconds for each instance of the same droplet that is here already
TAINT_FULL = 0.100  # seconds when all memory is reserved, less in proportion
TAINT_MOST = 0.250  # seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """How full a DEA is."""

    max_memory: int  # MB
    reserved: int  # MB promised to instances, whatever they really use
    max_instances: int
    instances: int

    @property
    def available(self) -> int:
        """MB that another instance may ask for; 0 when it may not come at all."""
        if self.instances >= self.max_instances:
            return 0
        return max(0, self.max_memory - self.reserved)

    def takes(self, memory: int) -> bool:
        """Whether an instance with *memory* MB has room."""
        return 0 < memory <= self.available


def taint(room: Room, same: int) -> float:
    """Seconds to wait before offering; whoever has more to spare answers first.

    *same* counts the instances of the same droplet here. An empty DEA answers at once.
    """
    load = room.reserved / room.max_memory
    return min(TAINT_MOST, TAINT_SAME * same + TAINT_FULL * load)
