"""The NATS listener abused: what one client does costs the others and the rooms nothing."""

from __future__ import annotations

import resource
import socket
from contextlib import suppress

import pytest
import trio

from appliance.kernel.bus.listener.server import open_listener
from appliance.kernel.bus.local import LocalBus
from tests.contract.wire_clients import (
    PATIENCE,
    QUIET,
    Raw,
    connect,
    eventually,
    listening,
    raw,
    witness,
)


async def test_a_payload_of_ten_megabytes_is_refused() -> None:
    """The client is told so although it still sends; the others notice nothing."""
    async with (
        listening() as (bus, listener),
        witness(listener, bus),
        raw(listener.url) as client,
        trio.open_nursery() as nursery,
    ):

        async def send() -> None:
            with suppress(trio.BrokenResourceError):  # it has closed meanwhile
                await client.say(b"PUB a %d\r\n" % 10_000_000 + bytes(10_000_000) + b"\r\n")

        nursery.start_soon(send)
        assert await client.hear(b"\r\n") == b"-ERR 'Maximum Payload Violation'\r\n"
        nursery.cancel_scope.cancel()


async def test_a_client_that_reads_nothing_costs_only_itself() -> None:
    """It is cut off at the limit, while another one gets every message."""
    size = 100_000
    async with (
        listening(max_pending=500_000) as (bus, listener),
        witness(listener, bus),
        raw(listener.url) as slow,
        raw(listener.url) as quick,
    ):
        for client in (slow, quick):
            await client.say(b"SUB flood 1\r\nPING\r\n")
            await client.hear(b"PONG\r\n")
        for number in range(1000):  # the kernel's buffers hide a slow reader for a while
            data = b"%09d" % number + bytes(size)
            bus.publish("flood", data)
            assert await quick.hear(data + b"\r\n") == b"MSG flood 1 100009\r\n" + data + b"\r\n"
            if listener.hub.slow_consumers:
                break
        assert listener.hub.slow_consumers == 1
        assert len(listener.hub.sessions) == 2
        assert (await slow.rest()).endswith(b"-ERR 'Slow Consumer'\r\n")


async def test_a_client_that_never_reads_again_is_let_go() -> None:
    """Not even its last words hold its connection for ever."""
    async with (
        listening(max_pending=300_000, write_deadline=0.2) as (bus, listener),
        raw(listener.url) as stuck,
    ):
        await stuck.say(b"SUB flood 1\r\nPING\r\n")
        await stuck.hear(b"PONG\r\n")
        with trio.fail_after(PATIENCE):
            while listener.hub.sessions:
                bus.publish("flood", bytes(20_000))
                await trio.lowlevel.checkpoint()
        await eventually(lambda: not listener.open)


async def test_a_thousand_connections_at_once() -> None:
    """All are served; nothing is left of them afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = 1000
    if hard != resource.RLIM_INFINITY and hard < 3 * count:
        pytest.skip(f"only {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3 * count), hard))
    try:
        async with listening() as (bus, listener), witness(listener, bus):
            ready = 0
            all_ready, done = trio.Event(), trio.Event()

            async def one() -> None:
                nonlocal ready
                async with raw(listener.url, hello=QUIET + b"SUB all 1\r\nPING\r\n") as client:
                    ready += 1
                    if ready == count:
                        all_ready.set()
                    await client.hear(b"MSG all 1 5\r\nhello\r\n")
                    await done.wait()

            async with trio.open_nursery() as nursery:
                for _ in range(count):
                    nursery.start_soon(one)
                with trio.fail_after(PATIENCE):
                    await all_ready.wait()
                bus.publish("all", b"hello")
                done.set()
            await eventually(lambda: len(listener.hub.sessions) == 1)
            assert sum(1 for _ in bus.subscriptions()) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_connections_are_limited() -> None:
    """One too many is told so, and there is room again when one has gone."""
    async with (
        listening(max_connections=2) as (_, listener),
        raw(listener.url),
        raw(listener.url) as second,
    ):
        async with await connect(listener.url) as stream:
            assert await Raw(stream).rest() == b"-ERR 'maximum connections exceeded'\r\n"
        await second.stream.aclose()
        await eventually(lambda: listener.open == 1)
        async with raw(listener.url):
            pass


async def test_half_a_frame_and_then_silence() -> None:
    """Holds nobody up; is pinged, and let go in the end."""
    async with listening(ping_interval=0.1) as (bus, listener):
        async with raw(listener.url) as half:
            await half.say(b"PUB a 1000\r\nonly so much")
            async with witness(listener, bus):
                pass
            said = await half.rest()
        assert said.endswith(b"PING\r\n-ERR 'Stale Connection'\r\n")


async def test_who_does_not_log_in_is_let_go() -> None:
    """Half a CONNECT is none."""
    async with (
        listening(token="t", auth_timeout=0.1) as (_, listener),
        raw(listener.url, hello=b"") as client,
    ):
        await client.say(b"CONNECT {")
        assert await client.rest() == b"-ERR 'Authentication Timeout'\r\n"


async def test_a_reset_is_no_mistake_of_ours() -> None:
    """Many clients that vanish in the middle of everything; reported as gone, not as failed."""
    reports: list[str] = []
    bus = LocalBus()
    async with open_listener(
        bus, "127.0.0.1:0", report=lambda what, **_: reports.append(what)
    ) as listener:
        for _ in range(50):
            async with raw(listener.url) as client:
                await client.say(b"SUB > 1\r\n" + b"PUB a 20000\r\n" + bytes(20_000) + b"\r\n")
                linger = b"\x01\0\0\0\0\0\0\0"  # close() sends a reset
                client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await eventually(lambda: not listener.open)
    assert set(reports) == {"client.connected", "client.disconnected"}
    assert not list(bus.subscriptions())


async def test_closing_says_what_is_queued_and_hangs_up() -> None:
    """Rooms' last messages reach the clients; those that stay connected do not hold it up."""
    bus = LocalBus()
    async with open_listener(bus, "127.0.0.1:0") as listener:
        stream = await connect(listener.url)
        client = Raw(stream)
        await client.say(QUIET + b"SUB a 1\r\nPING\r\n")
        await client.hear(b"PONG\r\n")
        bus.publish("a", b"bye")
        began = trio.current_time()
    assert trio.current_time() - began < 2
    assert await client.rest() == b"MSG a 1 3\r\nbye\r\n"
    await stream.aclose()
