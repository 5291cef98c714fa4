"""The client: files both ways, redirects, credentials, and sentences for what fails."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.kernel.errors import TooLarge
from appliance.kernel.http.app import basic_header
from appliance.kernel.http.blob_plane import Blob, Exchange
from appliance.kernel.http.client import Response
from appliance.kernel.http.errors import BadAnswer, HttpFailed, TimedOut, Unreachable
from appliance.kernel.http.sockets import listen
from appliance.kernel.kit import Kit
from appliance.kernel.trace import current_trace

Serve = Callable[..., Awaitable[str]]
CONTENT = bytes(range(256)) * 10_000  # 2.5 MB


@pytest.fixture
async def url(serve: Serve, tmp_path: Path) -> str:
    """Serves and takes files, redirects, and shows headers."""
    (tmp_path / "big").write_bytes(CONTENT)
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()

    async def get(exchange: Exchange) -> None:
        await exchange.send_file(tmp_path / exchange.params["name"])

    async def put(exchange: Exchange) -> None:
        got = await exchange.receive_file(tmp_path / "in", limit=10**7)
        await exchange.reply(201, {"size": got.size, "sha256": got.sha256})

    async def post(exchange: Exchange) -> None:
        form = await exchange.receive_form(tmp_path / "in", limit=10**7)
        (name,) = form.files
        got = form.files[name]
        told = {"name": name, "filename": got.filename, "sha1": got.sha1}
        await exchange.reply(200, told | {key: v.decode() for key, v in form.fields.items()})

    async def move(exchange: Exchange) -> None:
        await exchange.reply(302, headers={"Location": exchange.query["to"]})

    async def loop(exchange: Exchange) -> None:
        await exchange.reply(307, headers={"Location": "/loop"})

    async def show(exchange: Exchange) -> None:
        await exchange.reply(200, dict(exchange.headers) | {"body": exchange.method})

    async def teapot(exchange: Exchange) -> None:
        await exchange.receive_bytes(10**7)
        await exchange.reply(418, "short and stout")

    return await serve(
        blobs=[
            Blob("GET", "/files/:name", get),
            Blob("PUT", "/files/:name", put),
            Blob("POST", "/form", post),
            Blob("GET", "/move", move),
            Blob("POST", "/move", move),
            Blob("GET", "/loop", loop),
            Blob("GET", "/show", show),
            Blob("PUT", "/teapot", teapot),
        ]
    )


async def test_downloads_a_file(url: str, kit: Kit, tmp_path: Path) -> None:
    """The file is complete, and both digests are its own."""
    got = await kit.http.download(f"{url}/files/big", tmp_path / "out", limit=len(CONTENT))
    assert got.path.read_bytes() == CONTENT
    assert got.size == len(CONTENT)
    assert got.sha1 == hashlib.sha1(CONTENT).hexdigest()
    assert got.sha256 == hashlib.sha256(CONTENT).hexdigest()


async def test_download_with_a_limit(url: str, kit: Kit, tmp_path: Path) -> None:
    """One byte too many: nothing is left."""
    with pytest.raises(TooLarge, match="limit"):
        await kit.http.download(f"{url}/files/big", tmp_path / "out", limit=len(CONTENT) - 1)
    assert os.listdir(tmp_path / "out") == []


async def test_endless_download(kit: Kit, serve: Serve, tmp_path: Path) -> None:
    """An answer without a length is cut off at the limit."""

    async def flood(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(10_000):
            await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})

    with pytest.raises(TooLarge):
        await kit.http.download(f"{await serve(flood)}/x", tmp_path, limit=3_000_000)
    assert os.listdir(tmp_path) == []


async def test_upload_that_is_refused_at_once(url: str, kit: Kit, tmp_path: Path) -> None:
    """The answer is heard although the file has not been sent to its end."""
    with open(tmp_path / "huge", "wb") as huge:
        huge.truncate(300 * 1024 * 1024)
    answer = await kit.http.upload("PUT", f"{url}/files/x", tmp_path / "huge")
    assert answer.status == 413


async def test_download_of_what_is_not_there(url: str, kit: Kit, tmp_path: Path) -> None:
    """The status and the answer's own words are in the error."""
    with pytest.raises(BadAnswer, match=r"404.*no such file") as told:
        await kit.http.download(f"{url}/files/absent", tmp_path / "out", limit=10)
    assert told.value.status == 404
    assert os.listdir(tmp_path / "out") == []


