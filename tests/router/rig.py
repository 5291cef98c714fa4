"""A running router, raw clients, and apps whose every byte a test decides."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import trio
import trio.testing

from appliance.config import RouterConfig
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.http.client import Client
from appliance.kernel.kit import Kit
from appliance.kernel.process.spawner import Spawner
from appliance.kernel.trace import Event, Trace
from appliance.router.messages import RouteOptions, RouterRegister, RouterUnregister
from appliance.router.service import serve

PATIENCE = 10.0  # seconds for what should take none


class Raw:
    """A plain socket that a test reads and writes as it likes."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.buffer = b""

    async def send(self, data: bytes) -> None:
        """Send all of *data*."""
        await self.stream.send_all(data)

    async def until(self, end: bytes) -> bytes:
        """Everything up to and including *end*."""
        while end not in self.buffer:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError(f"ended without {end!r}: {self.buffer!r}")
            self.buffer += data
        cut = self.buffer.index(end) + len(end)
        taken, self.buffer = self.buffer[:cut], self.buffer[cut:]
        return taken

    async def exactly(self, count: int) -> bytes:
        """The next *count* bytes."""
        parts, have = [self.buffer], len(self.buffer)
        while have < count:
            data = await self.stream.receive_some(1024 * 1024)
            if not data:
                raise EOFError(f"ended {count - have} bytes early")
            parts.append(data)
            have += len(data)
        everything = b"".join(parts)
        self.buffer = everything[count:]
        return everything[:count]

    async def rest(self) -> bytes:
        """Everything until the other side closes."""
        with suppress(trio.BrokenResourceError):
            while data := await self.stream.receive_some():
                self.buffer += data
        taken, self.buffer = self.buffer, b""
        return taken

    async def answer(self, *, no_body: bool = False) -> Reply:
        """One whole answer, interim ones left out."""
        while True:
            head = await self.until(b"\r\n\r\n")
            lines = head[:-4].decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ")[1])
            headers: dict[str, list[str]] = {}
            for line in lines[1:]:
                name, _, value = line.partition(": ")
                headers.setdefault(name.lower(), []).append(value)
            if status == 101 or status >= 200:
                break
        body = b""
        if no_body or status in (101, 204, 304):
            pass
        elif "transfer-encoding" in headers:
            while size := int(await self.until(b"\r\n"), 16):
                body += await self.exactly(size)
                await self.exactly(2)
            await self.exactly(2)
        elif "content-length" in headers:
            body = await self.exactly(int(headers["content-length"][0]))
        else:
            body = await self.rest()
        return Reply(status, headers, body, head)

    async def get(self, host: str, path: str = "/", **headers: str) -> Reply:
        """Send a GET and read its answer."""
        extra = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
        await self.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n".encode())
        return await self.answer()


@dataclass
class Reply:
    """An answer as the client has it."""

    status: int
    headers: dict[str, list[str]]
    body: bytes
    head: bytes

    def __getitem__(self, name: str) -> str:
        return ", ".join(self.headers.get(name.lower(), []))


Handler = Callable[[Raw, bytes], Awaitable[bool | None]]


@dataclass
class App:
    """An app: *handler* gets each head and answers; it returns False to close."""

    handler: Handler
    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Listen until cancelled."""
        listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        raw = Raw(stream)
        with suppress(EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                while True:
                    head = await raw.until(b"\r\n\r\n")
                    self.heads.append(head)
                    if await self.handler(raw, head) is False:
                        return


def says(answer: bytes, *, close: bool = False) -> Handler:
    """A handler that answers every request with the bytes *answer*."""

    async def handler(raw: Raw, head: bytes) -> bool:
        found = re.search(rb"(?i)content-length: (\d+)", head)
        await raw.exactly(int(found[1]) if found else 0)
        await raw.send(answer)
        return not close

    return handler


def ok(body: bytes, *headers: str) -> bytes:
    """A plain 200 with *body*."""
    extra = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


@dataclass
class Running:
    """A router, its bus, what it told, and the nursery of the test."""

    kit: Kit
    url: str
    nursery: trio.Nursery
    events: list[Event]

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    async def app(
        self,
        handler: Handler,
        *uris: str,
        guid: str = "",
        instance: str = "",
        options: RouteOptions | None = None,
        service: str = "",
    ) -> App:
        """Start an app and register it for *uris*."""
        app = App(handler)
        await self.nursery.start(app.run)
        await self.register(
            app.port, *uris, guid=guid, instance=instance, options=options, service=service
        )
        return app

    async def register(
        self,
        port: int,
        *uris: str,
        guid: str = "",
        instance: str = "",
        index: str = "",
        options: RouteOptions | None = None,
        service: str = "",
    ) -> None:
        """Register a port, and wait until the router has heard it."""
        self.kit.publish(
            RouterRegister(
                host="127.0.0.1",
                port=port,
                uris=list(uris),
                app=guid or None,
                private_instance_id=instance or None,
                private_instance_index=index or None,
                options=options,
                route_service_url=service or None,
            )
        )
        await trio.testing.wait_all_tasks_blocked()

    async def unregister(self, port: int, *uris: str) -> None:
        """Unregister a port, and wait until the router has heard it."""
        self.kit.publish(RouterUnregister(host="127.0.0.1", port=port, uris=list(uris)))
        await trio.testing.wait_all_tasks_blocked()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Raw]:
        """A connection to the router."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            yield Raw(stream)

    async def get(self, host: str, path: str = "/", **headers: str) -> Reply:
        """One GET on a connection of its own."""
        async with self.client() as client:
            return await client.get(host, path, **headers)

    def told(self, what: str) -> list[Event]:
        """The trace events *what*."""
        return [event for event in self.events if event.what == what]

    async def tells(self, what: str) -> Event:
        """The first trace event *what*, as soon as there is one."""
        while not self.told(what):
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(0.01)
        return self.told(what)[0]


@asynccontextmanager
async def running(**settings: object) -> AsyncIterator[Running]:
    """A router on a free port, with a bus of its own."""
    http, bus, events = Client(), LocalBus(), list[Event]()
    kit = Kit(
        room="router",
        bus=bus,
        http=http,
        spawner=cast(Spawner, None),
        trace=Trace("router", [events.append]),
    )
    config = RouterConfig(**{"bind": "127.0.0.1:0", **settings})  # type: ignore[arg-type]
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            url = await nursery.start(partial(serve, config, kit))
            yield Running(kit, url, nursery, events)
            kit.stopping.set()
            nursery.cancel_scope.cancel()
    await http.aclose()
    await bus.aclose()
    failures = [event for event in events if event.what == "connection.failed"]
    assert not failures, failures[0].data["traceback"]


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
