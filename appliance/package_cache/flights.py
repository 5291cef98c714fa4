"""One build per key: whoever asks for what is being built waits for it and shares its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from appliance.kernel.errors import ApplianceError
from appliance.package_cache.errors import CacheBusy


@dataclass
class _Flight:
    landed: trio.Event = field(default_factory=trio.Event)
    error: ApplianceError | None = None


@dataclass
class Flights:
    """Work by key, at most *side_by_side* at once and *most* begun or waiting.

    The work runs in *nursery*: that one asker leaves does not take it from the others.
    """

    nursery: trio.Nursery
    side_by_side: int
    most: int
    _flying: dict[str, _Flight] = field(default_factory=dict)
    _slots: trio.CapacityLimiter = field(init=False)

    def __post_init__(self) -> None:
        self._slots = trio.CapacityLimiter(self.side_by_side)

    async def join(self, key: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Wait until *key* is done; True when *work* was begun by this call.

        Raises:
          CacheBusy: too much is under way already.
          ApplianceError: what the work raised, for everybody who waited.
        """
        flight = self._flying.get(key)
        begun = flight is None
        if flight is None:
            if len(self._flying) >= self.most:
                raise CacheBusy
            flight = self._flying[key] = _Flight()
            self.nursery.start_soon(self._fly, key, flight, work)
        await flight.landed.wait()
        if flight.error is not None:
            raise flight.error
        return begun

    async def _fly(self, key: str, flight: _Flight, work: Callable[[], Awaitable[None]]) -> None:
        flight.error = CacheBusy()  # for whoever waits while the room is stopped
        try:
            async with self._slots:
                await work()
            flight.error = None
        except ApplianceError as error:
            flight.error = error
        finally:
            del self._flying[key]
            flight.landed.set()
