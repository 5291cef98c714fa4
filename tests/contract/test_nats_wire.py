"""The NATS listener over real sockets: beside a nats-server, and with nats-py."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.lowlevel

from appliance.config import NatsConfig
from appliance.kernel.bus import NoResponders
from appliance.kernel.bus.listener.options import Options
from tests.contract.wire_clients import PATIENCE, QUIET, Raw, connect, listening, room

# Beside a nats-server.

VERBOSE = b'CONNECT {"verbose":true,"pedantic":true}\r\n'
HEADERS = b"NATS/1.0\r\nA: 1\r\nA: 2\r\nb:3\r\n\r\n"
#: What a client sends, in segments. All are answered the same by both servers.
SCRIPTS: dict[str, list[bytes]] = {
    "telnet": [b"SUB a 1\r\nPUB a 2\r\nhi\r\nPING\r\n"],
    "verbose": [
        VERBOSE + b"SUB a 1\r\nSUB a.* q 2\r\nPUB a re 2\r\nhi\r\nUNSUB 1\r\nPUB a 0\r\n\r\n"
    ],
    "quiet": [QUIET + b"SUB a 1\r\nPUB a re 2\r\nhi\r\nUNSUB 1\r\nPUB a 0\r\n\r\nPING\r\n"],
    "connect twice": [VERBOSE, b'CONNECT {"verbose":false}\r\n', b"PING\r\n"],
    "connect null": [b"CONNECT null\r\nPING\r\n"],
    "connect without a space": [b"CONNECT{}\r\nPING\r\n"],
    "connect with more": [
        b'CONNECT {"verbose":false,"whatever":{"a":[1]},"name":null}\r\nPING\r\n'
    ],
    "wildcards": [
        QUIET + b"SUB > 1\r\nSUB a.* 2\r\nSUB a.> 3\r\nSUB a 4\r\nPUB b.c 1\r\nx\r\nPING\r\n"
    ],
    "queue group of one": [QUIET + b"SUB a q 1\r\nPUB a 1\r\nx\r\nPUB a 1\r\ny\r\nPING\r\n"],
    "unsub with max": [QUIET + b"SUB a 1\r\nUNSUB 1 2\r\n" + b"PUB a 1\r\nx\r\n" * 3 + b"PING\r\n"],
    "unsub with max reached": [
        QUIET + b"SUB a 1\r\n" + b"PUB a 1\r\nx\r\n" * 3 + b"UNSUB 1 2\r\nPUB a 1\r\ny\r\n"
    ],
    "unsub with a bad max": [QUIET + b"SUB a 1\r\nUNSUB 1 x\r\nPUB a 1\r\nx\r\nPING\r\n"],
    "unsub of nothing": [b"UNSUB 9\r\nUNSUB 9 3\r\n"],
    "sid twice": [QUIET + b"SUB a 1\r\nSUB b 1\r\nPUB a 1\r\nx\r\nPUB b 1\r\ny\r\nPING\r\n"],
    "odd sids": [QUIET + "SUB a ä\r\nSUB a x.y>*\r\nUNSUB x.y>*\r\nPUB a 1\r\nx\r\n".encode()],
    "no echo": [b'CONNECT {"verbose":false,"echo":false}\r\nSUB a 1\r\nPUB a 1\r\nx\r\nPING\r\n'],
    "no responders": [
        QUIET + b"SUB re.* 5\r\nPUB nobody re.1 1\r\nx\r\nPUB nobody 1\r\nx\r\nPING\r\n"
    ],
    "no responders, not asked for": [b"SUB re 5\r\nPUB nobody re 1\r\nx\r\n"],
    "no responders without headers": [b'CONNECT {"no_responders":true}\r\nPING\r\n'],
    "headers": [
        QUIET
        + b"SUB a 1\r\nHPUB a re %d %d\r\n%bhi\r\nPING\r\n"
        % (len(HEADERS), len(HEADERS) + 2, HEADERS)
    ],
    "headers only": [
        QUIET + b"SUB a 1\r\nHPUB a %d %d\r\n%b\r\nPING\r\n" % (len(HEADERS), len(HEADERS), HEADERS)
    ],
    "headers of no bytes": [QUIET + b"SUB a 1\r\nHPUB a 0 2\r\nhi\r\nPING\r\n"],
    "headers that are none": [QUIET + b"SUB a 1\r\nHPUB a 3 5\r\nxyzhi\r\nPING\r\n"],
    "headers not asked for": [VERBOSE + b"HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\nPING\r\n"],
    "headers longer than all": [QUIET + b"HPUB a 14 12\r\nNATS/1.0\r\n\r\n\r\nPING\r\n"],
    "headers with one size": [QUIET + b"HPUB a 12\r\nNATS/1.0\r\n\r\n\r\nPING\r\n"],
    "lower case": [b"sub a 1\r\npub a 2\r\nhi\r\nping\r\n"],
    "mixed case, tabs, bare line feeds": [b"Sub\ta\t1\nPub  a \t 2\nhi\r\nPing\n"],
    "rubbish after ping": [b"PING me please\r\nPONGx\r\n+OKAY\r\nPING\r\n"],
    "empty payload": [QUIET + b"SUB a 1\r\nPUB a 0\r\n\r\nPING\r\n"],
    "line breaks in the payload": [QUIET + b"SUB a 1\r\nPUB a 12\r\n\r\nPUB a 1\r\nx\r\nPING\r\n"],
    "one byte at a time": [bytes([byte]) for byte in b"SUB a 1\r\nPUB a 2\r\nhi\r\nPING\r\n"],
    "unknown verb": [b"PING\r\nHELO\r\nPING\r\n"],
    "unknown verb, no line": [b"X"],
    "http": [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
    "tls": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    "nothing but a line end": [b"\r\n"],
    "space before the verb": [b" PING\r\n"],
    "verb of a server": [b"MSG a 1 1\r\nx\r\n"],
    "half a verb": [b"PIN"],
    "half a frame": [b"PUB a 10\r\nhel"],
    "pub without anything": [b"PUB\r\n"],
    "pub without a size": [b"PUB a\r\n"],
    "pub with too much": [b"PUB a b c 1\r\nx\r\n"],
    "pub of -1": [b"PUB x -1\r\n\r\nPING\r\n"],
    "pub of +1": [b"PUB x +1\r\nx\r\nPING\r\n"],
    "pub of 99999999999": [b"PUB x 99999999999\r\n"],
    "pub of 999999999": [b"PUB x 999999999\r\nPING\r\n"],
    "pub of one byte too many": [b"PING\r\nPUB x 1048577\r\n"],
    "pub of a word": [b"PUB x y z\r\n"],
    "payload without an end": [b"PUB a 2\r\nhiPING\r\n"],
    "payload with half an end": [b"PUB a 2\r\nhi\rPING\r\n"],
    "payload too short": [b"PUB a 5\r\nhi\r\nPING\r\n"],
    "payload too long": [b"PUB a 1\r\nhi\r\nPING\r\n"],
    "sub without a sid": [b"SUB a\r\n"],
    "sub with too much": [b"SUB a b c d\r\n"],
    "sub to empty tokens": [b"SUB a..b 1\r\nSUB .a 2\r\nSUB a. 3\r\nPING\r\n"],
    "sub to > in the middle": [b"SUB a.>.b 1\r\nPING\r\n"],
    "pub to empty tokens": [b"PUB a..b 2\r\nhi\r\nPUB a. 2\r\nhi\r\nPING\r\n"],
    "pub to a wildcard": [b"PUB a.* 2\r\nhi\r\nPUB > 2\r\nhi\r\nPING\r\n"],
    "connect without json": [b"CONNECT hello\r\nPING\r\n"],
    "connect with half of json": [b'CONNECT {"verbose":\r\nPING\r\n'],
    "connect with a list": [b"CONNECT []\r\nPING\r\n"],
    "connect with wrong kinds": [b'CONNECT {"verbose":"yes"}\r\nPING\r\n'],
    "connect with nothing": [b"CONNECT\r\nPING\r\n"],
    "connect to another account": [b'CONNECT {"account":"x"}\r\nPING\r\n'],
    "connect with protocol 9": [b'CONNECT {"protocol":9}\r\nPING\r\n'],
    "line of 4096 bytes": [QUIET + b"SUB " + b"a" * 1000 + b" " * 3000 + b"1\r\nPING\r\n"],
    "line of 5000 bytes": [b"SUB " + b"a" * 5000 + b" 1\r\nPING\r\n"],
    "line without an end": [b"PUB " + b"a" * 5000],
    "error from the client": [b"PING\r\n-ERR 'x'\r\nPING\r\n"],
    "info from the client": [b"INFO {}\r\nPING\r\n"],
}

LOGINS: dict[str, list[bytes]] = {
    "right": [b'CONNECT {"verbose":false,"user":"ann","pass":"secret"}\r\nPING\r\n'],
    "wrong password": [b'CONNECT {"verbose":false,"user":"ann","pass":"Secret"}\r\nPING\r\n'],
    "wrong user": [b'CONNECT {"verbose":false,"user":"bob","pass":"secret"}\r\nPING\r\n'],
    "none": [b'CONNECT {"verbose":false}\r\nPING\r\n'],
    "not connected": [b"PING\r\n"],
    "first byte": [b"P"],
    "rubbish": [b"xyz\r\n"],
    "right, then rubbish": [b'CONNECT {"user":"ann","pass":"secret"}\r\nxyz\r\n'],
    "no json": [b"CONNECT x\r\n"],
}


async def answers(url: str, script: list[bytes]) -> bytes:
    """All that a server says to *script*, but for INFO and its own pings."""
    async with await connect(url) as stream:
        client = Raw(stream)
        await client.hear(b"\r\n")
        try:
            for segment in script:
                await client.say(segment)
                if len(script) > 1:
                    await trio.lowlevel.checkpoint()
            await stream.send_eof()
            said = await client.rest()
        except trio.BrokenResourceError:  # reset: it has closed while we still spoke
            said = client.got
    return re.sub(rb"(?m)^(PING|INFO .*)\r\n", b"", said)


@pytest.mark.parametrize("name", SCRIPTS)
async def test_answers_as_a_nats_server_does(nats_url: str, name: str) -> None:
    """Byte by byte, mistakes and the end of the connection included."""
    async with listening() as (_, listener):
        assert await answers(listener.url, SCRIPTS[name]) == await answers(nats_url, SCRIPTS[name])


async def test_logins_are_judged_as_by_a_nats_server(nats_server: Any) -> None:
    """With a user and a password."""
    nats_server.kill()
    nats_server.config = 'authorization { user: ann, password: "secret" }'
    await trio.to_thread.run_sync(nats_server.start)
    async with listening(user="ann", password="secret") as (_, listener):
        for name, script in LOGINS.items():
            ours = await answers(listener.url, script)
            assert ours == await answers(nats_server.url, script), name


async def test_info_has_the_fields_of_a_nats_server(nats_url: str) -> None:
    """Those that a client may look at, of the same kinds."""
    found = []
    async with listening() as (_, listener):
        for url in (listener.url, nats_url):
            async with await connect(url) as stream:
                line = await Raw(stream).hear(b"\r\n")
                found.append(json.loads(line.removeprefix(b"INFO ")))
    ours, theirs = found
    assert set(theirs) - set(ours) <= {"go", "git_commit"}
    assert {name: type(ours[name]) for name in ours} == {name: type(theirs[name]) for name in ours}
    assert ours["max_payload"] == theirs["max_payload"]


def test_settings_and_options_are_the_same() -> None:
    """`NatsConfig` repeats the options, since the kernel knows no settings."""
    options, config = Options(), NatsConfig()
    for name in Options.__slots__:
        assert getattr(config, name) == getattr(options, name), name


# With nats-py.


async def silent(_: Exception) -> None:
    """nats-py prints its errors unless somebody takes them."""


async def with_nats_py(url: str, work: Callable[[Any], Awaitable[Any]], **options: Any) -> Any:
    """Run *work* with a nats-py client, on an asyncio loop in a thread."""

    async def run() -> Any:
        from nats.aio.client import Client

        client = Client()
        try:
            await client.connect(url, allow_reconnect=False, error_cb=silent, **options)
            return await asyncio.wait_for(work(client), PATIENCE)
        finally:
            # After a refusal, nats-py leaves its socket to the garbage collector.
            if (transport := getattr(client, "_transport", None)) is not None:
                transport.close()
            await client.close()
            await asyncio.sleep(0)

    return await trio.to_thread.run_sync(lambda: asyncio.run(run()))


async def test_a_client_asks_a_room() -> None:
    """With headers both ways; asking nobody fails at once."""

    async def ask(client: Any) -> Any:
        from nats.errors import NoRespondersError

        reply = await client.request("room.a", b"x", timeout=PATIENCE, headers={"X-Room": "me"})
        with pytest.raises(NoRespondersError):
            await client.request("nobody", b"x", timeout=PATIENCE)
        return reply.data, reply.headers

    async with listening() as (bus, listener), room(bus, "room.*") as asked:
        assert await with_nats_py(listener.url, ask) == (b"re: x", {"X-Room": "me"})
        assert [(one.subject, dict(one.headers)) for one in asked] == [("room.a", {"X-Room": "me"})]


async def test_a_room_asks_a_client() -> None:
    """And hears at once when the client has gone."""
    async with listening() as (bus, listener):

        async def serve(client: Any) -> None:
            done = asyncio.Event()

            async def answer(message: Any) -> None:
                await message.respond(message.data.upper())
                done.set()

            await client.subscribe("client.svc", cb=answer)
            await client.flush()
            trio.from_thread.run_sync(there.set, trio_token=token)
            await done.wait()
            await client.flush()

        token, there = trio.lowlevel.current_trio_token(), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(with_nats_py, listener.url, serve)
            with trio.fail_after(PATIENCE):
                await there.wait()
            assert (await bus.request("client.svc", b"x", timeout=PATIENCE)).data == b"X"
        with pytest.raises(NoResponders):
            await bus.request("client.svc", b"x", timeout=PATIENCE)


async def test_rooms_and_clients_share_a_queue_group() -> None:
    """Each request goes to one of them; both get their share."""

    async def work(client: Any) -> list[bytes]:
        got: list[bytes] = []

        async def answer(message: Any) -> None:
            got.append(message.data)
            await message.respond(b"re: " + message.data)

        await client.subscribe("svc", "workers", cb=answer)
        await client.flush()
        for number in range(100):
            reply = await client.request("svc", b"%d" % number, timeout=PATIENCE)
            assert reply.data == b"re: %d" % number
        return got

    async with listening() as (bus, listener), room(bus, "svc", queue="workers") as asked:
        outside = await with_nats_py(listener.url, work)
    inside = [message.data for message in asked]
    assert sorted(inside + outside, key=int) == [b"%d" % number for number in range(100)]
    assert min(len(inside), len(outside)) >= 20


async def test_large_messages_arrive_whole_and_in_order() -> None:
    """Forty of a megabyte each, from a room and from a client."""
    size = 1024 * 1024

    async def collect(client: Any) -> list[tuple[int, bytes]]:
        subscription = await client.subscribe("big.>", pending_bytes_limit=200 * size)
        await client.flush()
        trio.from_thread.run_sync(there.set, trio_token=token)
        for number in range(20):
            await client.publish("big.client", b"%02d" % number * (size // 2))
            await client.flush()
        got = [await subscription.next_msg(PATIENCE) for _ in range(40)]
        return [(len(one.data), one.data[:2]) for one in got if one.subject == "big.room"] + [
            (len(one.data), one.data[:2]) for one in got if one.subject == "big.client"
        ]

    token, there = trio.lowlevel.current_trio_token(), trio.Event()
    found: list[Any] = []
    async with listening() as (bus, listener), trio.open_nursery() as nursery:

        async def client() -> None:
            found.extend(await with_nats_py(listener.url, collect))

        nursery.start_soon(client)
        with trio.fail_after(PATIENCE):
            await there.wait()
        for number in range(20):
            bus.publish("big.room", b"%02d" % number * (size // 2))
    assert found == [(size, b"%02d" % number) for number in range(20)] * 2


async def test_logins_with_nats_py() -> None:
    """By URL, as an endpoint with a login is written, and by token."""

    async def flush(client: Any) -> bool:
        await client.flush()
        return True

    async with listening(user="ann", password="p.a-ss") as (_, listener):
        url = listener.url.replace("://", "://ann:p.a-ss@")
        assert await with_nats_py(url, flush)
        with pytest.raises(Exception, match="Authorization"):
            await with_nats_py(listener.url, flush)
    async with listening(token="t0ken") as (_, listener):
        assert await with_nats_py(listener.url, flush, token="t0ken")
        assert await with_nats_py(listener.url.replace("://", "://t0ken@"), flush)
