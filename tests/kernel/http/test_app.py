"""Control apps: errors as JSON, health, traces, WebSockets, and refused uploads."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import wsproto
from wsproto.events import AcceptConnection, Message, Request, TextMessage

from appliance.kernel.errors import ApplianceError, Conflict, Unauthorized
from appliance.kernel.http.app import basic_auth, basic_header, make_app
from appliance.kernel.kit import Kit
from appliance.kernel.trace import TRACE_HEADER, Event, current_trace

Serve = Callable[..., Awaitable[str]]
Connect = Callable[[str], Awaitable[Any]]


@pytest.fixture
async def url(kit: Kit, serve: Serve) -> str:
    """An app with a route for each way to end."""
    app = make_app(kit)

    @app.get("/works/<name>")
    async def works(name: str) -> dict[str, str]:
        return {"name": name, "trace": current_trace.get()}

    @app.post("/refuses")
    async def refuses() -> dict[str, str]:
        raise Conflict("Already there.", hint="Choose another name.")

    @app.get("/breaks")
    async def breaks() -> dict[str, str]:
        raise ZeroDivisionError("planted")

    @app.get("/fills")
    async def fills() -> dict[str, str]:
        raise OSError(28, "No space left on device")

    @app.websocket("/ws")
    async def echo() -> None:
        from quart import websocket

        while True:
            await websocket.send(f"heard {await websocket.receive()!s}")

    return await serve(app)


async def test_answers(url: str, kit: Kit) -> None:
    """JSON in, JSON out; an escaped slash stays in its segment."""
    answer = await kit.http.request("GET", f"{url}/works/a%2Fb")
    assert (answer.status, answer.json()["name"]) == (200, "a%2Fb")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/refuses", 409, "conflict"),
        ("GET", "/breaks", 500, "internal"),
        ("GET", "/fills", 507, "storage-full"),
        ("GET", "/absent", 404, "not-found"),
        ("PUT", "/refuses", 405, "method-not-allowed"),
    ],
)
async def test_errors(url: str, kit: Kit, method: str, path: str, status: int, code: str) -> None:
    """Errors of handlers and of the framework have the same shape."""
    answer = await kit.http.request(method, url + path)
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/json"


async def test_a_bug_is_in_the_trace(url: str, kit: Kit, events: list[Event]) -> None:
    """The client gets a sentence, the trace gets the traceback."""
    answer = await kit.http.request("GET", f"{url}/breaks")
    assert "planted" not in answer.text
    (event,) = [event for event in events if event.what == "handler.failed"]
    assert "planted" in str(event.data["traceback"])


async def test_presents_errors_in_the_house_of_the_caller(kit: Kit, serve: Serve) -> None:
    """Framework errors, too, take the form that the room gives them."""

    def present(error: ApplianceError) -> tuple[int, dict[str, str], bytes]:
        return error.status, {"Content-Type": "text/x"}, f"<{error.code}>".encode()

    url = await serve(make_app(kit, present_error=present), present_error=present)
    answer = await kit.http.request("GET", f"{url}/absent")
    assert (answer.status, answer.body) == (404, b"<not-found>")


async def test_health(url: str, kit: Kit) -> None:
    """Alive is not ready; ready needs every room."""
    assert (await kit.http.request("GET", f"{url}/healthz")).body == b"ok"
    kit.health.mark("a", "ready")
    kit.health.mark("b", "starting", "It waits for a.")
    answer = await kit.http.request("GET", f"{url}/readyz")
    assert answer.status == 503
    assert answer.json()["b"] == {"state": "starting", "reason": "It waits for a."}
    kit.health.mark("b", "ready")
    assert (await kit.http.request("GET", f"{url}/readyz")).status == 200


async def test_joins_the_push(
    url: str, kit: Kit, events: list[Event], settles: Callable[..., Awaitable[None]]
) -> None:
    """A request of a room works for the sender's push, echoes it, and is in the trace."""
    current_trace.set("push-1")
    answer = await kit.http.named("dea").request("GET", f"{url}/works/x")
    assert answer.json()["trace"] == "push-1"
    assert answer.headers[TRACE_HEADER.lower()] == "push-1"
    await settles(lambda: events != [])
    (event,) = events
    assert (event.what, event.trace) == ("http.served", "push-1")
    assert event.data["sender"] == "dea"
    assert event.data["status"] == 200


async def test_strangers_are_not_in_the_trace(
    url: str, connect: Connect, events: list[Event]
) -> None:
    """Only what rooms ask of each other is part of the picture."""
    raw = await connect(url)
    await raw.send(b"GET /works/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b'"trace":""' in await raw.rest()
    assert events == []


async def test_refused_upload_leaves_the_connection(url: str, connect: Connect) -> None:
    """A handler that raises without reading the body: 409, and the next request works."""
    raw = await connect(url)
    size = 5_000_000
    await raw.send(b"POST /refuses HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
    await raw.send(bytes(size))
    await raw.until(b"HTTP/1.1 409")
    await raw.until(b'"}')
    await raw.send(b"GET /works/x HTTP/1.1\r\nHost: a\r\n\r\n")
    await raw.until(b"HTTP/1.1 200")


async def test_close_reaches_the_socket(url: str, connect: Connect) -> None:
    """Quart cancels itself at the end of a request; the connection still closes."""
    raw = await connect(url)
    await raw.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert (await raw.rest()).endswith(b"ok")


async def test_websocket(url: str, connect: Connect) -> None:
    """A WebSocket passes the gate and talks."""
    raw = await connect(url)
    client = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    await raw.send(client.send(Request(host="a", target="/ws")))
    client.receive_data(await raw.until(b"\r\n\r\n"))
    assert any(isinstance(event, AcceptConnection) for event in client.events())
    await raw.send(client.send(Message(data="hello")))
    client.receive_data(await raw.until(b"hello"))
    (message,) = client.events()
    assert isinstance(message, TextMessage)
    assert message.data == "heard hello"


def test_basic_auth() -> None:
    """Exactly this user and password, in any alphabet, under either name of the header."""
    right = basic_header("pä", "wörd:x")
    basic_auth({"authorization": right}, "pä", "wörd:x")
    basic_auth({"Authorization": right}, "pä", "wörd:x")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Basic",
        "Basic !!!",
        "Basic " + "w7bDtg" * 3 + "=",
        "Bearer abc",
        basic_header("pä", "other"),
        basic_header("other", "wörd"),
        basic_header("pä", ""),
    ],
)
def test_basic_auth_refuses(value: str) -> None:
    """No credentials, unreadable ones, or wrong ones: 401 each."""
    with pytest.raises(Unauthorized):
        basic_auth({"authorization": value}, "pä", "wörd")


async def test_refusal_asks_for_credentials(kit: Kit, serve: Serve) -> None:
    """A 401 says which scheme is wanted."""
    app = make_app(kit)

    @app.get("/secret")
    async def secret() -> dict[str, str]:
        from quart import request

        basic_auth(request.headers, "user", "password")
        return {"secret": "open"}

    url = await serve(app)
    answer = await kit.http.request("GET", f"{url}/secret")
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    there = url.replace("http://", "http://user:password@")
    opened = await kit.http.request("GET", f"{there}/secret")
    assert json.loads(opened.body) == {"secret": "open"}
