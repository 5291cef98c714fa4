"""The blob plane over real sockets: files in and out, limits, faults, keep-alive."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.kernel.errors import Conflict
from appliance.kernel.http import receive
from appliance.kernel.http.blob_plane import Blob, Exchange, Routes
from appliance.kernel.trace import Event

Serve = Callable[..., Awaitable[str]]
Connect = Callable[[str], Awaitable[Any]]

CONTENT = bytes(range(256)) * 8192  # 2 MiB: more than one buffer
LIMIT = 4 * 1024 * 1024


@pytest.fixture
async def url(serve: Serve, tmp_path: Path) -> str:
    """A server with one route of each kind, and a hello for the rest."""
    spool = tmp_path / "spool"
    spool.mkdir()
    (tmp_path / "big").write_bytes(CONTENT)

    async def get(exchange: Exchange) -> None:
        await exchange.send_file(tmp_path / exchange.params["name"], etag="tag")

    async def put(exchange: Exchange) -> None:
        spooled = await exchange.receive_file(spool, limit=LIMIT, fsync="fsync" in exchange.query)
        kept = spooled.path.read_bytes()
        spooled.path.unlink()
        same = hashlib.sha256(kept).hexdigest() == spooled.sha256
        told = {"size": spooled.size, "sha1": spooled.sha1, "same": same}
        await exchange.reply(201, told)

    async def post(exchange: Exchange) -> None:
        form = await exchange.receive_form(spool, limit=LIMIT)
        told = {
            "fields": {name: value.decode() for name, value in form.fields.items()},
            "files": {name: [f.filename, f.size, f.sha1] for name, f in form.files.items()},
        }
        form.discard()
        await exchange.reply(200, told)

    async def echo(exchange: Exchange) -> None:
        await exchange.reply(200, await exchange.receive_bytes(1000))

    async def fail(exchange: Exchange) -> None:
        what = exchange.params["what"]
        if what == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        if what == "readonly":
            raise OSError(errno.EROFS, "Read-only file system")
        if what == "io":
            raise OSError(errno.EIO, "Input/output error")
        if what == "conflict":
            raise Conflict("Already there.")
        if what == "bug":
            raise ZeroDivisionError("planted")
        if what == "late":
            await exchange.reply(200, "half")
            raise ZeroDivisionError("planted")

    async def hello(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return
        headers = [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})

    blobs = [
        Blob("GET", "/files/:name", get),
        Blob("PUT", "/files/:name", put),
        Blob("POST", "/form", post),
        Blob("POST", "/echo", echo),
        Blob("POST", "/fail/:what", fail),
    ]
    return await serve(hello, blobs=blobs)


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """A request with a Content-Length."""
    lines = [f"{method} {path} HTTP/1.1", "Host: a", *headers]
    if method not in ("GET", "HEAD"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def exchange(raw: Any, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send *data* and read one whole answer with a Content-Length."""
    await raw.send(data)
    line, *lines = (await raw.until(b"\r\n\r\n")).decode().rstrip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (text.partition(": ") for text in lines)}
    length = 0 if data.startswith(b"HEAD") else int(headers.get("content-length", "0"))
    with trio.fail_after(5):
        while len(raw.received) < length:
            received = await raw.stream.receive_some(1 << 20)
            assert received, "cut off"
            raw.received += received
    body, raw.received = raw.received[:length], raw.received[length:]
    return int(line.split()[1]), headers, body


def spooled(tmp_path: Path) -> list[str]:
    """What is left in the spool folder."""
    return os.listdir(tmp_path / "spool")


