"""Programs by ssh, by the asyncssh client: what people see of a session."""

from __future__ import annotations

import asyncio

import asyncssh
import pytest
import trio

from appliance.ssh import gate

from .conftest import Site

pytestmark = pytest.mark.other_users

#: For what the sandbox makes a difference to.
confined_or_not = pytest.mark.parametrize("site", ["auto", "off"], indirect=True)


@confined_or_not
async def test_a_command_has_its_streams_and_its_status(site: Site) -> None:
    """In the app's folder, with the app's environment and what the client adds."""
    done = await site.run(
        'basename "$PWD"; echo "$MINE $PORT $EXTRA"; cat; echo oops >&2; exit 42',
        input="typed",
        env={"EXTRA": "more"},
    )
    port = (await site.world.running())["port"]
    assert done.stdout == f"app\nyes {port} more\ntyped"
    assert done.stderr == "oops\n"
    assert done.exit_status == 42


async def test_a_signal_is_told(site: Site) -> None:
    """Which one ended the command."""
    done = await site.run("kill -TERM $$")
    assert done.exit_signal is not None
    assert done.exit_signal[0] == "TERM"


async def test_much_goes_both_ways(site: Site) -> None:
    """More than any buffer on the way holds, without an error."""
    data = bytes(range(256)) * 16_384  # 4 MiB
    done = await site.run("cat", input=data, encoding=None)
    assert done.stdout == data


@confined_or_not
async def test_a_shell_with_a_terminal_is_resized(site: Site) -> None:
    """Its size is the client's, and follows it."""

    async def talk(connection: asyncssh.SSHClientConnection) -> str:
        shell = await connection.create_process(
            term_type="vt220", term_size=(90, 33), encoding="utf-8"
        )
        shell.stdin.write("tty; echo $TERM; stty size; echo on''e\n")
        seen = await shell.stdout.readuntil("one\r\n")
        shell.change_terminal_size(61, 19)
        shell.stdin.write("stty size; echo tw''o; exit 9\n")
        seen += await shell.stdout.readuntil("two\r\n")
        await shell.wait_closed()
        return f"{seen} status={shell.exit_status}"

    seen = await site.client(talk)
    assert "/dev/pts/" in seen
    assert "vt220\r\n33 90\r\n" in seen
    assert "19 61\r\n" in seen
    assert seen.endswith("status=9")


async def test_several_channels_share_a_connection(site: Site) -> None:
    """Each is on its own, and one code is enough."""

    async def many(connection: asyncssh.SSHClientConnection) -> list[object]:
        commands = (f"sleep 0.0{number}; echo {number}" for number in range(4))
        done = await asyncio.gather(*(connection.run(command) for command in commands))
        return [one.stdout for one in done]

    assert await site.client(many) == ["0\n", "1\n", "2\n", "3\n"]
    assert len(site.asked) == 1


@confined_or_not
async def test_who_vanishes_leaves_nobody_behind(site: Site) -> None:
    """Their programs end, though they neither read nor write."""

    async def vanish(connection: asyncssh.SSHClientConnection) -> None:
        await connection.create_process("sleep 3456")
        shell = await connection.create_process("trap '' HUP; echo on; sleep 3457; sleep 3458")
        await shell.stdout.readline()
        connection.abort()

    await site.client(vanish)
    await site.until("session.closed", 2)
    left = await site.run("ps axo stat=,args= | grep 'sleep 345[678]' | grep -v ^Z")
    assert left.stdout == ""


async def test_a_slow_reader_gets_all_of_it(site: Site) -> None:
    """Though the program has ended long before."""

    async def read_slowly(connection: asyncssh.SSHClientConnection) -> int:
        process = await connection.create_process(
            "head -c 3000000 /dev/zero", encoding=None, window=65536
        )
        got = 0
        for pause in (0.8, *[0.0] * 1000):
            await asyncio.sleep(pause)
            chunk = await process.stdout.read(65536)
            if not chunk:
                break
            got += len(chunk)
        return got

    assert await site.client(read_slowly) == 3_000_000


@confined_or_not
async def test_connections_are_forwarded_to_the_apps_own_port(site: Site) -> None:
    """As ``ssh -L`` asks for; and nobody listening is told."""
    port = (await site.world.running())["port"]

    async def forward(connection: asyncssh.SSHClientConnection) -> bytes:
        reader, writer = await connection.open_connection("localhost", port)
        writer.write(b"GET /by-ssh HTTP/1.0\r\n\r\n")
        writer.write_eof()
        answer = await reader.read()
        with pytest.raises(asyncssh.ChannelOpenError, match="Cannot connect to localhost:1: "):
            await connection.open_connection("localhost", 1)
        return answer

    assert (await site.client(forward)).endswith(f"/by-ssh on {port}".encode())


async def test_a_forwarded_connection_ends_one_way_at_a_time(site: Site) -> None:
    """A server that has said its last word still gets all that is sent to it."""
    server = """\
import socket, time
with socket.create_server(("127.0.0.1", 0)) as listening:
    print(listening.getsockname()[1], flush=True)
    peer, _ = listening.accept()
    peer.shutdown(socket.SHUT_WR)
    time.sleep(0.3)
    got = 0
    while chunk := peer.recv(65536): got += len(chunk)
    print(got, flush=True)
"""

    async def upload(connection: asyncssh.SSHClientConnection) -> str:
        process = await connection.create_process("cat > server.py; exec python3 -u server.py")
        process.stdin.write(server)
        process.stdin.write_eof()
        port = int(await process.stdout.readline())
        reader, writer = await connection.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.write(bytes(700_000))
        writer.write_eof()
        return str(await process.stdout.readline())

    assert await site.client(upload) == "700000\n"


async def test_other_requests_are_refused_and_do_no_harm(site: Site) -> None:
    """Forwarding from the instance, an unknown subsystem, an unknown global request."""

    async def ask(connection: asyncssh.SSHClientConnection) -> str:
        with pytest.raises(asyncssh.ChannelListenError):
            await connection.forward_remote_port("", 0, "localhost", 1)
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.create_session(asyncssh.SSHClientSession, subsystem="netconf")
        keepalive = b"keepalive@cloudfoundry.org"
        await asyncio.wait_for(connection._make_global_request(keepalive), 10)
        return str((await connection.run("echo still")).stdout)

    assert await site.client(ask) == "still\n"


@confined_or_not
async def test_sessions_end_with_their_instance(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is told, and its connection then leads nowhere."""
    monkeypatch.setattr(gate, "PLACE_SECONDS", 0.2)
    token, bus = trio.lowlevel.current_trio_token(), site.world.kit.bus

    async def stay(connection: asyncssh.SSHClientConnection) -> tuple[object, int | None, object]:
        process = await connection.create_process("echo on; sleep 60")
        await process.stdout.readline()
        token.run_sync_soon(bus.publish, "dea.stop", b'{"droplet": "d1"}')
        await process.wait_closed()
        late = await connection.run("true")
        return process.exit_signal, late.exit_status, late.stderr

    signal, status, said = await site.client(stay)
    assert signal is not None
    assert status == 255
    assert said == "The instance does not run any more.\r\n"
