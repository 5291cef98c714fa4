"""Wall time and random identifiers: the only non-determinism, handed in through the kit."""

from __future__ import annotations

import random
import time
import uuid
from dataclasses import dataclass, field


class Clock:
    """Wall time. Deadlines use trio's clock; this one is for what people and clients see."""

    def time(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def time_ns(self) -> int:
        """Nanoseconds since 1970."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Seconds that never jump; for worker threads, which cannot read trio's clock."""
        return time.monotonic()


@dataclass
class Ids:
    """Random identifiers; with a *seed* the same ones on every run."""

    seed: int | None = None
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Secrets never come from here when it is seeded: a seed is asked for on purpose.
        self._random = random.SystemRandom() if self.seed is None else random.Random(self.seed)

    def guid(self) -> str:
        """A version 4 UUID, e.g. ``0f8fad5b-d9cb-469f-a165-70867728950e``."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def hex(self, length: int = 32) -> str:
        """*length* random hexadecimal digits."""
        return f"{self._random.getrandbits(4 * length):0{length}x}"

    def fraction(self) -> float:
        """A number from 0 to 1, 1 excluded."""
        return self._random.random()
