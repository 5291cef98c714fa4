"""One run of one simulated process: whatever it tries after its death has no effect."""

from __future__ import annotations

from collections.abc import Callable

import trio


class Dead(BaseException):
    """The process is gone: its code must not go on, not even in a `finally`."""


class Life:
    """Alive until `end`; the simulated disk, database and net ask `check` at each call."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.dead = False
        self._last_words: list[Callable[[], None]] = []

    def check(self) -> None:
        """Raise `Dead` when it is over."""
        if self.dead:
            raise Dead

    def at_end(self, call: Callable[[], None]) -> None:
        """Have *call* called when it ends; for those who wait for an answer."""
        self._last_words.append(call)

    def end(self) -> None:
        """SIGKILL: everything stops where it is."""
        if self.dead:
            return
        self.dead = True
        for call in self._last_words:
            call()
        self.scope.cancel()

    async def pause(self, seconds: float) -> None:
        """Wait as a thread does: to the end, whoever is cancelled."""
        if seconds:
            with trio.CancelScope(shield=True):
                await trio.sleep(seconds)
        self.check()
