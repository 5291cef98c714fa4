"""The trio side of a bus whose server is elsewhere: queues, inboxes and errors of ours.

The connection itself lives behind a `ThreadLink`. Jobs go there, and whatever arrives
comes back in batches, on trio's thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from itertools import count

import trio

from appliance.kernel.bus import (
    BusClosed,
    Message,
    NoResponders,
    PayloadTooLarge,
    RequestTimeout,
    Subscription,
    WhenSlow,
)
from appliance.kernel.bus.headers import size_of_headers
from appliance.kernel.bus.mailbox import Answer, Mailbox
from appliance.kernel.bus.subjects import check_pattern, check_queue, check_subject
from appliance.kernel.bus.thread_link import (
    INBOXES,
    Arrival,
    Close,
    Probe,
    Subscribe,
    ThreadLink,
    Unsubscribe,
)
from appliance.kernel.bus.wire_headers import encode


class RemoteBus:
    """A `Bus` behind a `ThreadLink`.

    While the server is out of reach, what is published waits, up to a bound; beyond it
    the newest is dropped and counted by the link. Requests wait for the server, too, up
    to their timeouts. Subscribing and `flush` wait until it is back.
    """

    def __init__(self, link: ThreadLink) -> None:
        self._link = link
        self._mailboxes: dict[int, Mailbox] = {}
        self._inboxes: dict[str, Answer | Mailbox] = {}  # by the whole reply subject
        self._numbers = count(INBOXES + 1)
        self._closed = False
        self._back = trio.Event()
        self._dropped = 0  # messages that subscribers of the past were too slow for

    @property
    def max_payload(self) -> int:
        """Bytes of headers and data that one message may have."""
        return self._link.max_payload

    @property
    def lost(self) -> int:
        """Messages that this process dropped: an outage was too long, or a thread too slow."""
        return self._link.lost

    def publish(
        self,
        subject: str,
        data: bytes = b"",
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Hand *data* to every matching subscription (one per queue group); never waits."""
        self._send(subject, data, reply, headers)

    @asynccontextmanager
    async def subscribe(
        self, subject: str, *, queue: str = "", when_slow: WhenSlow = "drop"
    ) -> AsyncIterator[Subscription]:
        """Receive what matches *subject* while the context is open."""
        check_pattern(subject)
        if queue:
            check_queue(queue)
        self._check_open()
        number, mailbox = next(self._numbers), Mailbox(closes=when_slow == "close")
        self._mailboxes[number] = mailbox
        self._link.hand(Subscribe(number, subject, queue))
        try:
            await self.flush()  # the server knows of the subscription once it answers
            yield mailbox
        finally:
            del self._mailboxes[number]
            self._dropped += mailbox.dropped
            self._link.hand(Unsubscribe(number))
            mailbox.discard()

    async def request(
        self,
        subject: str,
        data: bytes = b"",
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> Message:
        """Publish with a reply subject of its own and return the first answer."""
        inbox = self._new_inbox()
        answer = self._inboxes[inbox] = Answer()
        try:
            if not self._send(subject, data, inbox, headers):
                await trio.lowlevel.checkpoint()
                raise BusClosed(f"{subject} was not asked: the NATS server is out of reach.")
            with trio.fail_after(timeout):
                reply = await answer.wait()
        except trio.TooSlowError:
            why = "" if self._link.connected else ": the NATS server is out of reach"
            raise RequestTimeout(f"No answer from {subject} within {timeout:g} s{why}.") from None
        finally:
            del self._inboxes[inbox]
        if reply is _NOBODY:
            raise NoResponders(f"Nobody listens on {subject}.")
        return reply

    @asynccontextmanager
    async def request_many(
        self, subject: str, data: bytes = b"", *, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Subscription]:
        """Publish and receive any number of answers while the context is open."""
        self._check_open()
        inbox = self._new_inbox()
        mailbox = self._inboxes[inbox] = Mailbox()
        try:
            self._send(subject, data, inbox, headers)
            yield mailbox
        finally:
            del self._inboxes[inbox]
            mailbox.discard()

    async def reconnected(self) -> None:
        """Return after the next outage, once it is over: what was said meanwhile may be lost."""
        await self._back.wait()

    def came_back(self) -> None:
        """The connection is back, with all subscriptions."""
        self._back.set()
        self._back = trio.Event()

    def figures(self) -> Mapping[str, object]:
        """How the bus is: whether a server is in reach, and what this process dropped."""
        return {
            "kind": "nats",
            "connected": self._link.connected,
            "subscriptions": len(self._mailboxes),
            "dropped": self._dropped + sum(mailbox.dropped for mailbox in self._mailboxes.values()),
            "lost": self._link.lost,
        }

    async def flush(self) -> None:
        """Return when all that was published has reached the server, however long that takes."""
        self._check_open()
        inbox = self._new_inbox()
        probe = self._inboxes[inbox] = Answer()
        try:
            self._link.hand(Probe(inbox))
            await probe.wait()
        finally:
            del self._inboxes[inbox]

    async def aclose(self) -> None:
        """Send what was published, take no more, and let subscribers have what is queued."""
        if not self._closed:
            self._closed = True
            self._link.hand(Close())
        with trio.CancelScope(shield=True):  # bounded by the link itself
            await self._link.ended()
        self.finish()
        await trio.lowlevel.checkpoint()

    def finish(self) -> None:
        """The link has ended: nothing arrives any more."""
        self._closed = True
        for mailbox in self._mailboxes.values():
            mailbox.finish()
        for inbox in self._inboxes.values():
            if isinstance(inbox, Mailbox):
                inbox.finish()
            else:
                inbox.fail(BusClosed("The bus was closed before an answer came."))

    def deliver(self, arrivals: Iterable[Arrival]) -> None:
        """Hand what has arrived to those who wait for it."""
        inboxes, mailboxes = self._inboxes, self._mailboxes
        for number, message, size, nobody in arrivals:
            target = inboxes.get(message.subject) if number == INBOXES else mailboxes.get(number)
            if target is None:
                continue  # its context was left meanwhile
            if not nobody:
                target.put(message, size)
            elif isinstance(target, Answer):
                target.put(_NOBODY, 0)

    def _check_open(self) -> None:
        if self._closed:
            raise BusClosed("The bus is closed.")

    def _new_inbox(self) -> str:
        return f"{self._link.inbox}{next(self._numbers)}"

    def _send(
        self, subject: str, data: bytes, reply: str, headers: Mapping[str, str] | None
    ) -> bool:
        self._check_open()
        check_subject(subject)
        if reply and reply not in self._inboxes:
            check_subject(reply)
        size = len(data)
        if headers:
            size_of_headers(headers)  # for its checks: what breaks lines must not travel
            block = encode(headers)
            size += len(block)
        if size > self._link.max_payload:
            raise PayloadTooLarge(
                f"A message of {size} bytes for {subject} is above the limit"
                f" of {self._link.max_payload} bytes."
            )
        where = f"{subject} {reply}" if reply else subject
        if headers:
            head = f"HPUB {where} {len(block)} {size}\r\n".encode()
            return self._link.hand(b"%b%b%b\r\n" % (head, block, data))
        return self._link.hand(b"%b%b\r\n" % (f"PUB {where} {size}\r\n".encode(), data))


_NOBODY = Message("", b"")  # stands for the server's word that nobody listens
