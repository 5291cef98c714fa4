"""The bus in this process: NATS semantics on trio queues, nothing copied, nothing awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import NamedTuple, Protocol

import trio

from appliance.kernel.bus import (
    MAX_PAYLOAD,
    QUEUE_BYTES,
    QUEUE_MESSAGES,
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
from appliance.kernel.bus.subjects import SubjectTrie, check_pattern, check_queue, check_subject

MAX_ROUTES = 4096  # subjects whose subscribers are remembered
INBOX = "_INBOX."  # answers go to subjects below it


class Receiver(Protocol):
    """Who may be attached to the bus: a `Mailbox`, or an outside client's subscription."""

    @property
    def load(self) -> float:
        """How busy it looks beside other members of its queue group; 0 is idle."""

    def put(self, message: Message, size: int) -> None:
        """Take *message* of *size* bytes, or drop it; never waits."""


class _Group:
    """Members of one queue group that match one subject; each message goes to one of them."""

    __slots__ = ("_members", "_turn")

    def __init__(self) -> None:
        self._members: list[Receiver] = []
        self._turn = 0

    def join(self, member: Receiver) -> None:
        self._members.append(member)

    def choose(self) -> Receiver:
        """The least busy member; those that are equally busy take turns."""
        members = self._members
        if len(members) == 1:
            return members[0]
        self._turn += 1
        first = self._turn % len(members)
        return min(members[first:] + members[:first], key=_load)


def _load(member: Receiver) -> float:
    return member.load


class _Route(NamedTuple):
    """Who receives what is published to one subject."""

    alone: tuple[Receiver, ...]
    groups: tuple[_Group, ...]


_NOWHERE = _Route((), ())
_Found = tuple[tuple[str, Receiver], ...]  # queue group ("" for none) and receiver of each


def _made(found: _Found) -> _Route:
    alone = []
    groups: dict[str, _Group] = {}
    for queue, receiver in found:
        if queue:
            groups.setdefault(queue, _Group()).join(receiver)
        else:
            alone.append(receiver)
    return _Route(tuple(alone), tuple(groups.values()))


