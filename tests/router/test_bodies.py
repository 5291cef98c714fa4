"""Bodies go through in their framing, both ways at once, and never whole in memory."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress

import pytest
import trio

from tests.router.rig import Raw, ok, running, says

HOST = "app.apps.localhost"
LARGE = 20_000_000  # bytes: far above all buffers between client and app


def patterned(count: int) -> bytes:
    """*count* bytes of which no two blocks are alike."""
    block = b"".join(hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(4096))
    return (block * (count // len(block) + 1))[:count]


def length_of(head: bytes) -> int:
    """Content-Length of a head."""
    found = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", head)
    assert found, head
    return int(found[1])


async def dechunk(raw: Raw) -> bytes:
    """A chunked body to its end."""
    parts = []
    while size := int(await raw.until(b"\r\n"), 16):
        parts.append(await raw.exactly(size))
        await raw.exactly(2)
    await raw.exactly(2)
    return b"".join(parts)


async def echo(raw: Raw, head: bytes) -> None:
    """Answers with the body of the request, in the framing of the request."""
    if b"Transfer-Encoding: chunked" in head:
        body = await dechunk(raw)
        await raw.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await raw.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    else:
        await raw.send(ok(await raw.exactly(length_of(head))))


async def send_and_answer(client: Raw, data: bytes) -> bytes:
    """The body of the answer to the request *data*, read while it is being sent."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send, data)
        return (await client.answer()).body


async def test_a_large_body_with_a_length_goes_through_both_ways() -> None:
    """Byte for byte, and the connection is good for the next request."""
    body = patterned(LARGE)
    async with running() as router:
        app = await router.app(echo, HOST)
        async with router.client() as client:
            head = b"PUT /x HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n\r\n"
            for size in (LARGE, 10):
                data = head % (HOST.encode(), size) + body[:size]
                assert await send_and_answer(client, data) == body[:size]
    assert len(app.heads) == 2


async def test_a_large_chunked_body_goes_through_both_ways() -> None:
    """In chunks of odd sizes; extensions and trailers end at the router."""
    body = patterned(LARGE)
    chunks, position, size = [], 0, 1
    while position < len(body):
        piece = body[position : position + size]
        chunks.append(b"%X;ext=1\r\n%b\r\n" % (len(piece), piece))
        position += len(piece)
        size = size * 7 % 300_007
    data = b"POST /x HTTP/1.1\r\nHost: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % HOST.encode()
    data += b"".join(chunks) + b"0\r\nX-Trailer: evil\r\n\r\n"
    async with running() as router:
        app = await router.app(echo, HOST)
        async with router.client() as client:
            assert await send_and_answer(client, data) == body
            assert await send_and_answer(client, data) == body
    assert b"Transfer-Encoding: chunked\r\n" in app.heads[0]
    assert b"Content-Length" not in app.heads[0]


async def test_a_body_that_arrives_bit_by_bit_reaches_the_app_bit_by_bit() -> None:
    """Each piece is at the app before the next one is sent."""
    arrived, received = trio.Event(), b""

    async def app(raw: Raw, head: bytes) -> None:
        nonlocal arrived, received
        while len(received) < 3:
            received += await raw.exactly(1)
            arrived.set()
            arrived = trio.Event()
        await raw.send(ok(received))

    async with running() as router:
        await router.app(app, HOST)
        async with router.client() as client:
            head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 3\r\n\r\n"
            for data in (head.encode() + b"a", b"b", b"c"):
                waiting = arrived
                await client.send(data)
                await waiting.wait()
            answer = await client.answer()
    assert answer.body == b"abc"


