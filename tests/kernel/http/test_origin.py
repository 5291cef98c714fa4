"""Whom a local server listens to: names and origins, as a table; then over real sockets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from appliance.kernel.http.origin import Allowed, allowed, check_origin
from appliance.kernel.http.server import serve_http
from appliance.kernel.http.sockets import listen
from appliance.kernel.kit import Kit

from .conftest import Raw, Serve

HERE = allowed(["127.0.0.1"], ["api.example"])


def head(line: str, *headers: str) -> bytes:
    """A request head."""
    return "\r\n".join([f"{line} HTTP/1.1", *headers, "", ""]).encode("latin-1")


def status(line: str, *headers: str, here: Allowed = HERE) -> int:
    """With which status such a request is refused; 0 when it is not."""
    refusal = check_origin(head(line, *headers), here)
    return refusal.status if refusal else 0


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:7700", "localhost", "LOCALHOST:1", "[::1]:7700", "[::1]",
     "api.example", "API.example:443"],
)  # fmt: skip
def test_own_names_are_served_on_any_port(host: str) -> None:
    """A forwarded port is another one, and a port protects nobody."""
    assert status("GET /", f"Host: {host}") == 0
    assert status("POST /", f"host:{host}") == 0


@pytest.mark.parametrize(
    "host",
    ["evil", "evil:7700", "evil.127.0.0.1", "127.0.0.1.evil", "localhost.evil", "127.0.0.2",
     "192.168.0.1", "[::2]", "[::ffff:127.0.0.1]", "hello.apps.localhost", "2130706433", "0x7f.1"],
)  # fmt: skip
def test_foreign_names_are_misdirected(host: str) -> None:
    """A name that somebody made point here is not ours; nor for reading."""
    for method in ("GET", "HEAD", "OPTIONS", "POST", "DELETE"):
        assert status(f"{method} /", f"Host: {host}") == 421


def test_bound_to_every_address_any_literal_one_will_do() -> None:
    """Nobody can make an address point elsewhere; names still must be known."""
    here = allowed(["0.0.0.0"])
    for host in ("192.168.0.1:7700", "10.1.2.3", "[fe80::1]:7700", "localhost"):
        assert status("GET /", f"Host: {host}", here=here) == 0
    for host in ("evil", "1.2.3.4.evil", "0x7f.1", "1.2.3", "dead.beef"):
        assert status("GET /", f"Host: {host}", here=here) == 421
    assert status("GET /", "Host: 192.168.0.9", here=allowed(["192.168.0.9"])) == 0


OWN = ("Host: 127.0.0.1:7700",)


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ((), 0),  # every program that is no browser
        (("Origin: http://127.0.0.1:7700",), 0),
        (("origin: HTTP://127.0.0.1:7700", "Sec-Fetch-Site: same-origin"), 0),
        (("Sec-Fetch-Site: none",), 0),
        (("Origin: http://evil",), 403),
        (("Origin: http://evil", "Sec-Fetch-Site: same-origin"), 403),
        (("Origin: null",), 403),
        (("Origin:",), 403),
        (("Origin: http://127.0.0.1:7780",), 403),  # an app, on the router's port
        (("Origin: http://localhost:7700",), 403),
        (("Origin: http://127.0.0.1:7700.evil",), 403),
        (("Origin: http://127.0.0.1:7700@evil",), 403),
        (("Origin: file://127.0.0.1:7700",), 403),
        (("Origin: chrome-extension://127.0.0.1:7700",), 403),
        (("Origin: http://127.0.0.1:7700", "Origin: http://evil"), 403),
        (("Origin: http://evil", "Origin: http://127.0.0.1:7700"), 403),
        (("Sec-Fetch-Site: cross-site",), 403),
        (("Sec-Fetch-Site: same-site",), 403),
        (("Origin: http://127.0.0.1:7700", "Sec-Fetch-Site: cross-site"), 403),
    ],
)
def test_pages_of_others_change_nothing(headers: tuple[str, ...], wanted: int) -> None:
    """Writes and WebSockets are for our own pages and for programs; reading goes on."""
    for method in ("POST", "PUT", "PATCH", "DELETE", "MADEUP"):
        assert status(f"{method} /", *OWN, *headers) == wanted
    assert status("GET /", *OWN, "Upgrade: websocket", *headers) == wanted
    assert status("GET /", *OWN, *headers) == 0


def test_default_ports_are_left_out_by_browsers() -> None:
    """https://api.example is the origin of api.example:443, and http's of port 80."""
    assert status("POST /", "Host: api.example:443", "Origin: https://api.example") == 0
    assert status("POST /", "Host: api.example", "Origin: https://api.example:443") == 0
    assert status("POST /", "Host: api.example", "Origin: http://api.example") == 0
    assert status("POST /", "Host: api.example:80", "Origin: https://api.example") == 403


def test_without_a_host_there_is_no_page() -> None:
    """HTTP/1.0 may leave Host out; browsers never did."""
    assert status("GET /") == 0
    assert status("POST /") == 0
    assert status("POST /", "Origin: http://x") == 403


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers 200 to everything."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", b"2")]})  # fmt: skip
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.mark.parametrize("line", ["POST /files/x", "POST /api"])
async def test_the_server_says_so_and_runs_nothing(
    serve: Serve, connect: Callable[[str], Awaitable[Raw]], line: str
) -> None:
    """421 with a sentence that helps, 403, and no CORS headers; on a second request, too."""
    url = await serve(app)
    raw = await connect(url)
    await raw.send(head(line, "Host: 127.0.0.1", "Content-Length: 0"))
    assert (await raw.until(b"ok")).startswith(b"HTTP/1.1 200")
    await raw.send(head(line, "Host: evil:7700", "Content-Length: 0"))
    answer = await raw.rest()
    assert answer.startswith(b"HTTP/1.1 421")
    assert b"does not go by the name 'evil'" in answer
    raw = await connect(url)
    await raw.send(head(line, "Host: localhost", "Origin: http://evil", "Content-Length: 4"))
    await raw.send(b"text")
    answer = await raw.rest()
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"access-control" not in answer.lower()


async def test_more_names_are_a_parameter(kit: Kit, nursery: trio.Nursery) -> None:
    """`hosts` and the kit's own names count both; several descriptors are one listener."""
    opened = [*listen("127.0.0.1:0"), *listen("127.0.0.1:0")]
    ports = [each.getsockname()[1] for each in opened]
    bind = ",".join(f"fd://{each.detach()}" for each in opened)

    async def start(*, task_status: trio.TaskStatus[str]) -> None:
        await serve_http(app, bind, kit, hosts=["Box.lan"], task_status=task_status)

    await nursery.start(start)
    for port in ports:
        for host, wanted in (("box.lan", 200), ("good", 200), ("bad", 421)):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                raw = Raw(stream)
                await raw.send(head("GET /", f"Host: {host}:{port}", "Connection: close"))
                assert (await raw.rest()).startswith(b"HTTP/1.1 %d" % wanted)
