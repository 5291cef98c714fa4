"""The kit: what a room is handed. Bus, HTTP client, children, clock, trace, and when to stop."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import trio

from appliance.kernel.bus import Bus, Message, Subscription
from appliance.kernel.bus.codec import BusMessage, Undecodable, decode, encode
from appliance.kernel.clock import Clock, Ids
from appliance.kernel.health import Health
from appliance.kernel.http.client import Client
from appliance.kernel.process.spawner import Spawner
from appliance.kernel.trace import SENDER_HEADER, TRACE_HEADER, Trace, current_trace

T = TypeVar("T")
Dial = Callable[[], Awaitable[socket.socket]]  # a connection, or OSError


@dataclass(frozen=True, slots=True)
class Received(Generic[T]):
    """One decoded message, and where its answer goes."""

    body: T
    subject: str
    reply: str  # "" when no answer is wanted
    sender: str  # the room that sent it; "" for clients from outside
    trace: str


class Inbox(Generic[T]):
    """Decoded messages of one subscription. Each sets the task's trace to its own.

    What cannot be decoded is answered with ``{"error": …}`` when an answer is wanted,
    and shown in the trace; it never ends the loop.
    """

    def __init__(self, kit: Kit, subscription: Subscription, kind: type[T]) -> None:
        self._kit = kit
        self._subscription = subscription
        self._kind = kind

    def __aiter__(self) -> AsyncIterator[Received[T]]:
        return self

    async def __anext__(self) -> Received[T]:
        while True:
            message = await self._subscription.__anext__()
            received = self._kit.receive(message, self._kind)
            if received is not None:
                return received


@dataclass(frozen=True, kw_only=True)
class Kit:
    """What a room is handed; `named` gives each room its own."""

    room: str
    bus: Bus
    http: Client
    spawner: Spawner
    trace: Trace
    clock: Clock = field(default_factory=Clock)
    ids: Ids = field(default_factory=Ids)
    health: Health = field(default_factory=Health)
    #: The process is to end: nothing new is begun. `stopping` follows when it is a room's turn.
    draining: trio.Event = field(default_factory=trio.Event)
    stopping: trio.Event = field(default_factory=trio.Event)
    #: By address: ways to programs whose network is their own, for the rooms of this process.
    dialers: dict[tuple[str, int], Dial] = field(default_factory=dict)
    #: User and password of /varz, /healthz and /metrics; "" lets each component make its own.
    status_login: tuple[str, str] = ("", "")
    hosts: frozenset[str] = frozenset()  # names this appliance goes by, besides loopback's

    def named(self, room: str) -> Kit:
        """The same kit for another room: its messages and events carry that name."""
        return replace(self, room=room, trace=self.trace.named(room), http=self.http.named(room))

    def headers(self) -> dict[str, str]:
        """What every message and request carries: who sends it, and for which push."""
        headers = {SENDER_HEADER: self.room}
        if trace := current_trace.get():
            headers[TRACE_HEADER] = trace
        return headers

    def publish(self, message: BusMessage, *, subject: str = "", reply: str = "") -> None:
        """Send *message* to its subject (or to *subject*); nobody may be listening."""
        self.bus.publish(
            subject or message.subject, encode(message), reply=reply, headers=self.headers()
        )

    async def request(
        self, message: BusMessage, answer: type[T], *, timeout: float, subject: str = ""
    ) -> T:
        """Ask, and return the first answer. Raises as `Bus.request`, and `Undecodable`."""
        reply = await self.bus.request(
            subject or message.subject, encode(message), timeout=timeout, headers=self.headers()
        )
        return decode(reply.data, answer)

    @asynccontextmanager
    async def ask_all(
        self, message: BusMessage, answer: type[T], *, subject: str = ""
    ) -> AsyncIterator[Inbox[T]]:
        """Ask, and receive any number of answers while the context is open."""
        async with self.bus.request_many(
            subject or message.subject, encode(message), headers=self.headers()
        ) as answers:
            yield Inbox(self, answers, answer)

    @asynccontextmanager
    async def subscribe(
        self, kind: type[T], *, subject: str = "", queue: str = ""
    ) -> AsyncIterator[Inbox[T]]:
        """Receive messages of *kind* on its own subject, or on *subject*."""
        wanted = subject or kind.subject  # type: ignore[attr-defined]
        async with self.bus.subscribe(wanted, queue=queue) as subscription:
            yield Inbox(self, subscription, kind)

    def respond(self, received: Received[Any], answer: object) -> None:
        """Answer *received*; without a reply subject nothing is sent."""
        if received.reply:
            self.bus.publish(received.reply, encode(answer), headers=self.headers())

    def join(self, message: Message) -> tuple[str, str]:
        """Work for the push of *message* from now on, and tell the trace that it came.

        Returns its sender and its push, "" where it names none.
        """
        trace = message.headers.get(TRACE_HEADER, "")
        sender = message.headers.get(SENDER_HEADER, "")
        current_trace.set(trace)
        if trace and not message.subject.startswith("_INBOX."):
            self.trace.event("message.received", subject=message.subject, sender=sender)
        return sender, trace

    def receive(self, message: Message, kind: type[T]) -> Received[T] | None:
        """Decode *message* and join its push; None (and an error reply) when it is not a *kind*."""
        sender, trace = self.join(message)
        try:
            body = decode(message.data, kind)
        except Undecodable as error:
            self.trace.event("message.refused", subject=message.subject, why=str(error))
            if message.reply:
                self.bus.publish(message.reply, encode({"error": str(error)}))
            return None
        return Received(body, message.subject, message.reply, sender, trace)


@contextmanager
def joined(trace: str) -> Iterator[None]:
    """Work for the push *trace* inside the block."""
    token = current_trace.set(trace)
    try:
        yield
    finally:
        current_trace.reset(token)