async def test_uploads_a_file(url: str, kit: Kit, tmp_path: Path) -> None:
    """As a raw body with its length."""
    answer = await kit.http.upload("PUT", f"{url}/files/x", tmp_path / "big")
    told = {"size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    assert (answer.status, answer.json()) == (201, told)


async def test_uploads_a_form(url: str, kit: Kit, tmp_path: Path) -> None:
    """The 2012 field name, a label, and plain fields beside it."""
    answer = await kit.http.upload_form(
        f"{url}/form",
        "upload[droplet]",
        tmp_path / "big",
        filename="droplet.tgz",
        fields={"guid": "ä"},
    )
    assert answer.json() == {
        "name": "upload[droplet]",
        "filename": "droplet.tgz",
        "sha1": hashlib.sha1(CONTENT).hexdigest(),
        "guid": "ä",
    }


async def test_answer_to_an_upload_is_returned_whatever_its_status(
    url: str, kit: Kit, tmp_path: Path
) -> None:
    """The caller decides what a 418 means; an early 404 is heard too."""
    assert (await kit.http.upload("PUT", f"{url}/teapot", tmp_path / "big")).status == 418
    assert (await kit.http.upload("PUT", f"{url}/absent", tmp_path / "big")).status == 404


async def test_credentials_become_a_header(url: str, kit: Kit) -> None:
    """User and password of the URL are sent as Basic, escapes undone, and not in the Host."""
    there = url.replace("http://", "http://user:p%40ss@")
    told = (await kit.http.request("GET", f"{there}/show")).json()
    assert told["authorization"] == basic_header("user", "p@ss")
    assert told["host"] == url.removeprefix("http://")


async def test_follows_redirects_with_credentials_for_their_origin_only(
    url: str, kit: Kit, serve: Serve, tmp_path: Path
) -> None:
    """On the same origin the credentials stay, another one does not see them."""

    async def show(exchange: Exchange) -> None:
        await exchange.reply(200, dict(exchange.headers))

    other = await serve(blobs=[Blob("GET", "/show", show)])
    there = url.replace("http://", "http://user:secret@")
    for target, expected in (("/show", True), (f"{other}/show", False)):
        followed = await kit.http.request("GET", f"{there}/move?to={target}", follow_redirects=True)
        assert ("authorization" in followed.json()) is expected
        got = await kit.http.download(
            f"{url}/move?to={target}",
            tmp_path / "out",
            limit=10**6,
            headers={"Authorization": "Bearer x"},
        )
        assert (b"Bearer" in got.path.read_bytes()) is expected
    answer = await kit.http.request("GET", f"{url}/move?to=/show")
    assert (answer.status, answer.headers["location"]) == (302, "/show")


async def test_redirected_post_becomes_a_get(url: str, kit: Kit) -> None:
    """As browsers and every other client do after 302."""
    answer = await kit.http.request(
        "POST", f"{url}/move?to=/show", json={"a": 1}, follow_redirects=True
    )
    assert answer.json()["body"] == "GET"


async def test_redirects_have_an_end(url: str, kit: Kit, tmp_path: Path) -> None:
    """A loop is an error, not a hang."""
    loop = f"{url}/loop"
    with pytest.raises(HttpFailed, match="without an end"):
        await kit.http.download(loop, tmp_path / "out", limit=10)
    with pytest.raises(HttpFailed, match="without an end"):
        await kit.http.request("GET", loop, follow_redirects=True)


async def test_says_who_asks_and_for_what(url: str, kit: Kit) -> None:
    """A named client sends its room and the push; the pool is shared."""
    current_trace.set("push-1")
    told = (await kit.http.named("dea").request("GET", f"{url}/show")).json()
    assert told["x-appliance-room"] == "dea"
    assert told["x-vcap-request-id"] == "push-1"


async def test_names_below_localhost_are_loopback(kit: Kit, tmp_path: Path) -> None:
    """Whatever the resolver knows; the server is told the name that was asked for."""
    (listening,) = listen("127.0.0.1:0")
    port, heads = listening.getsockname()[1], []
    server = trio.SocketListener(trio.socket.from_stdlib_socket(listening))

    async def answer(stream: trio.SocketStream) -> None:
        heads.append((await stream.receive_some()).decode().lower())
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer, [server])
        await kit.http.request("GET", f"http://u:p@shop.apps.localhost:{port}/a?b")
        await kit.http.download(f"http://shop.apps.localhost:{port}/a", tmp_path, limit=10)
        nursery.cancel_scope.cancel()

    assert heads[0].startswith("get /a?b http/1.1")
    assert "authorization: basic" in heads[0]
    assert all(f"host: shop.apps.localhost:{port}\r\n" in head for head in heads)


