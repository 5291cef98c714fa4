"""Who gets in by ssh, and what is told to those who do not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest
import trio

from appliance.ssh import gate
from fake_controller.messages import SshAuthorized

from .conftest import Site, a_site

pytestmark = pytest.mark.other_users


@pytest.fixture
async def one() -> AsyncIterator[Site]:
    """One site, confined as this machine can."""
    async with a_site() as made:
        yield made


async def test_a_code_is_good_once(one: Site) -> None:
    """The controller is asked each time, with who wants in and from where."""
    code = one.code()
    done = await one.client(lambda connection: connection.run("echo in"), code=code)
    assert done.stdout == "in\n", done
    with pytest.raises(asyncssh.PermissionDenied):
        await one.client(lambda connection: connection.run("echo in"), code=code)
    first = one.asked[0]
    assert (first.user, first.code) == ("cf:d1/0", code)
    assert re.fullmatch(r"127\.0\.0\.1:\d+", first.client)


async def test_a_wrong_code_is_refused_with_a_reason(one: Site) -> None:
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
            "127.0.0.1", one.port, username="cf:d1/0", known_hosts=None, client_keys=None,
            config=None, agent_path=None, client_factory=Stubborn, preferred_auth="password",
        )  # fmt: skip

    with trio.fail_after(20), pytest.raises(asyncssh.DisconnectError):
        await trio.to_thread.run_sync(asyncio.run, try_all())
    assert [question.code for question in one.asked] == ["x1", "x2", "x3"]
    assert banners[0] == "The one-time code is not valid.\n"


async def test_what_the_controller_refuses_stays_closed(one: Site) -> None:
    """However right the code is."""
    one.answer = SshAuthorized(refusal="SSH is disabled for this app.")
    with pytest.raises(asyncssh.PermissionDenied):
        await one.run("true")
    assert one.happened("ssh.refused") == 1


async def test_an_instance_that_is_gone_is_told(one: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has been replaced since the login was granted."""
    monkeypatch.setattr(gate, "PLACE_SECONDS", 0.2)
    one.answer = replace(one.answer, instance="somebody-else")
    done = await one.run("true")
    assert (done.exit_status, done.stderr) == (255, "The instance does not run any more.\r\n")


async def test_the_apps_log_tells_who_came_and_went(one: Site) -> None:
    """As Cloud Foundry's own words, with SSH as their source."""
    await one.run("true")
    with trio.fail_after(20):
        while len(one.world.lines("SSH")) < 2:  # noqa: ASYNC110 (nobody tells)
            await trio.sleep(0.01)
    client = one.asked[0].client
    assert one.world.lines("SSH") == [
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


async def test_a_client_that_is_one_too_many_waits(one: Site) -> None:
    """Until another has left."""
    async with a_site(max_clients=1) as site:

        async def hold(connection: asyncssh.SSHClientConnection) -> object:
            return (await connection.run("sleep 0.2; echo done")).stdout

        async with trio.open_nursery() as visitors:
            for _ in range(3):
                visitors.start_soon(site.client, hold)
        assert len(site.asked) == 3
