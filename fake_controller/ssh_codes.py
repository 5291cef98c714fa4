"""One-time codes: what a token is traded for, and an ssh client has as its password. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fake_controller.tokens import Identity

LIFETIME = 5 * 60.0  # seconds
MOST = 10_000  # codes that nobody has used; the oldest ones are given up for new ones
LENGTH = 24  # hexadecimal digits: 96 bits, and a person can still copy them


@dataclass
class Codes:
    """Codes by their text. Times named *now* are seconds on one clock that never jumps.

    Args:
      random: So many random hexadecimal digits.
    """

    random: Callable[[int], str]
    _issued: dict[str, tuple[Identity, float]] = field(default_factory=dict)  # until when

    def issue(self, identity: Identity, now: float) -> str:
        """A new code for *identity*."""
        while self._issued:
            oldest, (_, until) = next(iter(self._issued.items()))
            if until > now and len(self._issued) < MOST:
                break
            del self._issued[oldest]
        code = self.random(LENGTH)
        self._issued[code] = identity, now + LIFETIME
        return code

    def redeem(self, code: str, now: float) -> Identity | None:
        """Who got *code*; from now on nobody."""
        identity, until = self._issued.pop(code, (None, 0.0))
        return identity if until > now else None