class LocalBus:
    """A `Bus` for the tasks of one trio run."""

    def __init__(
        self,
        *,
        max_payload: int = MAX_PAYLOAD,
        queue_messages: int = QUEUE_MESSAGES,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        self.max_payload = max_payload  # bytes of headers and data in one message
        self._queue_messages = queue_messages
        self._queue_bytes = queue_bytes
        self._subscribers: SubjectTrie[tuple[str, Receiver]] = SubjectTrie()
        self._mailboxes: set[Mailbox] = set()
        self._routes: dict[str, _Route] = {}  # forgotten whenever somebody (un)subscribes
        # Most subjects lead to the same few receivers; one route for all of them leaves the
        # garbage collector nothing to do.
        self._shapes: dict[_Found, _Route] = {(): _NOWHERE}
        # Inboxes of requests come and go too fast for the trie: they are found by name.
        self._inboxes: dict[str, Answer | Mailbox] = {}
        self._numbers = count(1)
        self._closed = False
        self._dropped = 0  # messages, of mailboxes that are gone

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
        mailbox = self._mailbox(when_slow)
        try:
            self.attach(mailbox, subject, queue=queue)
        except BaseException:
            self._mailboxes.discard(mailbox)
            raise
        try:
            yield mailbox
        finally:
            self.detach(mailbox, subject, queue=queue)
            self._forget(mailbox)

    async def request(
        self,
        subject: str,
        data: bytes = b"",
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> Message:
        """Publish with a reply subject of its own and return the first answer."""
        inbox = f"{INBOX}{next(self._numbers)}"
        answer = self._inboxes[inbox] = Answer()
        try:
            if not self._send(subject, data, inbox, headers):
                await trio.lowlevel.checkpoint()
                raise NoResponders(f"Nobody listens on {subject}.")
            with trio.fail_after(timeout):
                return await answer.wait()
        except trio.TooSlowError:
            raise RequestTimeout(f"No answer from {subject} within {timeout:g} s.") from None
        finally:
            del self._inboxes[inbox]

    @asynccontextmanager
    async def request_many(
        self, subject: str, data: bytes = b"", *, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Subscription]:
        """Publish and receive any number of answers while the context is open."""
        self._check_open()
        inbox = f"{INBOX}{next(self._numbers)}"
        mailbox = self._inboxes[inbox] = self._mailbox()
        try:
            self._send(subject, data, inbox, headers)
            yield mailbox
        finally:
            del self._inboxes[inbox]
            self._forget(mailbox)

    async def reconnected(self) -> None:
        """Never return: this bus has no outages."""
        await trio.sleep_forever()

    def figures(self) -> Mapping[str, object]:
        """How the bus is: what is dropped is lost to single subscribers alone."""
        return {
            "kind": "local",
            "connected": not self._closed,
            "subscriptions": sum(1 for _ in self._subscribers.items()),
            "dropped": self._dropped + sum(mailbox.dropped for mailbox in self._mailboxes),
        }

    async def flush(self) -> None:
        """Return when all that was published is in the queues, which it is at once."""
        self._check_open()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Take no more messages. Subscribers get what is queued, then their iteration ends."""
        self._closed = True
        for mailbox in self._mailboxes:
            mailbox.finish()
        for inbox in self._inboxes.values():
            if isinstance(inbox, Answer):
                inbox.fail(BusClosed("The bus was closed before an answer came."))
        await trio.lowlevel.checkpoint()

    # For listeners, whose clients are no tasks of this process.

    def attach(self, receiver: Receiver, pattern: str, *, queue: str = "") -> None:
        """Let *receiver* have what matches *pattern*, until `detach` with the same arguments."""
        check_pattern(pattern)
        if queue:
            check_queue(queue)
        self._check_open()
        self._subscribers.add(pattern, (queue, receiver))
        self._forget_routes()

    def detach(self, receiver: Receiver, pattern: str, *, queue: str = "") -> None:
        """Undo `attach`."""
        self._subscribers.remove(pattern, (queue, receiver))
        self._forget_routes()

    def forward(self, message: Message, size: int) -> bool:
        """Deliver *message*, whose headers are counted in *size* already.

        Returns:
          Whether anybody listens on its subject.

        Raises:
          BadSubject, PayloadTooLarge, BusClosed: as `publish`.
        """
        reply = message.reply
        if reply and reply not in self._inboxes:
            check_subject(reply)
        return self._deliver(message, size)

    def listeners(self, subject: str) -> list[Receiver]:
        """Who would receive *subject*, all members of queue groups included."""
        return [receiver for _, receiver in self._subscribers.match(subject)]

    def subscriptions(self) -> Iterator[tuple[str, str, Receiver]]:
        """Pattern, queue group ("" for none) and receiver of every subscription."""
        for pattern, (queue, receiver) in self._subscribers.items():
            yield pattern, queue, receiver

    def _forget_routes(self) -> None:
        self._routes.clear()
        self._shapes.clear()
        self._shapes[()] = _NOWHERE

    def _check_open(self) -> None:
        if self._closed:
            raise BusClosed("The bus is closed.")

    def _mailbox(self, when_slow: WhenSlow = "drop") -> Mailbox:
        mailbox = Mailbox(
            max_messages=self._queue_messages,
            max_bytes=self._queue_bytes,
            closes=when_slow == "close",
        )
        self._mailboxes.add(mailbox)
        return mailbox

    def _forget(self, mailbox: Mailbox) -> None:
        self._dropped += mailbox.dropped
        self._mailboxes.discard(mailbox)
        mailbox.discard()

    def _send(
        self, subject: str, data: bytes, reply: str, headers: Mapping[str, str] | None
    ) -> bool:
        """Deliver one message, and tell whether anybody listens."""
        if reply and reply not in self._inboxes:
            check_subject(reply)
        size = len(data)
        if headers:
            headers = dict(headers)
            size += size_of_headers(headers)
        else:
            headers = {}
        return self._deliver(Message(subject, data, reply, headers), size)

    def _deliver(self, message: Message, size: int) -> bool:
        if self._closed:
            raise BusClosed("The bus is closed.")
        subject = message.subject
        inbox = self._inboxes.get(subject)
        route = self._routes.get(subject) or self._route(subject)
        if size > self.max_payload:
            raise PayloadTooLarge(
                f"A message of {size} bytes for {subject} is above the limit"
                f" of {self.max_payload} bytes."
            )
        if inbox is not None:
            inbox.put(message, size)
        for receiver in route.alone:
            receiver.put(message, size)
        for group in route.groups:
            group.choose().put(message, size)
        return inbox is not None or route is not _NOWHERE

    def _route(self, subject: str) -> _Route:
        """Find who receives *subject*, and remember it if it is likely to come again."""
        passing = subject.startswith(INBOX)
        if not passing or subject not in self._inboxes:
            check_subject(subject)
        found = tuple(self._subscribers.match(subject))
        route = self._shapes.get(found)
        if route is None:
            if len(self._shapes) >= MAX_ROUTES:
                self._forget_routes()
            route = self._shapes[found] = _made(found)
        if not passing:
            if len(self._routes) >= MAX_ROUTES:
                self._forget_routes()
            self._routes[subject] = route
        return route
