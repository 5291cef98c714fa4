"""Deadlines of many connections, looked at together.

A cancel scope per read costs more than the read. So a connection only notes until
when it will wait, and one task looks at all of them a few times a second.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import trio

from appliance.router.refusals import Refused


class Watch:
    """A coarse clock, and who wants to be called at each tick."""

    def __init__(self, tick: float) -> None:
        self.tick = tick  # seconds; a deadline is kept to within two of them
        self.now = trio.current_time()
        self.looks: set[Callable[[float], None]] = set()

    async def run(self) -> None:
        """Tick, until cancelled."""
        while True:
            await trio.sleep(self.tick)
            self.now = trio.current_time()
            for look in list(self.looks):
                look(self.now)


class Limit:
    """Until when one task of a connection may wait, and what is answered after that."""

    __slots__ = ("_watch", "due", "refusal")

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.due = inf
        self.refusal: Refused | None = None

    def within(self, seconds: float, refusal: Refused | None = None) -> None:
        """What comes next may take *seconds*; then *refusal*, or nothing, is answered."""
        self.due = self._watch.now + self._watch.tick + seconds
        self.refusal = refusal

    def clear(self) -> None:
        """What comes next may take for ever."""
        self.due = inf
