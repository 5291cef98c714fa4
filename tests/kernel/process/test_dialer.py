"""Programs whose network is their own: reached from here, while nothing is reached from there."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from appliance.kernel.process.dialer import Dialer, Unreachable, open_dialer, relay
from appliance.kernel.process.sandbox import HOME, Profile, probe
from appliance.kernel.process.spawner import Child, Spawner, open_spawner

pytestmark = pytest.mark.other_users


PATIENCE = 15.0  # seconds; far above what anything here takes
PORT = 8080

#: Sends back what comes in, and says so.
ECHO = f"""\
import socket, threading
def echo(sock):
    while data := sock.recv(65536): sock.sendall(data)
    sock.close()
listener = socket.create_server(("127.0.0.1", {PORT}))
print("listening", flush=True)
while True: threading.Thread(target=echo, args=(listener.accept()[0],)).start()
"""


@asynccontextmanager
async def program(script: str, network: str = "none") -> AsyncIterator[tuple[Spawner, Child]]:
    """A program in Python in a sandbox."""
    async with open_spawner("off") as spawner:
        sandbox = await probe(spawner, "auto", layers=("bubblewrap",))
        if not sandbox.isolated:
            pytest.skip(f"no bubblewrap here: {sandbox.reason}")
        home = Path(tempfile.mkdtemp(prefix="dialer-test-"))
        try:
            await sandbox.hand_over(home)
            profile = Profile(name="app", home=home, cwd=HOME, network=network)  # type: ignore[arg-type]
            command = sandbox.command(profile, ["python3", "-I", "-S", "-c", script])
            child = await spawner.spawn(command.argv, env=command.env, cwd=command.cwd)
            try:
                yield spawner, child
            finally:
                await child.aclose()
        finally:
            with trio.CancelScope(shield=True):
                await sandbox.remove(home)


async def heard(child: Child) -> None:
    """Wait until *child* says something."""
    assert child.stdout is not None
    with trio.fail_after(PATIENCE):
        assert await child.stdout.receive_some(100)


async def dialled(dialer: Dialer) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(await dialer.dial()))


async def exchange(stream: trio.SocketStream, text: bytes) -> bytes:
    """What comes back for *text*, after which nothing follows."""
    received = b""
    with trio.fail_after(PATIENCE):
        async with stream, trio.open_nursery() as nursery:

            async def send() -> None:
                await stream.send_all(text)
                await stream.send_eof()

            nursery.start_soon(send)
            while chunk := await stream.receive_some(65536):
                received += chunk
    return received


async def test_a_program_of_its_own_network_is_reached() -> None:
    """As often as one likes, and side by side: more connections than come at once."""
    async with program(ECHO) as (spawner, child):
        await heard(child)
        async with open_dialer(spawner, child, PORT) as dialer:
            streams = [await dialled(dialer) for _ in range(40)]
            for number, stream in enumerate(streams):
                assert await exchange(stream, b"hello %d" % number) == b"hello %d" % number


async def test_the_relay_leads_there_too() -> None:
    """For who only knows an address and a port; large bodies and half ends included."""
    async with program(ECHO) as (spawner, child):
        await heard(child)
        async with open_dialer(spawner, child, PORT) as dialer, trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listener.socket.getsockname()[1]
            nursery.start_soon(relay, dialer, listener)
            body = bytes(3_000_000)
            assert await exchange(await trio.open_tcp_stream("127.0.0.1", port), body) == body
            nursery.cancel_scope.cancel()


async def test_nobody_there_is_refused_as_by_any_host() -> None:
    """Before the program listens, and after it has ended; the relay closes at once."""
    async with program("import time; print('up', flush=True); time.sleep(60)") as (spawner, child):
        await heard(child)
        async with open_dialer(spawner, child, PORT) as dialer, trio.open_nursery() as nursery:
            with pytest.raises(ConnectionRefusedError):
                await dialer.dial()
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listener.socket.getsockname()[1]
            nursery.start_soon(relay, dialer, listener)
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                with trio.fail_after(PATIENCE):
                    with suppress(trio.BrokenResourceError):
                        assert not await stream.receive_some(1)
            child.kill()
            await child.wait()
            with pytest.raises(OSError, match=r"refused|unreachable"):
                await dialer.dial()
            nursery.cancel_scope.cancel()
        with pytest.raises(ConnectionRefusedError):
            await dialer.dial()


async def test_no_helper_stays_behind() -> None:
    """It ends with the block, also when dialling is cancelled in the middle."""
    async with program(ECHO) as (spawner, child):
        await heard(child)
        async with open_dialer(spawner, child, PORT) as dialer:
            with trio.CancelScope() as scope:
                scope.cancel()
                await dialer.dial()
            assert scope.cancelled_caught
            assert await exchange(await dialled(dialer), b"still") == b"still"
            assert len(spawner.children) == 2
        assert spawner.children == {child}


async def test_a_program_that_ends_at_once_is_no_riddle() -> None:
    """Without a namespace there is nothing to enter; it is an error with a sentence."""
    async with program("") as (spawner, child):
        with trio.fail_after(PATIENCE):
            await child.wait()
        with pytest.raises(Unreachable, match="ended before it began"):
            await open_dialer(spawner, child, PORT).__aenter__()


async def test_nothing_is_reached_from_inside() -> None:
    """Neither a listener on this machine nor its abstract sockets, though we reach in."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    abstract = trio.socket.socket(trio.socket.AF_UNIX)
    await abstract.bind("\0dialer-test")
    abstract.listen()
    script = f"""\
import json, socket
def tried(family, place):
    try:
        sock = socket.socket(family); sock.settimeout(3); sock.connect(place); return "reached"
    except OSError as error: return type(error).__name__
print(json.dumps([tried(socket.AF_INET, ("127.0.0.1", {port})),
                  tried(socket.AF_INET, ("8.8.8.8", 53)),
                  tried(socket.AF_UNIX, "\\0dialer-test")]), flush=True)
import time; time.sleep(60)
"""
    async with program(script) as (spawner, child):
        async with open_dialer(spawner, child, PORT):
            assert child.stdout is not None
            with trio.fail_after(PATIENCE):
                said = json.loads(await child.stdout.receive_some(1000))
        assert "reached" not in said, said
    abstract.close()
    for listener in listeners:
        await listener.aclose()
