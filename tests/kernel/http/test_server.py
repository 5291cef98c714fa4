"""The server around an ASGI app: keep-alive, early answers, deadlines, faults, stopping."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.kernel.http import protocol
from appliance.kernel.http import server as server_module
from appliance.kernel.http.blob_plane import Blob, Exchange
from appliance.kernel.http.server import serve_http
from appliance.kernel.kit import Kit
from appliance.kernel.trace import Event

Serve = Callable[..., Awaitable[str]]
Connect = Callable[[str], Awaitable[Any]]
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def app_of(handle: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """*handle* with the lifespan part that every ASGI app needs."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await handle(scope, receive, send)

    return app


async def answer(send: Any, body: bytes = b"ok", status: int = 200) -> None:
    """A whole ASGI answer."""
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@app_of
async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the path as the app sees it."""
    await answer(send, scope["path"].encode())


async def test_keeps_the_connection(serve: Serve, connect: Connect) -> None:
    """Requests follow each other on one connection, pipelined ones too."""
    raw = await connect(await serve(hello))
    for _ in range(3):
        await raw.send(GET)
        assert (await raw.until(b"\r\n\r\n/")).startswith(b"HTTP/1.1 200")
    await raw.send(GET + GET.replace(b" / ", b" /second "))
    await raw.until(b"\r\n\r\n/second")


async def test_pipelined_request_passes_the_gate_too(serve: Serve, connect: Connect) -> None:
    """What hides behind an honest request is refused, and the honest one is answered."""
    raw = await connect(await serve(hello))
    await raw.send(
        b"POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        b"GET /two HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
    )
    received = await raw.rest()
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"400"]
    assert b"/two" not in received


async def test_escaped_slash_stays_escaped(serve: Serve, connect: Connect) -> None:
    """One segment does not become two by decoding."""
    raw = await connect(await serve(hello))
    await raw.send(b"GET /a%2fb%20c HTTP/1.1\r\nHost: a\r\n\r\n")
    await raw.until(b"\r\n\r\n/a%2Fb c")


async def test_early_answer_to_an_upload(serve: Serve, connect: Connect) -> None:
    """An app that refuses without reading: the client can send on, and the connection lives."""

    @app_of
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"no", 401)

    raw = await connect(await serve(refuse))
    size = 8_000_000
    for _ in range(2):
        with trio.fail_after(10):
            await raw.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            await raw.send(bytes(size))
        assert (await raw.until(b"no")).startswith(b"HTTP/1.1 401")


async def test_app_reads_a_whole_upload(serve: Serve, connect: Connect) -> None:
    """A body of many pieces arrives complete and in order."""

    @app_of
    async def measure(scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message["body"])
            more = message["more_body"]
        await answer(send, b"%d." % size)

    raw = await connect(await serve(measure))
    await raw.send(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" + bytes(3_000_000)
    )
    await raw.until(b"\r\n\r\n3000000.")


async def test_close_is_kept(serve: Serve, connect: Connect) -> None:
    """``Connection: close`` closes."""
    raw = await connect(await serve(hello))
    await raw.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert (await raw.rest()).endswith(b"/")


async def test_failing_app_ends_nothing(
    serve: Serve, connect: Connect, events: list[Event]
) -> None:
    """A bug is a 500 for its client, a traceback in the trace, and nothing for the next one."""

    @app_of
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError("planted")

    url = await serve(broken)
    for _ in range(2):
        raw = await connect(url)
        await raw.send(GET)
        assert (await raw.rest()).startswith(b"HTTP/1.1 500")
    told = [event for event in events if event.what == "handler.failed"]
    assert len(told) == 2
    assert "planted" in str(told[0].data["traceback"])


async def test_hostile_bytes_end_nothing(serve: Serve, connect: Connect) -> None:
    """HTTP/2 prior knowledge, noise, half heads and half bodies: the next client is served."""
    url = await serve(hello)
    for noise in (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100),
        b"\x16\x03\x01" + bytes(range(256)),
        b"GET / HTTP/1.1\r\nHo",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
    ):
        raw = await connect(url)
        await raw.send(noise)
        await trio.aclose_forcefully(raw.stream)
    raw = await connect(url)
    await raw.send(GET)
    await raw.until(b"\r\n\r\n/")


async def test_slow_head(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that drips past its deadline gets 408, however busily it drips."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    raw = await connect(await serve(hello))

    async def drip() -> None:
        await raw.send(b"GET /")
        while True:
            await raw.send(b"x")
            await trio.sleep(0.01)

    with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
        await drip()
    raw = await connect(await serve(hello))
    await raw.send(b"GET / HT")
    assert (await raw.rest()).startswith(b"HTTP/1.1 408")


async def test_slow_body(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that stops half-way gets 408 and the app hears of it."""
    monkeypatch.setattr(protocol, "SLOW_WINDOW", 0.2)
    heard = trio.Event()

    @app_of
    async def wait(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        heard.set()

    raw = await connect(await serve(wait))
    await raw.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    assert (await raw.rest()).startswith(b"HTTP/1.1 408")
    with trio.fail_after(5):
        await heard.wait()


async def test_idle_connection_is_closed(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an answer the next request must come within the keep-alive time."""
    monkeypatch.setattr(protocol, "KEEP_ALIVE_SECONDS", 0.1)
    raw = await connect(await serve(hello))
    await raw.send(GET)
    await raw.until(b"\r\n\r\n/")
    assert await raw.rest() == b""


async def test_head_of_a_stream_is_not_held_back(serve: Serve, connect: Connect) -> None:
    """A stream's head arrives before its first piece does."""
    go = trio.Event()

    @app_of
    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await go.wait()
        await send({"type": "http.response.body", "body": b"late"})

    raw = await connect(await serve(stream))
    await raw.send(GET)
    await raw.until(b"\r\n\r\n")
    go.set()
    await raw.until(b"late")


async def test_disconnect_reaches_the_app(serve: Serve, connect: Connect) -> None:
    """An app that waits hears that its client has gone."""
    heard = trio.Event()

    @app_of
    async def wait(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        heard.set()

    raw = await connect(await serve(wait))
    await raw.send(GET)
    await trio.aclose_forcefully(raw.stream)
    with trio.fail_after(5):
        await heard.wait()


async def test_stopping_finishes_what_is_in_flight(
    serve: Serve, connect: Connect, kit: Kit
) -> None:
    """At the stop an idle connection closes at once, a running request gets its answer."""
    started, go = trio.Event(), trio.Event()

    @app_of
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            started.set()
            await go.wait()
        await answer(send)

    url = await serve(slow)
    idle, busy, silent = [await connect(url) for _ in range(3)]
    await idle.send(GET)
    await idle.until(b"ok")
    await busy.send(GET.replace(b" / ", b" /slow "))
    await started.wait()
    kit.stopping.set()
    assert await idle.rest() == await silent.rest() == b""
    with pytest.raises(OSError, match="connect"):
        await connect(url)
    go.set()
    assert (await busy.rest()).endswith(b"ok")


async def test_cancellation_does_not_wait_for_a_client_that_does_not_read(
    kit: Kit, connect: Connect
) -> None:
    """An answer that nobody takes cannot hold up the end of the server."""

    @app_of
    async def flood(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            serve = partial(serve_http, flood, "127.0.0.1:0", kit)
            raw = await connect(await nursery.start(serve))
            await raw.send(GET)
            await raw.until(b"\r\n\r\n")
            nursery.cancel_scope.cancel()


async def test_cancellation_ends_a_receiving_thread(
    kit: Kit, connect: Connect, tmp_path: Path, settles: Callable[..., Awaitable[None]]
) -> None:
    """A thread in the middle of an upload looks up, and takes its file with it."""

    async def put(exchange: Exchange) -> None:
        await exchange.receive_file(tmp_path, limit=1000)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            serve = partial(serve_http, None, "127.0.0.1:0", kit, blobs=[Blob("PUT", "/", put)])
            raw = await connect(await nursery.start(serve))
            await raw.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
            await settles(lambda: os.listdir(tmp_path) != [])
            nursery.cancel_scope.cancel()
    assert os.listdir(tmp_path) == []


async def test_unknown_path_without_an_app(serve: Serve, connect: Connect) -> None:
    """A server of blobs alone answers 404 in JSON, and 405 where another method would do."""

    async def put(exchange: Exchange) -> None: ...

    raw = await connect(await serve(blobs=[Blob("PUT", "/known", put)]))
    await raw.send(GET)
    assert (await raw.until(b"}")).startswith(b"HTTP/1.1 404")
    await raw.send(GET.replace(b" / ", b" /known "))
    answer = await raw.until(b"}")
    assert answer.startswith(b"HTTP/1.1 405")
    assert b"\r\nallow: PUT\r\n" in answer


async def test_connections_above_the_cap_wait(serve: Serve, connect: Connect) -> None:
    """They are served when one of the others ends; descriptors are left for files."""
    server_module._slots.set(trio.Semaphore(1))
    url = await serve(hello)
    first, second = await connect(url), await connect(url)
    await first.send(GET)
    await first.until(b"\r\n\r\n/")
    await second.send(GET)
    with trio.move_on_after(0.1) as patience:
        await second.stream.receive_some()
    assert patience.cancelled_caught
    await trio.aclose_forcefully(first.stream)
    await second.until(b"\r\n\r\n/")
