"""Which rooms of this process are starting, ready, unhealthy or draining."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

State = Literal["starting", "ready", "unhealthy", "draining", "stopped"]


@dataclass
class Health:
    """The state of each room in this process, and why it is not ready."""

    rooms: dict[str, tuple[State, str]] = field(default_factory=dict)

    def mark(self, room: str, state: State, reason: str = "") -> None:
        """Note that *room* is in *state*; *reason* is a sentence for a person."""
        self.rooms[room] = (state, reason)

    def ready(self, room: str | None = None) -> bool:
        """Whether *room* is ready, or all of them."""
        names = [room] if room else list(self.rooms)
        states = [self.rooms.get(name, ("stopped", ""))[0] for name in names]
        return bool(states) and all(state == "ready" for state in states)

    def report(self) -> dict[str, dict[str, str]]:
        """``{room: {"state": …, "reason": …}}``, for /readyz."""
        return {
            room: {"state": state} | ({"reason": reason} if reason else {})
            for room, (state, reason) in self.rooms.items()
        }
