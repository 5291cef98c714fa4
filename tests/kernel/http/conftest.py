"""A kit whose trace is a list, a server on a free port, and raw sockets to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
import trio

from appliance.kernel.http import blob_plane
from appliance.kernel.http.client import Client
from appliance.kernel.http.server import serve_http
from appliance.kernel.kit import Kit
from appliance.kernel.trace import Event, Trace

Serve = Callable[..., Awaitable[str]]


@pytest.fixture(autouse=True)
def short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raw clients stay open after a refusal; two seconds each would add up."""
    monkeypatch.setattr(blob_plane, "LINGER_SECONDS", 0.1)


@pytest.fixture
def events() -> list[Event]:
    """What the kit's trace was told."""
    return []


@pytest.fixture
async def kit(events: list[Event]) -> AsyncIterator[Kit]:
    """A kit for HTTP alone; the raw requests of these tests are for short names."""
    client = Client()
    yield Kit(
        room="test",
        bus=cast(Any, None),
        http=client,
        spawner=cast(Any, None),
        trace=Trace("test", [events.append]),
        hosts=frozenset(("a", "b", "x", "good")),
    )
    await client.aclose()


@pytest.fixture
def serve(kit: Kit, nursery: trio.Nursery) -> Serve:
    """``await serve(app, blobs=…)`` gives the URL of a new server."""

    async def start(app: Any = None, **options: Any) -> str:
        return cast(
            str, await nursery.start(partial(serve_http, app, "127.0.0.1:0", kit, **options))
        )

    return start


class Raw:
    """One connection, byte by byte."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.received = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def until(self, what: bytes) -> bytes:
        """Everything up to and including *what*; fails when it does not come within 5 s."""
        with trio.fail_after(5):
            while what not in self.received:
                data = await self.stream.receive_some(65536)
                assert data, f"closed after {self.received!r}"
                self.received += data
        taken, _, self.received = self.received.partition(what)
        return taken + what

    async def rest(self) -> bytes:
        """Everything until the server closes; fails when it does not within 5 s."""
        with trio.fail_after(5):
            try:
                while data := await self.stream.receive_some(65536):
                    self.received += data
            except trio.BrokenResourceError:
                pass  # a reset is an end too
        return self.received


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[str], Awaitable[Raw]]]:
    """``await connect(url)`` gives a raw connection to the server there."""
    opened: list[Raw] = []

    async def open_raw(url: str) -> Raw:
        split = urlsplit(url)
        assert split.hostname is not None
        assert split.port is not None
        opened.append(Raw(await trio.open_tcp_stream(split.hostname, split.port)))
        return opened[-1]

    yield open_raw
    for raw in opened:
        await trio.aclose_forcefully(raw.stream)


@pytest.fixture
def settles() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """``await settles(condition)`` waits until it holds; fails after 5 s."""

    async def wait(condition: Callable[[], bool]) -> None:
        with trio.fail_after(5):
            while not condition():  # noqa: ASYNC110  # what it looks at has no event
                await trio.sleep(0.01)

    return wait
