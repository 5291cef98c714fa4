"""The names of Hypercorn and Quart-Trio that the server leans on, and what they must do.

None of them is promised by its project, so the versions are pinned; this file says
which assumption broke when a pin is moved. What the blob plane does with them is
tested in tests/kernel/http.
"""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Any

import h11
import pytest
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.events import Body, Data, EndBody
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState


def names(function: Any) -> list[str]:
    """Parameter names without self."""
    return [name for name in inspect.signature(function).parameters if name != "self"]


def test_version() -> None:
    """The pin in pyproject.toml; another line needs a look at every test below."""
    assert version("hypercorn").startswith("0.18.")


def test_constructors() -> None:
    """The server builds these itself, by position."""
    assert names(H11Protocol.__init__) == [
        "app",
        "config",
        "context",
        "task_group",
        "connection_state",
        "ssl",
        "client",
        "server",
        "send",
    ]
    assert names(HTTPStream.__init__) == [
        "app",
        "config",
        "context",
        "task_group",
        "ssl",
        "client",
        "server",
        "send",
        "stream_id",
    ]
    assert names(Lifespan.__init__) == ["app", "config", "state"]
    assert names(ASGIWrapper.__call__) == ["scope", "receive", "send", "sync_spawn", "call_soon"]


@pytest.mark.parametrize(
    "name",
    [
        "handle",
        "stream_send",
        "_handle_events",
        "_create_stream",
        "_send_h11_event",
        "_send_error_response",
        "_maybe_recycle",
        "_close_stream",
    ],
)
def test_protocol_methods(name: str) -> None:
    """Overridden or called: all are coroutines."""
    assert inspect.iscoroutinefunction(getattr(H11Protocol, name))


def test_settings() -> None:
    """A setting with a new name would be ignored without a word."""
    config = Config()
    for name in (
        "accesslog",
        "errorlog",
        "alpn_protocols",
        "include_server_header",
        "keep_alive_timeout",
        "keep_alive_max_requests",
        "h11_max_incomplete_size",
        "max_app_queue_size",
    ):
        assert hasattr(config, name), name


def test_events() -> None:
    """What the protocol tells the connection, and the stream."""
    assert RawData(b"x").data == b"x"
    assert Updated(idle=True).idle
    assert isinstance(Closed(), object)
    assert Body(stream_id=STREAM_ID, data=b"x").data == b"x"
    assert Data(stream_id=STREAM_ID, data=b"x").data == b"x"
    assert EndBody(stream_id=STREAM_ID).stream_id == STREAM_ID
    assert {state.name for state in ASGIHTTPState} >= {"REQUEST", "RESPONSE", "CLOSED"}
    # A WebSocket's stand-in for h11 has neither state: the phases count on it.
    assert H11WSConnection.our_state is None
    assert H11WSConnection.their_state is None


class FakeTasks:
    """Notes which application was to be run, and gives out a place for its events."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.put: list[Any] = []

    async def spawn_app(self, app: Any, config: Any, scope: Any, send: Any) -> Any:
        self.scopes.append(scope)
        self.send = send

        async def put(event: Any) -> None:
            self.put.append(event)

        return put


async def test_a_request_through_the_protocol() -> None:
    """The scope is made when the stream handles the request, before the app runs; an
    answer goes out as head, body, end; then the stream is closed and recycled."""
    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event)

    async def app(*args: Any) -> None: ...

    tasks = FakeTasks()
    protocol = H11Protocol(
        ASGIWrapper(app),
        Config(),
        WorkerContext(None),
        tasks,  # type: ignore[arg-type]
        ConnectionState({}),
        False,
        ("127.0.0.1", 1),
        ("127.0.0.1", 2),
        send,
    )
    await protocol.handle(RawData(b"GET /a%2fb?c HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert isinstance(protocol.stream, HTTPStream)
    (scope,) = tasks.scopes
    assert protocol.stream.scope is scope
    assert (scope["path"], scope["raw_path"]) == ("/a/b", b"/a%2fb")
    assert tasks.put == [{"type": "http.request", "body": b"", "more_body": False}]

    headers = [(b"content-length", b"2")]
    await tasks.send({"type": "http.response.start", "status": 200, "headers": headers})
    assert protocol.stream.state is ASGIHTTPState.RESPONSE
    await tasks.send({"type": "http.response.body", "body": b"ok"})
    written = b"".join(event.data for event in sent if isinstance(event, RawData))
    assert written.startswith(b"HTTP/1.1 200")
    assert written.endswith(b"\r\n\r\nok")
    assert sent[-1] == Updated(idle=True)
    assert tasks.put[-1] == {"type": "http.disconnect"}
    assert protocol.connection.our_state is h11.IDLE


def test_h11_keeps_what_follows_the_head() -> None:
    """`trailing_data` is how the blob plane gets the bytes that were read with the head."""
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    assert isinstance(parser.next_event(), h11.Request)
    assert parser.trailing_data == (b"abc", False)


async def test_lifespan_starts_and_stops() -> None:
    """The four steps that `serve_http` takes."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for step in ("startup", "shutdown"):
            seen.append((await receive())["type"])
            await send({"type": f"lifespan.{step}.complete"})

    lifespan = Lifespan(ASGIWrapper(app), Config(), {})
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(lifespan.handle_lifespan)
            await lifespan.wait_for_startup()
            await lifespan.wait_for_shutdown()
            nursery.cancel_scope.cancel()
    assert seen == ["lifespan.startup", "lifespan.shutdown"]
