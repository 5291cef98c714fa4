"""What all connections of one listener share: the bus, the limits and the counters. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from appliance.kernel.bus import Message
from appliance.kernel.bus.listener.options import Options

if TYPE_CHECKING:
    from appliance.kernel.bus.listener.session import Session

#: Tells the operator what happened: ``client.connected``, and pairs that say to whom.
Report = Callable[..., None]


class Receiver(Protocol):
    """As `local.Receiver`: what a session attaches to the bus."""

    @property
    def load(self) -> float: ...

    def put(self, message: Message, size: int) -> None: ...


class Switch(Protocol):
    """What a listener needs of the `LocalBus`."""

    max_payload: int

    def attach(self, receiver: Receiver, pattern: str, *, queue: str = "") -> None: ...

    def detach(self, receiver: Receiver, pattern: str, *, queue: str = "") -> None: ...

    def forward(self, message: Message, size: int) -> bool: ...

    def listeners(self, subject: str) -> list[Receiver]: ...

    def subscriptions(self) -> Iterator[tuple[str, str, Receiver]]: ...


@dataclass(slots=True)
class Counters:
    """Messages and bytes (headers and data) that clients have sent and received."""

    in_msgs: int = 0
    out_msgs: int = 0
    in_bytes: int = 0
    out_bytes: int = 0

    def add(self, other: Counters) -> None:
        """Count what *other* has counted, too."""
        self.in_msgs += other.in_msgs
        self.out_msgs += other.out_msgs
        self.in_bytes += other.in_bytes
        self.out_bytes += other.out_bytes


@dataclass(eq=False, kw_only=True)
class Hub:
    """The shared part of a listener. *wake* is called when `dirty` gets its first session."""

    bus: Switch
    options: Options
    server_id: str
    host: str
    port: int
    report: Report
    wake: Callable[[], None]
    tls_required: bool = False  # by every client
    tls_verify: bool = False  # clients show certificates
    sessions: dict[int, Session] = field(default_factory=dict)  # open ones, by their cid
    dirty: dict[Session, None] = field(default_factory=dict)  # those with bytes to be sent
    muted: Session | None = None  # publishes at the moment, and does not want to hear itself
    past: Counters = field(default_factory=Counters)  # of connections that have ended
    connections: int = 0  # ever
    slow_consumers: int = 0  # ever

    @property
    def max_payload(self) -> int:
        """Bytes of headers and data in one message."""
        return min(self.options.max_payload, self.bus.max_payload)

    def demands(self) -> dict[str, bool]:
        """What clients have to do, for INFO and /varz; as a nats-server, only what is so."""
        told = {
            "auth_required": self.options.auth_required,
            "tls_required": self.tls_required,
            "tls_verify": self.tls_verify,
        }
        return {name: True for name, so in told.items() if so}

    def totals(self) -> Counters:
        """Counted over all connections that are and were."""
        totals = Counters()
        totals.add(self.past)
        for session in self.sessions.values():
            totals.add(session.counters)
        return totals