async def test_get_and_parts(url: str, connect: Connect) -> None:
    """A file, a range of it, its head, and nothing when it is unchanged, on one connection."""
    raw = await connect(url)
    status, headers, body = await exchange(raw, request("GET", "/files/big"))
    assert (status, body) == (200, CONTENT)
    assert headers["etag"] == '"tag"'
    assert headers["accept-ranges"] == "bytes"
    status, headers, body = await exchange(
        raw, request("GET", "/files/big", b"", "Range: bytes=1000-1999")
    )
    assert (status, body) == (206, CONTENT[1000:2000])
    assert headers["content-range"] == f"bytes 1000-1999/{len(CONTENT)}"
    status, headers, _ = await exchange(raw, request("HEAD", "/files/big"))
    assert (status, headers["content-length"]) == (200, str(len(CONTENT)))
    status, headers, _ = await exchange(
        raw, request("GET", "/files/big", b"", 'If-None-Match: "tag"')
    )
    assert status == 304
    status, headers, _ = await exchange(
        raw, request("GET", "/files/big", b"", "Range: bytes=99999999-")
    )
    assert (status, headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")
    status, _, body = await exchange(raw, request("GET", "/files/absent"))
    assert status == 404
    assert json.loads(body)["code"] == "not-found"


@pytest.mark.parametrize("query", ["", "?fsync=1"])
async def test_put(url: str, connect: Connect, tmp_path: Path, query: str) -> None:
    """The handler gets a file with both digests."""
    raw = await connect(url)
    status, _, body = await exchange(raw, request("PUT", f"/files/x{query}", CONTENT))
    assert status == 201
    told = json.loads(body)
    assert told == {
        "size": len(CONTENT),
        "sha1": hashlib.sha1(CONTENT).hexdigest(),
        "same": True,
    }
    assert spooled(tmp_path) == []


async def test_connection_is_shared_with_the_app(url: str, connect: Connect) -> None:
    """Blob, app, blob, app: pipelined in one packet, answered in order."""
    raw = await connect(url)
    await raw.send(
        request("POST", "/echo", b"one")
        + request("GET", "/")
        + request("POST", "/echo", b"two")
        + request("GET", "/")
    )
    for expected in (b"one", b"hello", b"two", b"hello"):
        await raw.until(b"\r\n\r\n" + expected)


async def test_request_behind_a_blob_passes_the_gate(url: str, connect: Connect) -> None:
    """What follows a body on the same connection is a head like any other."""
    raw = await connect(url)
    await raw.send(request("POST", "/echo", b"one") + b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n")
    received = await raw.rest()
    assert received.count(b"HTTP/1.1 200") == 1
    assert b"HTTP/1.1 400" in received
    assert b"hello" not in received


async def test_chunked_upload(url: str, connect: Connect) -> None:
    """A body without a length is taken too, and the next request follows it."""
    raw = await connect(url)
    pieces = b"".join(b"1000;ext=1\r\n" + bytes(0x1000) + b"\r\n" for _ in range(300))
    head = b"PUT /files/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    status, _, body = await exchange(raw, head + pieces + b"0\r\nTrailer: 1\r\n\r\n")
    assert (status, json.loads(body)["size"]) == (201, 300 * 0x1000)
    status, _, body = await exchange(raw, request("GET", "/"))
    assert body == b"hello"


@pytest.mark.parametrize("chunk", [b"0x5\r\nhello", b"+5\r\nhello", b"5\r\nhelloX", b"5 \nhello"])
async def test_malformed_chunks(url: str, connect: Connect, tmp_path: Path, chunk: bytes) -> None:
    """Chunks that could be read in two ways are refused, the connection is closed."""
    raw = await connect(url)
    head = b"PUT /files/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    await raw.send(head + chunk + b"\r\n0\r\n\r\n")
    assert (await raw.rest()).startswith(b"HTTP/1.1 400")
    assert spooled(tmp_path) == []


async def test_limit_by_length(url: str, connect: Connect, tmp_path: Path) -> None:
    """A body that says it is too large is refused, read away, and the connection lives."""
    raw = await connect(url)
    status, headers, _ = await exchange(raw, request("PUT", "/files/x", bytes(LIMIT + 1)))
    assert status == 413
    assert "connection" not in headers
    status, _, body = await exchange(raw, request("GET", "/"))
    assert body == b"hello"
    assert spooled(tmp_path) == []


async def test_limit_while_receiving(url: str, connect: Connect, tmp_path: Path) -> None:
    """A chunked body that grows too large is cut off, answered, and leaves nothing."""
    raw = await connect(url)
    await raw.send(b"PUT /files/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    await raw.send(chunk * 5)
    assert (await raw.rest()).startswith(b"HTTP/1.1 413")
    assert spooled(tmp_path) == []


async def test_huge_refused_upload_is_not_read_to_its_end(url: str, connect: Connect) -> None:
    """An honest terabyte is answered and closed."""
    raw = await connect(url)
    await raw.send(b"PUT /files/x HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\nabc")
    answer = await raw.rest()
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"Connection: close" in answer


async def test_invites_the_body_only_when_it_is_wanted(url: str, connect: Connect) -> None:
    """``Expect: 100-continue`` is answered by 100, or at once by the refusal."""
    raw = await connect(url)
    head = "PUT /files/x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    await raw.send((head % 3).encode())
    await raw.until(b"HTTP/1.1 100 Continue\r\n\r\n")
    await raw.send(b"abc")
    assert b"201" in await raw.until(b"}")
    await raw.send((head % (LIMIT + 1)).encode())
    assert (await raw.rest()).startswith(b"HTTP/1.1 413")


async def test_client_that_leaves(
    url: str,
    connect: Connect,
    tmp_path: Path,
    settles: Callable[[Callable[[], bool]], Awaitable[None]],
) -> None:
    """Half an upload leaves nothing behind, and the server goes on."""
    raw = await connect(url)
    await raw.send(request("PUT", "/files/x", CONTENT)[:-1])
    await settles(lambda: spooled(tmp_path) != [])
    await trio.aclose_forcefully(raw.stream)
    await settles(lambda: spooled(tmp_path) == [])
    other = await connect(url)
    assert (await exchange(other, request("GET", "/")))[2] == b"hello"


async def test_slow_upload(
    url: str, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body that stops half-way gets 408 and leaves nothing."""
    monkeypatch.setattr(receive, "SLOW_WINDOW", 0.2)
    raw = await connect(url)
    await raw.send(request("PUT", "/files/x", CONTENT)[:-1])
    assert (await raw.rest()).startswith(b"HTTP/1.1 408")
    assert spooled(tmp_path) == []


@pytest.mark.parametrize(
    ("what", "status", "code"),
    [
        ("full", 507, "storage-full"),
        ("readonly", 503, "storage-read-only"),
        ("io", 500, "storage-failed"),
        ("conflict", 409, "conflict"),
        ("bug", 500, "internal"),
        ("nothing", 500, "internal"),
    ],
)
async def test_failing_handler(
    url: str, connect: Connect, events: list[Event], what: str, status: int, code: str
) -> None:
    """Each failure has its answer, even with an unread body; only a bug costs the connection."""
    raw = await connect(url)
    told, headers, body = await exchange(raw, request("POST", f"/fail/{what}", bytes(100_000)))
    assert (told, json.loads(body)["code"]) == (status, code)
    assert ("connection" in headers) == (what == "bug")
    if what == "bug":
        assert "planted" in str([e.data for e in events if e.what == "handler.failed"])
    else:
        assert (await exchange(raw, request("GET", "/")))[2] == b"hello"


async def test_failure_after_the_answer_began(
    url: str, connect: Connect, events: list[Event]
) -> None:
    """The connection is closed; that is the only sign left."""
    raw = await connect(url)
    await raw.send(request("POST", "/fail/late"))
    assert (await raw.rest()).endswith(b"half")
    assert [event.what for event in events] == ["handler.failed"]


async def test_form(url: str, connect: Connect, tmp_path: Path) -> None:
    """Fields are in memory, the file is spooled, hashed and labelled."""
    body = (
        b'--b\r\nContent-Disposition: form-data; name="resources"\r\n\r\n[]\r\n'
        b'--b\r\nContent-Disposition: form-data; name="bits"; filename="../a.zip"\r\n'
        b"Content-Type: application/zip\r\n\r\n" + CONTENT + b"\r\n--b--\r\n"
    )
    raw = await connect(url)
    kind = "Content-Type: multipart/form-data; boundary=b"
    status, _, told = await exchange(raw, request("POST", "/form", body, kind))
    assert status == 200
    assert json.loads(told) == {
        "fields": {"resources": "[]"},
        "files": {"bits": ["a.zip", len(CONTENT), hashlib.sha1(CONTENT).hexdigest()]},
    }
    assert spooled(tmp_path) == []


@pytest.mark.parametrize(
    "body",
    [
        b'--b\r\nContent-Disposition: form-data; name="a"; filename="x"\r\n\r\nabc\r\n--b-',
        b'--b\r\nContent-Disposition: form-data; name="a"; filename="x"\r\n\r\n1\r\n' * 2
        + b"--b--",
    ],
    ids=["no final boundary", "two parts of one name"],
)
async def test_broken_form_leaves_nothing(
    url: str, connect: Connect, tmp_path: Path, body: bytes
) -> None:
    """The client gets 400, the files that were already there are removed."""
    raw = await connect(url)
    kind = "Content-Type: multipart/form-data; boundary=b"
    status, _, told = await exchange(raw, request("POST", "/form", body, kind))
    assert (status, json.loads(told)["code"]) == (400, "bad-form")
    assert spooled(tmp_path) == []


async def test_request_of_a_room_is_told(
    url: str, connect: Connect, events: list[Event], settles: Callable[..., Awaitable[None]]
) -> None:
    """The trace shows who asked, for which push; the answer echoes it. Others are not shown."""
    raw = await connect(url)
    await exchange(raw, request("POST", "/echo", b"1"))
    assert events == []
    _, headers, _ = await exchange(
        raw, request("POST", "/echo", b"1", "X-Appliance-Room: dea", "X-Vcap-Request-Id: push-1")
    )
    assert headers["x-vcap-request-id"] == "push-1"
    await settles(lambda: events != [])
    (event,) = events
    assert (event.what, event.trace) == ("http.served", "push-1")
    assert event.data["sender"] == "dea"
    assert (event.data["method"], event.data["path"], event.data["status"]) == (
        "POST",
        "/echo",
        200,
    )


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/a/x/rest", {"one": "x"}),
        ("/a/x%20y/rest", {"one": "x y"}),
        ("/a/x%2Fy/rest", None),
        ("/a/%2e%2e/rest", None),
        ("/a/x%0Ay/rest", None),
        ("/a/%ff/rest", None),
        ("/a//rest", None),
        ("/a/x/y/rest", None),
        ("/b/x/y%20z", {"many": "x/y z"}),
        ("/b/", {"many": ""}),
        ("/b/x%2fy", None),
        ("/b", None),
    ],
)
def test_routes(path: str, params: dict[str, str] | None) -> None:
    """Segments are matched before they are decoded, and decode to plain names only."""

    async def handler(exchange: Exchange) -> None: ...

    routes = Routes([Blob("GET", "/a/:one/rest", handler), Blob("GET", "/b/*many", handler)])
    found = routes.find("HEAD", path.encode())
    assert (found[1] if found else None) == params
    assert routes.find("PUT", path.encode()) is None
