"""How much an instance may say: as much as its app's limit allows, and we can carry. Pure."""

from __future__ import annotations

from collections.abc import Sequence

RATE = 2 * 1024 * 1024  # bytes a second that one output may say for long …
BURST = 16 * 1024 * 1024  # … and at once: no more than the log store keeps of one app
SILENCE = 1.0  # seconds in which nothing is said after an app's limit was passed


class Allowance:
    """A bucket of *burst* bytes, which fills with *rate* bytes a second."""

    def __init__(self, now: float, *, rate: float = RATE, burst: float = BURST) -> None:
        self._rate = rate
        self._burst = burst
        self._left = float(burst)
        self._at = now

    def covers(self, cost: int, now: float) -> bool:
        """Whether *cost* bytes may be said at *now*, seconds on any steady clock."""
        self._left = min(self._burst, self._left + self._rate * (now - self._at))
        self._at = now
        if cost > self._left:
            return False
        self._left -= cost
        return True


class LogLimit:
    """The limit that an app has been given, in bytes a second; -1 for none, 0 for silence.

    All outputs of an instance share it. As on Cloud Foundry, the first line above it is
    dropped with all that follow within a second, and one line tells of that.
    """

    def __init__(self, limit: int, now: float) -> None:
        self._limit = limit
        self._bucket = Allowance(now, rate=limit, burst=limit)
        self._silent_until = now

    def admit(self, texts: Sequence[str], now: float) -> tuple[list[str], int]:
        """What may be said of *texts*, a notice of ours included, and the bytes of the rest."""
        costs = [len(text.encode()) for text in texts]
        if self._limit < 0:
            return list(texts), sum(costs)
        said: list[str] = []
        size = 0
        for text, cost in zip(texts, costs, strict=True):
            if self._limit == 0 or now < self._silent_until:
                continue
            if self._bucket.covers(cost, now):
                said.append(text)
                size += cost
            else:
                said.append(f"app instance exceeded log rate limit ({self._limit} bytes/sec)")
                self._silent_until = now + SILENCE
        return said, size
