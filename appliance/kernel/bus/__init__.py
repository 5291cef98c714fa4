"""The bus: NATS semantics behind one protocol, in process or on a real server.

Subjects are dot-separated tokens; a subscription may use ``*`` for one token and a
final ``>`` for the rest. Delivery is at most once, as in core NATS.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from appliance.kernel.errors import ApplianceError, BadRequest, TooLarge, Unavailable

MAX_PAYLOAD = 1024 * 1024  # bytes, as a NATS server's default
QUEUE_MESSAGES = 10_000  # messages that may wait in one subscription
QUEUE_BYTES = 64 * 1024 * 1024  # bytes that may wait in one subscription

WhenSlow = Literal["drop", "close"]


class BadSubject(BadRequest):
    """A subject with empty tokens, white space or a misplaced wildcard."""

    code = "bad-subject"


class PayloadTooLarge(TooLarge):
    """A message above MAX_PAYLOAD; nobody received it."""

    code = "payload-too-large"


class NoResponders(Unavailable):
    """Nobody listens on the subject that was asked."""

    code = "no-responders"


class RequestTimeout(ApplianceError):
    """Somebody listens, but no answer came in time."""

    code, status, exit_code = "request-timeout", 504, 75


class BusClosed(Unavailable):
    """The bus has been closed, or the server is out of reach."""

    code = "bus-closed"


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it was delivered."""

    subject: str
    data: bytes
    reply: str = ""  # where the sender wants the answer; "" for none
    headers: Mapping[str, str] = field(default_factory=dict)


class Subscription(Protocol):
    """Messages in order of arrival; iteration ends when the bus closes or drains."""

    @property
    def dropped(self) -> int:
        """Messages lost because this subscriber was too slow."""

    def __aiter__(self) -> AsyncIterator[Message]: ...

    async def __anext__(self) -> Message: ...

    async def receive(self) -> Message:
        """The next message; `BusClosed` when there will be none."""


class Bus(Protocol):
    """Publish, subscribe, request: what a room can do on any bus."""

    @property
    def max_payload(self) -> int:
        """Bytes of headers and data that one message may have; at most `MAX_PAYLOAD`."""

    def publish(
        self,
        subject: str,
        data: bytes = b"",
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Hand *data* to every matching subscription (one per queue group); never waits.

        Raises:
          BadSubject: *subject* has wildcards, empty tokens or white space.
          PayloadTooLarge: more than `max_payload` bytes of headers and data.
          BusClosed: the bus is closed.
        """

    def subscribe(
        self, subject: str, *, queue: str = "", when_slow: WhenSlow = "drop"
    ) -> AbstractAsyncContextManager[Subscription]:
        """Receive what matches *subject* while the context is open.

        Messages published after the context was entered are received. Members of the
        same *queue* group share the messages: each goes to one of them.

        Args:
          when_slow: What becomes of messages that find the queue full: they are dropped and
            counted, and others may follow; or with "close" the first one ends the
            subscription, for those who had rather begin anew than miss something.
        """

    async def request(
        self,
        subject: str,
        data: bytes = b"",
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> Message:
        """Publish with a reply subject of its own and return the first answer.

        Raises:
          NoResponders: nobody listens on *subject*; known at once.
          RequestTimeout: no answer within *timeout* seconds.
        """

    def request_many(
        self, subject: str, data: bytes = b"", *, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Subscription]:
        """Publish and receive any number of answers while the context is open."""

    async def reconnected(self) -> None:
        """Return after the next outage, once it is over: what was said meanwhile may be lost.

        On a bus without outages, never.
        """

    def figures(self) -> Mapping[str, object]:
        """How the bus is, for /varz: its kind, whether it is connected, and what was lost."""

    async def flush(self) -> None:
        """Return when all that was published has reached the server, or the queues."""
