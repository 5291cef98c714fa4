"""What the router does with hostile clients, broken apps and dead endpoints."""

from __future__ import annotations

import pytest
import trio

from tests.router.rig import Raw, free_port, ok, running, says

HOST = "app.apps.localhost"
CHUNKED = b"POST / HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED_ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

#: Each row breaks one rule; all are answered by the router and close the connection.
HOSTILE = {
    "length and chunked": (
        400,
        b"POST / HTTP/1.1\r\nHost: {h}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: {h}\r\n\r\n",
    ),
    "two lengths": (
        400,
        b"POST / HTTP/1.1\r\nHost: {h}\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n"
        b"GET /smuggled HTTP/1.1\r\nHost: {h}\r\n\r\n",
    ),
    "signed length": (400, b"POST / HTTP/1.1\r\nHost: {h}\r\nContent-Length: +5\r\n\r\nhello"),
    "unknown coding": (
        501,
        b"POST / HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    "coding in 1.0": (
        400,
        b"POST / HTTP/1.0\r\nHost: {h}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "bare LF": (400, b"GET / HTTP/1.1\nHost: {h}\n\n"),
    "folded": (400, b"GET / HTTP/1.1\r\nHost: {h}\r\nX: a\r\n b\r\n\r\n"),
    "space before colon": (400, b"GET / HTTP/1.1\r\nHost : {h}\r\n\r\n"),
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "no host in 1.0": (400, b"GET / HTTP/1.0\r\n\r\n"),
    "two hosts": (400, b"GET / HTTP/1.1\r\nHost: {h}\r\nHost: evil\r\n\r\n"),
    "host with user": (400, b"GET / HTTP/1.1\r\nHost: good@{h}\r\n\r\n"),
    "host with final dot": (400, b"GET / HTTP/1.1\r\nHost: {h}.\r\n\r\n"),
    "two authorities": (400, b"GET http://evil/ HTTP/1.1\r\nHost: {h}\r\n\r\n"),
    "CONNECT": (400, b"CONNECT {h}:80 HTTP/1.1\r\nHost: {h}\r\n\r\n"),
    "version": (505, b"GET / HTTP/1.9\r\nHost: {h}\r\n\r\n"),
    "climbing path": (400, b"GET /a/../../etc HTTP/1.1\r\nHost: {h}\r\n\r\n"),
    "underscore twin": (400, b"GET / HTTP/1.1\r\nHost: {h}\r\nX_Forwarded_For: 6.6.6.6\r\n\r\n"),
    "endless head": (431, b"GET / HTTP/1.1\r\nHost: {h}\r\nX: " + b"a" * 20_000),
    "bad chunk size": (
        400,
        CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    ),
    "chunk longer than said": (
        400,
        CHUNKED + b"2\r\nhello\r\n0\r\n\r\n",
    ),
    "chunk line ends in LF": (
        400,
        CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    ),
    "endless chunk line": (
        400,
        CHUNKED + b"5;" + b"a" * 5000,
    ),
    "bad trailer": (
        400,
        CHUNKED + b"0\r\nbad trailer\r\n\r\n",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_request_with_two_readings_is_refused(name: str) -> None:
    """One answer, then the end: nothing after it is read as a request."""
    status, data = HOSTILE[name]

    async def app(raw: Raw, head: bytes) -> None:
        assert b"smuggled" not in head
        await raw.rest()

    async with running() as router:
        app_seen = await router.app(app, HOST)
        async with router.client() as client:
            await client.send(data.replace(b"{h}", HOST.encode()))
            reply = await client.answer()
            after = await client.rest()
        good = len(app_seen.heads)
    assert (reply.status, after) == (status, b"")
    assert good <= 1  # the head of a body that turns out bad has gone already


async def test_a_second_request_does_not_hide_in_the_first() -> None:
    """The body is a request for another host: it stays a body."""
    inner = b"GET /admin HTTP/1.1\r\nHost: admin.apps.localhost\r\n\r\n"
    async with running() as router:
        app = await router.app(says(ok(b"app")), HOST)
        admin = await router.app(says(ok(b"admin")), "admin.apps.localhost")
        async with router.client() as client:
            for _ in range(2):
                head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(inner)}\r\n\r\n"
                await client.send(head.encode() + inner)
                assert (await client.answer()).body == b"app"
    assert len(app.heads) == 2
    assert admin.heads == []


#: Answers that break a rule: the client gets 502 with the reason, never the bytes.
BROKEN = {
    "nothing": b"",
    "no HTTP": b"hello\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "CR in a value": b"HTTP/1.1 200 OK\r\nLocation: a\rSet-Cookie: x\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    "folded": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "space before colon": b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "bad chunk": CHUNKED_ANSWER + b"5\r\nhello\r\nzz\r\n",
    "chunk longer than said": CHUNKED_ANSWER + b"2\r\nhello\r\n0\r\n\r\n",
    "switch unasked": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "interim flood": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50,
    "endless head": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000,
}


@pytest.mark.parametrize("name", BROKEN)
async def test_an_answer_with_two_readings_is_a_502(name: str) -> None:
    """The client's connection stays good."""
    async with running() as router:
        await router.app(says(BROKEN[name], close=True), HOST)
        async with router.client() as client:
            reply = await client.get(HOST)
            again = await client.get("nobody")
    assert reply.status == 502
    assert reply["x-cf-routererror"] == "endpoint_failure"
    assert reply.body.startswith(b"502 Bad Gateway: Registered endpoint failed to handle")
    assert again.status == 404


async def test_bytes_after_an_answer_do_not_become_the_next_answer() -> None:
    """The app's connection is given up; the next client gets its own answer."""
    poisoned = ok(b"right") + ok(b"poison")
    async with running() as router:
        app = await router.app(says(poisoned), HOST)
        bodies = [(await router.get(HOST)).body for _ in range(3)]
    assert bodies == [b"right"] * 3
    assert app.connections == 3


async def test_an_apps_own_router_errors_do_not_pass_for_ours() -> None:
    """Only the router says X-Cf-RouterError; hop-by-hop fields stay behind too."""
    answer = ok(
        b"", "X-Cf-RouterError: unknown_route", "Keep-Alive: 5", "X-Kept: 1",
        "Connection: keep-alive, X-Gone", "X-Gone: 1",
    )  # fmt: skip
    async with running() as router:
        await router.app(says(answer), HOST)
        reply = await router.get(HOST)
    assert reply["x-kept"] == "1"
    assert not {"x-cf-routererror", "keep-alive", "x-gone"} & set(reply.headers)


async def test_connections_to_apps_are_used_again() -> None:
    """Ten requests of ten clients need one."""
    async with running() as router:
        app = await router.app(says(ok(b"")), HOST)
        for _ in range(10):
            assert (await router.get(HOST)).status == 200
    assert app.connections == 1


async def test_a_kept_connection_that_died_is_not_the_clients_problem() -> None:
    """The app takes the second request and closes without a word: it is sent once more."""

    async def app(raw: Raw, head: bytes) -> bool:
        if len(served.heads) == 2:
            return False
        await raw.send(ok(b"fine"))
        return True

    async with running() as router:
        served = await router.app(app, HOST)
        bodies = [(await router.get(HOST)).body for _ in range(2)]
    assert bodies == [b"fine", b"fine"]
    assert len(served.heads) == 3


async def test_what_may_not_be_sent_twice_is_not() -> None:
    """A POST on a kept connection that dies is a 502: the app may have done it."""

    async def app(raw: Raw, head: bytes) -> bool:
        await raw.send(ok(b"fine")) if len(served.heads) != 2 else None
        return len(served.heads) != 2

    async with running() as router:
        served = await router.app(app, HOST)
        async with router.client() as client:
            post = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\n\r\n".encode()
            statuses = []
            for _ in range(3):
                await client.send(post)
                statuses.append((await client.answer()).status)
    assert statuses == [200, 502, 200]
    assert len(served.heads) == 3


async def test_a_fresh_connection_that_dies_is_not_tried_again() -> None:
    """The app has seen the request: another try could do it twice, or crash the next one."""
    async with running() as router:
        app = await router.app(says(b"", close=True), HOST)
        status = (await router.get(HOST)).status
    assert status == 502
    assert len(app.heads) == 1


async def test_a_dead_endpoint_is_skipped() -> None:
    """The request goes to the one that lives, body and all; the dead one rests."""

    async def app(raw: Raw, head: bytes) -> None:
        await raw.send(ok(await raw.exactly(5)))

    async with running() as router:
        await router.register(free_port(), HOST)
        live = await router.app(app, HOST)
        async with router.client() as client:
            for _ in range(4):
                await client.send(
                    f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nhello".encode()
                )
                assert (await client.answer()).body == b"hello"
    assert len(live.heads) == 4
    assert len(router.told("endpoint.failed")) == 1


async def test_no_living_endpoint_is_a_502() -> None:
    """With the header and the words of gorouter."""
    async with running() as router:
        await router.register(free_port(), HOST)
        await router.register(free_port(), HOST)
        reply = await router.get(HOST)
    assert reply.status == 502
    assert reply["x-cf-routererror"] == "endpoint_failure"
    assert reply.body == b"502 Bad Gateway: Registered endpoint failed to handle the request.\n"


async def test_a_port_that_another_app_took_over_is_not_mixed_up() -> None:
    """The old app's route goes when a new instance is announced at its address."""
    async with running() as router:
        app = await router.app(says(ok(b"new")), "old.apps.localhost", instance="old")
        await router.register(app.port, "new.apps.localhost", instance="new")
        old = await router.get("old.apps.localhost")
        new = await router.get("new.apps.localhost")
    assert (old.status, new.body) == (404, b"new")


@pytest.mark.parametrize("part", [b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_half_a_head_ends_in_408(part: bytes) -> None:
    """A connection is not held for ever by one who says little."""
    async with running(head_timeout=0.1) as router, router.client() as client:
        await client.send(part)
        reply = await client.answer()
        after = await client.rest()
    assert (reply.status, after) == (408, b"")


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    """After idle_timeout, before the first request and between two."""
    async with running(idle_timeout=0.1) as router:
        await router.app(says(ok(b"")), HOST)
        async with router.client() as silent, router.client() as idle:
            await idle.get(HOST)
            ends = [await silent.rest(), await idle.rest()]
    assert ends == [b"", b""]


async def test_an_app_that_does_not_begin_its_answer_is_a_504() -> None:
    """After app_timeout; its connection is not used again."""

    async def app(raw: Raw, head: bytes) -> None:
        await trio.sleep_forever()

    async with running(app_timeout=0.1) as router:
        await router.app(app, HOST)
        async with router.client() as client:
            reply = await client.get(HOST)
            after = await client.rest()
    assert (reply.status, after) == (504, b"")
