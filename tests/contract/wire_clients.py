"""Clients and rooms for tests of the NATS listener."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import trio

from appliance.kernel.bus import Message, Subscription
from appliance.kernel.bus.listener.options import Options
from appliance.kernel.bus.listener.server import Listener, open_listener
from appliance.kernel.bus.local import LocalBus

PATIENCE = 15.0  # seconds until a test gives up on something that should happen soon
QUIET = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'


@asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[tuple[LocalBus, Listener]]:
    """A local bus with a listener on a free port, in which nothing fails."""
    bus = LocalBus()

    def report(what: str, **data: object) -> None:
        assert what != "client.failed", data["error"]

    async with open_listener(bus, "127.0.0.1:0", Options(**options), report=report) as listener:
        yield bus, listener
        with trio.fail_after(PATIENCE):
            # Whatever a test did: the bus still works.
            async with bus.subscribe("after.all") as subscription:
                bus.publish("after.all", b"fine")
                assert (await subscription.receive()).data == b"fine"
    assert not list(bus.subscriptions())


async def connect(url: str) -> trio.SocketStream:
    with trio.fail_after(PATIENCE):
        return await trio.open_tcp_stream("127.0.0.1", urlsplit(url).port or 0)


class Raw:
    """A client that says exactly what it is told to say."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.got = b""

    async def say(self, data: bytes) -> None:
        with trio.fail_after(PATIENCE):
            await self.stream.send_all(data)

    async def hear(self, wanted: bytes) -> bytes:
        """Read until *wanted* has come, and return all up to there."""
        with trio.fail_after(PATIENCE):
            while wanted not in self.got:
                data = await self.stream.receive_some()
                assert data, f"closed after {self.got[-300:]!r}"
                self.got += data
        before, _, self.got = self.got.partition(wanted)
        return before + wanted

    async def rest(self) -> bytes:
        """Read until the server closes."""
        with trio.fail_after(PATIENCE):
            async for data in self.stream:
                self.got += data
        return self.got


@asynccontextmanager
async def raw(url: str, *, hello: bytes = QUIET + b"PING\r\n") -> AsyncIterator[Raw]:
    """A client that has said *hello* and was answered."""
    async with await connect(url) as stream:
        client = Raw(stream)
        await client.hear(b"\r\n")
        if hello:
            await client.say(hello)
            await client.hear(b"PONG\r\n")
        yield client


@asynccontextmanager
async def room(bus: LocalBus, subject: str, *, queue: str = "") -> AsyncIterator[list[Message]]:
    """A room that answers with what it was asked; yields what that was."""
    asked: list[Message] = []

    async def answer(subscription: Subscription) -> None:
        async for message in subscription:
            asked.append(message)
            bus.publish(message.reply, b"re: " + message.data, headers=message.headers)

    async with bus.subscribe(subject, queue=queue) as subscription, trio.open_nursery() as nursery:
        nursery.start_soon(answer, subscription)
        yield asked
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def witness(listener: Listener, bus: LocalBus) -> AsyncIterator[None]:
    """A well-behaved client and a room that are served before and after the block."""
    async with raw(listener.url) as client, room(bus, "witness") as asked:
        await client.say(b"SUB re.* 1\r\n")
        for number in range(2):
            await client.say(b"PUB witness re.%d 2\r\nhi\r\n" % number)
            await client.hear(b"MSG re.%d 1 6\r\nre: hi\r\n" % number)
            if not number:
                yield
        assert len(asked) == 2


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until *holds*, which nothing announces."""
    with trio.fail_after(PATIENCE):
        while not holds():  # noqa: ASYNC110 (that is what it is for)
            await trio.sleep(0.005)