async def test_server_sent_events_are_not_held_back() -> None:
    """Each event is at the client before the app makes the next one; the end is an end."""
    seen = trio.Event()

    async def app(raw: Raw, head: bytes) -> bool:
        nonlocal seen
        await raw.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(3):
            await raw.send(b"data: %d\n\n" % number)
            await seen.wait()
            seen = trio.Event()
        return False

    async with running() as router:
        await router.app(app, HOST)
        async with router.client() as client:
            await client.send(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            head = await client.until(b"\r\n\r\n")
            events = []
            for _ in range(3):
                size = int(await client.until(b"\r\n"), 16)
                events.append(await client.exactly(size))
                await client.exactly(2)
                seen.set()
            last = await client.exactly(5)
    assert b"Transfer-Encoding: chunked" in head
    assert events == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"]
    assert last == b"0\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
    ],
    ids=["chunked", "until the end", "old app"],
)
async def test_an_old_client_gets_a_plain_body_and_the_end(answer: bytes) -> None:
    """HTTP/1.0 knows no chunks: the body ends with the connection."""
    async with running() as router:
        await router.app(says(answer, close=True), HOST)
        async with router.client() as client:
            await client.send(f"GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
            everything = await client.rest()
    head, _, body = everything.partition(b"\r\n\r\n")
    assert body == b"hello"
    assert b"Connection: close" in head
    assert b"Transfer-Encoding" not in head


async def test_an_old_client_may_keep_its_connection() -> None:
    """ApacheBench does so."""
    async with running() as router:
        await router.app(says(ok(b"hello")), HOST)
        async with router.client() as client:
            for _ in range(2):
                await client.send(
                    f"GET / HTTP/1.0\r\nHost: {HOST}\r\nConnection: Keep-Alive\r\n\r\n".encode()
                )
                answer = await client.answer()
                assert answer["connection"] == "keep-alive"


@pytest.mark.parametrize(
    ("method", "answer", "length"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", "99"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", "99"),
        ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", ""),
        ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n", ""),
    ],
)
async def test_answers_without_a_body_end_with_their_head(
    method: str, answer: bytes, length: str
) -> None:
    """Whatever length they promise, the next answer begins at once."""
    async with running() as router:
        app = await router.app(says(answer), HOST)
        async with router.client() as client:
            for _ in range(2):
                await client.send(f"{method} / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
                reply = await client.answer(no_body=True)
                assert reply["content-length"] == length
    assert app.connections == 1


async def test_expect_100_continue_is_between_the_client_and_the_app() -> None:
    """The body is sent only after the app has asked for it."""

    async def app(raw: Raw, head: bytes) -> None:
        assert b"Expect: 100-continue\r\n" in head
        await raw.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await raw.send(ok(await raw.exactly(5)))

    async with running() as router:
        await router.app(app, HOST)
        async with router.client() as client:
            await client.send(
                f"PUT / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n"
                "Expect: 100-continue\r\n\r\n".encode()
            )
            interim = await client.until(b"\r\n\r\n")
            await client.send(b"hello")
            answer = await client.answer()
    assert interim.startswith(b"HTTP/1.1 100 ")
    assert answer.body == b"hello"


async def test_a_refusal_before_the_body_reaches_the_client() -> None:
    """An app may answer early; the rest of the body is read away, not reset."""
    answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno\n"

    async def app(raw: Raw, head: bytes) -> bool:
        await raw.send(answer)
        return False

    async with running() as router:
        await router.app(app, HOST)
        async with router.client() as client, trio.open_nursery() as nursery:
            head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4000000\r\n\r\n"

            async def send() -> None:
                with suppress(trio.BrokenResourceError):
                    await client.send(head.encode() + bytes(4_000_000))

            nursery.start_soon(send)
            reply = await client.answer()
    assert (reply.status, reply.body, reply["connection"]) == (413, b"no\n", "close")


async def test_a_client_that_leaves_in_its_body_takes_the_apps_request_with_it() -> None:
    """The app sees the end of its connection, not a shorter body that looks whole."""
    ended: list[str] = []
    done = trio.Event()

    async def app(raw: Raw, head: bytes) -> bool:
        try:
            await raw.exactly(length_of(head))
            ended.append("whole")
        except EOFError:
            ended.append("cut")
        done.set()
        return False

    async with running() as router:
        await router.app(app, HOST, guid="g")
        async with router.client() as client:
            head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000\r\n\r\n"
            await client.send(head.encode() + b"x" * 500)
        await done.wait()
    assert ended == ["cut"]


async def test_a_client_that_leaves_while_the_app_works_is_noticed() -> None:
    """The app's connection ends, so that it can stop working; the log says 499."""
    gone, entered = trio.Event(), trio.Event()

    async def app(raw: Raw, head: bytes) -> bool:
        entered.set()
        await raw.rest()
        gone.set()
        return False

    async with running(head_timeout=0.2) as router:
        await router.app(app, HOST, guid="g")
        async with router.kit.bus.subscribe("logs.lines.g") as heard:
            async with router.client() as client:
                await client.send(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
                await entered.wait()
            await gone.wait()
            message = await heard.receive()
    assert b'HTTP/1.1\\" 499 0 0' in message.data


@pytest.mark.parametrize(
    "begin",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
    ids=["length", "chunked"],
)
async def test_an_app_that_breaks_off_cannot_look_whole(begin: bytes) -> None:
    """The client gets what there was, and an end in the wrong place."""
    async with running() as router:
        await router.app(says(begin, close=True), HOST)
        async with router.client() as client:
            await client.send(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            everything = await client.rest()
    assert b"hello" in everything
    assert not everything.endswith(b"0\r\n\r\n")
    assert b"502" not in everything


async def test_a_websocket_goes_both_ways_after_the_upgrade() -> None:
    """Raw bytes, also those that came with the heads; each end is passed on."""

    async def app(raw: Raw, head: bytes) -> bool:
        assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in head
        await raw.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nhello"
        )
        while True:
            data = raw.buffer or await raw.stream.receive_some()
            raw.buffer = b""
            if not data:
                await raw.send(b"bye")
                return False
            await raw.send(data.upper())

    async with running() as router:
        await router.app(app, HOST)
        async with router.client() as client:
            await client.send(
                f"GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: keep-alive, Upgrade\r\n"
                "Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\nearly".encode()
            )
            reply = await client.answer()
            first = await client.exactly(10)
            await client.send(b"GET / HTTP/1.1\r\n\x00\xff")
            second = await client.exactly(18)
            await client.stream.send_eof()
            last = await client.rest()
    assert reply.status == 101
    assert reply["upgrade"] == "websocket"
    assert reply["connection"] == "Upgrade"
    assert (first, second, last) == (b"helloEARLY", b"GET / HTTP/1.1\r\n\x00\xff", b"bye")


async def test_a_refused_upgrade_leaves_an_ordinary_connection() -> None:
    """Without 101 everything is framed and routed as before."""
    async with running() as router:
        await router.app(says(ok(b"no")), HOST)
        await router.app(says(ok(b"other")), "other.apps.localhost")
        async with router.client() as client:
            first = await client.get(HOST, Connection="upgrade", Upgrade="websocket")
            second = await client.get("other.apps.localhost")
    assert (first.body, second.body) == (b"no", b"other")


async def test_h2c_is_not_passed_on() -> None:
    """Requests inside of it would never be routed or cleaned."""
    async with running() as router:
        app = await router.app(says(ok(b"")), HOST)
        async with router.client() as client:
            await client.get(
                HOST, Connection="Upgrade, HTTP2-Settings", Upgrade="h2c", HTTP2_Settings="AAM"
            )
    assert b"pgrade" not in app.heads[0]
    assert b"HTTP2" not in app.heads[0]
