"""The trace: one record is the log line, the test's evidence and the picture of a push."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

import trio

from appliance.kernel.redact import redact_data

Value = str | int | float | bool | None

#: The push (or other request) that the running task works for; "" outside of one.
#: It travels in the HTTP header ``X-Vcap-Request-Id`` and the bus header of the same name.
current_trace: ContextVar[str] = ContextVar("current_trace", default="")

TRACE_HEADER = "X-Vcap-Request-Id"
SENDER_HEADER = "X-Appliance-Room"  # which room sent this request or message

#: Who watches events in a terminal must not be moved about in it by what strangers sent.
_UNPRINTABLE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
del _UNPRINTABLE[ord("\n")], _UNPRINTABLE[ord("\t")]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; *what* is ``noun.past-participle``."""

    at: float  # seconds since the appliance started, on trio's clock
    room: str  # "stager", "archiver", …
    what: str  # "droplet.stored"
    data: dict[str, Value] = field(default_factory=dict)
    trace: str = ""  # the push it belongs to

    def __str__(self) -> str:
        pairs = " ".join(f"{key}={value}" for key, value in self.data.items())
        line = f"{self.at:8.3f} {self.room:<14} {self.what} {pairs}".rstrip()
        return line.translate(_UNPRINTABLE)


Sink = Callable[[Event], None]


@dataclass(frozen=True)
class Trace:
    """Where one room tells what it did. Sinks are called in order and must not block."""

    room: str
    sinks: Sequence[Sink]
    started_at: float = field(default_factory=lambda: trio.current_time())

    def event(self, what: str, /, **data: Value) -> None:
        """Record that *what* happened now, for the current push.

        What looks like a secret is hidden before any sink sees the event.
        """
        event = Event(
            at=round(trio.current_time() - self.started_at, 6),
            room=self.room,
            what=what,
            data=redact_data(data),
            trace=current_trace.get(),
        )
        for sink in self.sinks:
            sink(event)

    def named(self, room: str) -> Trace:
        """The same trace, told by another room."""
        return replace(self, room=room)


class TraceLog:
    """A sink that keeps the last *limit* events for those who ask later."""

    def __init__(self, limit: int) -> None:
        self._events: deque[Event] = deque(maxlen=limit)

    def __call__(self, event: Event) -> None:
        self._events.append(event)

    def of(self, trace: str) -> list[Event]:
        """The events of one push, in order."""
        return [event for event in self._events if event.trace == trace]

    def latest(self, what: str, **data: Value) -> Event | None:
        """The newest event *what* whose data has all of *data*."""
        for event in reversed(self._events):
            if event.what == what and data.items() <= event.data.items():
                return event
        return None

    def recent(self, count: int) -> list[Event]:
        """The newest *count* events, oldest first."""
        return list(self._events)[-count:]