async def test_an_answer_can_have_a_limit(url: str, kit: Kit) -> None:
    """More than that is not read, and is an error."""
    whole = await kit.http.request("GET", f"{url}/files/big", limit=len(CONTENT))
    with pytest.raises(TooLarge):
        await kit.http.request("GET", f"{url}/files/big", limit=len(CONTENT) - 1)

    assert whole.body == CONTENT


async def test_refused_connections_are_told_apart(kit: Kit, serve: Serve) -> None:
    """Who was not connected knows that nothing was sent."""
    (closed,) = listen("127.0.0.1:0")
    port = closed.getsockname()[1]
    closed.close()

    with pytest.raises(Unreachable):
        await kit.http.request("GET", f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("http://user:s3cret@127.0.0.1:{port}/x", "127.0.0.1:{port} cannot be reached"),
        ("http://user:s3cret@no-such-host.invalid/x", "no-such-host.invalid:80 cannot be reached"),
        ("file:///etc/passwd", "must begin with http"),
        ("http://user:s3cret@[::1/x", "cannot be read"),
        ("http://user:s3cret@127.0.0.1:99999/x", "cannot be read"),
    ],
)
async def test_failure_names_the_host_and_no_secret(
    kit: Kit, tmp_path: Path, bad: str, words: str
) -> None:
    """The sentence has host, port and reason; the credentials are in no part of the error."""
    (closed,) = listen("127.0.0.1:0")
    port = closed.getsockname()[1]
    closed.close()
    attempts: list[Callable[[], Awaitable[Any]]] = [
        lambda: kit.http.request("GET", bad.format(port=port)),
        lambda: kit.http.download(bad.format(port=port), tmp_path, limit=10),
    ]
    for attempt in attempts:
        with pytest.raises(HttpFailed) as told:
            await attempt()
        assert words.format(port=port) in str(told.value)
        assert "s3cret" not in repr(told.value)
        assert told.value.status == 503


async def test_silent_server(kit: Kit) -> None:
    """Somebody listens and never answers: the time-out is an error like the others."""
    (silent,) = listen("127.0.0.1:0")
    with silent, pytest.raises(TimedOut, match=r"did not answer within 0\.2 s"):
        await kit.http.request("GET", f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.2)


async def test_server_that_breaks_off(kit: Kit, serve: Serve, tmp_path: Path) -> None:
    """An answer cut short is an error, and nothing of it is left."""

    async def lie(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            return
        headers = [(b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        raise OSError("gone")

    url = await serve(lie)
    (tmp_path / "out").mkdir()
    with pytest.raises(HttpFailed):
        await kit.http.download(f"{url}/x", tmp_path / "out", limit=10**6)
    assert os.listdir(tmp_path / "out") == []


def test_answer_that_is_not_json() -> None:
    """The caller gets a sentence, not a decoder's complaint."""
    with pytest.raises(BadAnswer, match="not JSON"):
        Response(200, {}, b"<html>").json()
