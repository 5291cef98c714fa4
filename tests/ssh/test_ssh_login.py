"""Who gets in by ssh, and what is told to those who do not."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import asyncssh
import pytest
import trio
from msgspec import structs

from appliance.ssh import gate
from fake_controller.messages import SshAuthorized

from .conftest import Site, a_site

pytestmark = pytest.mark.other_users


async def test_a_code_is_good_once(site: Site) -> None:
    """The controller is asked each time, with who wants in and from where."""
    code = site.code()
    done = await site.client(lambda connection: connection.run("echo in"), code=code)
    assert done.stdout == "in\n", done
    with pytest.raises(asyncssh.PermissionDenied):
        await site.client(lambda connection: connection.run("echo in"), code=code)
    first = site.asked[0]
    assert (first.user, first.code) == ("cf:d1/0", code)
    assert re.fullmatch(r"127\.0\.0\.1:\d+", first.client)


async def test_a_wrong_code_is_refused_with_a_reason(site: Site) -> None:
    """In a banner, which ssh shows; after a few codes the client is sent away."""
    tries = iter(["x1", "x2", "x3", "x4"])
    banners: list[str] = []

    class Stubborn(asyncssh.SSHClient):
        def password_auth_requested(self) -> str | None:
            return next(tries, None)

        def auth_banner_received(self, msg: str, lang: str) -> None:
            banners.append(msg)

    async def try_all() -> None:
        await asyncssh.connect(
            "127.0.0.1", site.port, username="cf:d1/0", known_hosts=None, client_keys=None,
            config=None, agent_path=None, client_factory=Stubborn, preferred_auth="password",
        )  # fmt: skip

    with trio.fail_after(20), pytest.raises(asyncssh.DisconnectError):
        await trio.to_thread.run_sync(asyncio.run, try_all())
    assert [question.code for question in site.asked] == ["x1", "x2", "x3"]
    assert banners[0] == "The one-time code is not valid.\n"


async def test_what_the_controller_refuses_stays_closed(site: Site) -> None:
    """However right the code is."""
    site.answer = SshAuthorized(refusal="SSH is disabled for this app.")
    with pytest.raises(asyncssh.PermissionDenied):
        await site.run("true")
    assert site.happened("ssh.refused") == 1


async def test_an_instance_that_is_gone_is_told(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has been replaced since the login was granted."""
    monkeypatch.setattr(gate, "PLACE_SECONDS", 0.2)
    site.answer = structs.replace(site.answer, instance="somebody-else")
    done = await site.run("true")
    assert (done.exit_status, done.stderr) == (255, "The instance does not run any more.\r\n")


async def test_the_apps_log_tells_who_came_and_went(site: Site) -> None:
    """As Cloud Foundry's own words, with SSH as their source."""
    await site.run("true")
    with trio.fail_after(20):
        while len(site.world.lines("SSH")) < 2:  # noqa: ASYNC110 (nobody tells)
            await trio.sleep(0.01)
    client = site.asked[0].client
    assert site.world.lines("SSH") == [
        f"Successful remote access by {client}",
        f"Remote access ended for {client}",
    ]


async def test_the_key_is_the_one_that_is_told_and_is_kept(tmp_path: Path) -> None:
    """A client that compares fingerprints is content, also after a restart."""
    told = []
    for _ in range(2):
        async with a_site(root=tmp_path / "ssh") as site:
            told.append(site.about.fingerprint)
            assert site.about.port == site.port
            assert site.about.host == "127.0.0.1"

            async def fingerprint(connection: asyncssh.SSHClientConnection) -> str:
                key = connection.get_server_host_key()
                assert key is not None
                return key.get_fingerprint()

            assert await site.client(fingerprint) == f"SHA256:{told[-1]}"
    assert len(told[0]) == 43
    assert told[0] == told[1]
    key = tmp_path / "ssh" / "host_key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_bytes().startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----\n")


async def test_a_client_that_is_one_too_many_waits() -> None:
    """Until another has left."""
    async with a_site(max_clients=1) as site:

        async def hold(connection: asyncssh.SSHClientConnection) -> object:
            return (await connection.run("sleep 0.2; echo done")).stdout

        async with trio.open_nursery() as visitors:
            for _ in range(3):
                visitors.start_soon(site.client, hold)
        assert len(site.asked) == 3


async def test_what_is_no_ssh_client_does_no_harm(site: Site) -> None:
    """Who says nothing, something else, or half of it; others are served meanwhile and after."""
    for said in (
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"SSH-2.0-x\r\n" + bytes(4000),
        b"SSH-",
    ):
        stream = await trio.open_tcp_stream("127.0.0.1", site.port)
        if said:
            await stream.send_all(said)
        assert (await stream.receive_some(100)).startswith(b"SSH-2.0-")
        done = await site.run("echo served")
        assert done.stdout == "served\n"
        await trio.aclose_forcefully(stream)
    assert (await site.run("echo after")).stdout == "after\n"
    assert site.happened("ssh.broken")


async def test_clients_are_told_when_the_room_stops() -> None:
    """At once, whatever they are doing."""
    ended = trio.Event()

    async def stay(connection: asyncssh.SSHClientConnection) -> None:
        process = await connection.create_process("sleep 60")
        await process.wait_closed()
        assert process.exit_status is None
        await connection.wait_closed()

    async def visit(site: Site) -> None:
        await site.client(stay)
        ended.set()

    async with trio.open_nursery() as nursery, a_site() as site:
        nursery.start_soon(visit, site)
        await site.until("session.opened")
        with trio.fail_after(10):
            site.stop()
            await ended.wait()
