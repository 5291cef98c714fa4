"""The ssh room's way into instances: who gets in, and what a session carries."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import pytest
import trio

from appliance.dea.errands import errand
from appliance.dea.messages_ssh import (
    BEGUN,
    CREDIT,
    END,
    ERRORS,
    EXIT,
    INPUT,
    OUTPUT,
    REFUSED,
    SIGNAL,
    SIZE,
    TAKEN,
    WANT,
    Exit,
    OpenSession,
    SessionPlace,
    Size,
    Wanted,
)
from appliance.dea.session import Wire
from appliance.kernel.bus import RequestTimeout
from appliance.kernel.bus.codec import decode, encode
from tests.dea.conftest import WEB, Droplet, World

pytestmark = pytest.mark.other_users

HUNGRY = """\
import time
taken = []
for _ in range(1000):
    taken.append(b"x" * (1 << 20))
    time.sleep(0.002)
time.sleep(60)
"""

Make = Callable[..., AbstractAsyncContextManager[World]]
SANDBOXES = ("auto", "off")


async def place(world: World, **more: Any) -> SessionPlace:
    """What the DEA answers to who wants in."""
    question = OpenSession(**{"droplet": "d1", "index": 0, **more})
    return await world.kit.request(question, SessionPlace, timeout=2)


@asynccontextmanager
async def session(world: World, ticket: str = "", **wanted: Any) -> AsyncIterator[Wire]:
    """A connection that wants something, with a new ticket unless it has one."""
    where = await place(world)
    async with await trio.open_tcp_stream(where.host, where.port) as stream:
        wire = Wire(stream)
        await wire.send(WANT, encode(Wanted(ticket=ticket or where.ticket, **wanted)))
        yield wire


async def until_exit(wire: Wire) -> tuple[dict[int, bytes], Exit | None]:
    """All that comes, by kind, and how it ended."""
    said: dict[int, bytes] = {}
    with trio.fail_after(20):
        while got := await wire.receive():
            kind, payload = got
            if kind == EXIT:
                return said, decode(payload, Exit)
            said[kind] = said.get(kind, b"") + payload
    return said, None


@pytest.fixture(params=SANDBOXES)
async def world(
    request: pytest.FixtureRequest, make_world: Make, web: Droplet
) -> AsyncIterator[World]:
    """A DEA in which an app runs, confined as this machine can, and not at all."""
    async with make_world(request.param) as one:
        one.start(one.order(web, env=["MINE=yes"]))
        await one.running()
        yield one


async def test_a_command_runs_where_the_app_does(world: World) -> None:
    """In its folder and with its environment; errors apart, and the status is its own."""
    command = "basename $PWD; echo $PORT $MINE; echo oops >&2; cat; exit 3"
    async with session(world, command=command) as wire:
        await wire.send(INPUT, b"typed\n")
        await wire.send(END)
        said, ended = await until_exit(wire)
    port = (await world.running())["port"]
    assert said[OUTPUT].decode().split() == ["app", str(port), "yes", "typed"]
    assert said[ERRORS] == b"oops\n"
    assert said[TAKEN] == b"6"
    assert BEGUN in said
    assert ended == Exit(status=3)


async def test_a_ticket_is_good_once(world: World) -> None:
    """The second who comes with it is told so; so is who has made one up."""
    ticket = (await place(world)).ticket
    async with session(world, ticket, command="true") as wire:
        assert (await until_exit(wire))[1] == Exit(status=0)
    for bad in (ticket, "0" * 32):
        async with session(world, bad, command="true") as wire:
            assert await until_exit(wire) == ({REFUSED: b"This ticket is not valid."}, None)


async def test_nobody_answers_for_what_does_not_run(world: World) -> None:
    """Another app, index or instance: silence, as other DEAs may have it."""
    for other in ({"droplet": "d2"}, {"index": 1}, {"instance": "i2"}):
        with pytest.raises(RequestTimeout):
            await world.kit.request(
                OpenSession(**{"droplet": "d1", "index": 0, **other}), SessionPlace, timeout=0.1
            )


async def test_a_shell_has_a_terminal_that_can_be_resized(world: World) -> None:
    """And a signal reaches what runs in it."""
    async with session(world, terminal=Size(columns=91, rows=17), env={"TERM": "vt100"}) as wire:
        await wire.send(INPUT, b"stty size; echo $TERM; trap 'stty size; exit 6' USR1\n")
        await wire.send(INPUT, b"sleep 60 & echo o''n; wait\n")
        shown = b""
        with trio.fail_after(20):
            while b"on\r\n" not in shown:
                got = await wire.receive()
                assert got is not None
                shown += got[1] if got[0] == OUTPUT else b""
        assert b"17 91\r\nvt100\r\n" in shown
        await wire.send(SIZE, encode(Size(columns=44, rows=11)))
        await wire.send(SIGNAL, b"USR1")
        await wire.send(SIGNAL, b"NONSENSE")
        said, ended = await until_exit(wire)
        assert b"11 44" in said[OUTPUT]
        assert ended == Exit(status=6)


async def test_a_killed_command_is_told_by_its_signal(world: World) -> None:
    """As ssh tells it."""
    async with session(world, command="kill -KILL $$") as wire:
        assert (await until_exit(wire))[1] == Exit(signal="KILL")


async def test_who_hangs_up_leaves_nobody_behind(world: World) -> None:
    """Even what has not read its input, which is all that has been sent."""
    async with session(world, command="trap '' HUP; echo $$ >../tmp/pid; sleep 4567") as wire:
        await wire.send(INPUT, bytes(60_000))
        await wire.send(INPUT, bytes(60_000))
        async with session(world, command="until [ -s ../tmp/pid ]; do sleep 0.02; done") as other:
            await until_exit(other)
    await world.wait_closed(2)
    # Whoever collects orphans on this machine may take a while.
    command = "ps -o stat= -p $(cat ../tmp/pid) | grep -v Z"
    async with session(world, command=command) as wire:
        said, ended = await until_exit(wire)
        assert OUTPUT not in said
        assert ended == Exit(status=1)


async def test_what_was_sent_arrives_though_its_sender_has_gone(world: World) -> None:
    """A program reads its input to the end before it is ended."""
    async with session(world, command="sleep 0.2; cat > ../tmp/all; mv ../tmp/all ../tmp/got") as w:
        for _ in range(4):
            await w.send(INPUT, bytes(50_000))
    await world.wait_closed(1)
    async with session(world, command="wc -c < ../tmp/got") as wire:
        said, _ = await until_exit(wire)
        assert said[OUTPUT] == b"200000\n"


async def test_more_input_than_credit_ends_the_session(world: World) -> None:
    """Nothing may pile up here without a bound."""
    async with session(world, command="sleep 60") as wire:
        with suppress(trio.BrokenResourceError):
            for _ in range(2 * CREDIT // 1000):
                await wire.send(INPUT, bytes(1000))
        await world.wait_closed(1)


@pytest.mark.parametrize("grouped", [True, False])
async def test_what_sessions_use_counts(make_world: Make, web: Droplet, grouped: bool) -> None:
    """Who visits an instance takes of its memory, whether the kernel counts that or we do."""
    async with make_world("auto", monitor=30 if grouped else 0.05) as world:
        if not grouped:
            world.kit.spawner.groups = None
        elif world.kit.spawner.groups is None:
            pytest.skip("no control groups here")
        world.start(world.order(web))
        await world.running()
        # Slowly: what is taken before it has been put into its group is not counted there.
        hungry = f"python3 -c '{HUNGRY}'"
        async with session(world, command=hungry) as wire:
            assert (await until_exit(wire))[1] in (None, Exit(signal="KILL"))
        if not grouped:  # some kernels end all of the group, some only the greediest
            assert "out of memory" in (await world.exited())["exit_description"]


async def test_sessions_end_with_their_instance(world: World) -> None:
    """Also where they are no part of its sandbox."""
    async with session(world, command="echo on; sleep 60") as wire:
        with trio.fail_after(20):
            while (await wire.receive()) != (OUTPUT, b"on\n"):
                pass
        world.kit.bus.publish("dea.stop", b'{"droplet": "d1"}')
        _, ended = await until_exit(wire)
        assert ended in (None, Exit(signal="KILL"))
    await world.exited()


async def test_a_connection_is_made_as_the_app_would(world: World) -> None:
    """To its own port; and where nobody listens, that is told."""
    port = (await world.running())["port"]
    async with session(world, connect=("localhost", port)) as wire:
        await wire.send(INPUT, b"GET /here HTTP/1.0\r\n\r\n")
        said = b""
        with trio.fail_after(20):
            while (got := await wire.receive()) and got[0] != END:
                said += got[1] if got[0] == OUTPUT else b""
        assert said.endswith(f"/here on {port}".encode())
    async with session(world, connect=("localhost", 1)) as wire:
        said_, _ = await until_exit(wire)
        assert said_[REFUSED].decode().startswith("Cannot connect to localhost:1: ")


async def test_an_isolated_instance_is_reached_in_its_own_network(
    make_world: Make, web: Droplet
) -> None:
    """By the port that it knows; and what it cannot reach, its visitors cannot."""
    async with make_world(network="isolated") as world:
        if not world.kit.spawner.sandbox.isolated:
            pytest.skip(f"no bubblewrap here: {world.kit.spawner.sandbox.reason}")
        world.start(world.order(web))
        await world.running()
        async with session(world, connect=("127.0.0.1", 8080)) as wire:
            await wire.send(INPUT, b"GET /in HTTP/1.0\r\n\r\n")
            said = b""
            with trio.fail_after(20):
                while (got := await wire.receive()) and got[0] != END:
                    said += got[1] if got[0] == OUTPUT else b""
            assert said.endswith(b"/in on 8080")
        async with session(world, connect=("192.0.2.1", 80)) as wire:
            told, _ = await until_exit(wire)
            assert b"its network is its own" in told[REFUSED]


async def test_visitors_get_the_apps_environment_as_on_cloud_foundry(
    make_world: Make, app: Callable[..., Droplet]
) -> None:
    """By the scripts that its documentation names; a shell by itself has no profiles."""
    droplet = app(WEB, **{"profile.d/mine.sh": "export FROM=profile", "app/.profile": "MORE=too"})
    launcher = "/tmp/lifecycle/launcher /home/vcap/app 'echo $FROM ${PWD##*/}; exit 3' ''"
    shell = "echo 'echo $FROM; exit 4' | /tmp/lifecycle/shell"
    async with make_world() as world:
        if not world.kit.spawner.sandbox.isolated:
            pytest.skip(f"no bubblewrap here: {world.kit.spawner.sandbox.reason}")
        world.start(world.order(droplet))
        await world.running()
        for command, said, status in (
            (launcher, b"profile app\n", 3), (shell, b"profile\n", 4), ("echo $FROM", b"\n", 0),
        ):  # fmt: skip
            async with session(world, command=command) as wire:
                heard, ended = await until_exit(wire)
                assert (heard[OUTPUT], ended) == (said, Exit(status=status))


def test_what_is_no_far_end_of_scp_is_a_command() -> None:
    """Only -t and -f are ours; a person's scp is the shell's."""
    for command in ("scp -t .", "scp -v -r -p -f 'a b' c", "scp -rt -- -x"):
        task = errand(Wanted(ticket="", command=command))
        assert task is not None
        assert task.script is not None, command
    for command in (
        "scp a b",
        "scp",
        "scp -t",
        "scp -tf x",
        "scp -S sh -t x",
        "scp '",
        "scpx -t .",
    ):
        task = errand(Wanted(ticket="", command=command))
        assert task is not None
        assert task.argv == ("/bin/bash", "-c", command)
    assert errand(Wanted(ticket="", subsystem="netconf")) is None


def test_json_keeps_what_is_wanted() -> None:
    """A connection's address crosses the wire as it is."""
    wanted = Wanted(ticket="t", connect=("localhost", 80))
    assert decode(encode(wanted), Wanted) == wanted
    assert json.loads(encode(wanted))["connect"] == ["localhost", 80]
