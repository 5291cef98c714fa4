"""What the lives of one DEA have in common, and whom they tell how they go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import trio

from appliance.config import DeaConfig
from appliance.dea.droplets import DropletCache
from appliance.dea.ending import Ending
from appliance.dea.instance import Instance
from appliance.dea.output import Journal
from appliance.kernel.kit import Kit


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What the lives of one DEA have in common."""

    kit: Kit
    config: DeaConfig
    droplets: DropletCache
    journal: Journal
    unpacking: trio.CapacityLimiter  # threads that unpack at the same time


class Watcher(Protocol):
    """Who is told how a life goes on."""

    def running(self, instance: Instance) -> None:
        """It is healthy."""

    def routable(self, instance: Instance) -> None:
        """Its readiness has changed while it runs."""

    def ending(self, instance: Instance) -> None:
        """It was asked to end, and will be gone soon."""

    async def ended(self, instance: Instance, ending: Ending) -> None:
        """It is gone; nothing of it runs any more."""
