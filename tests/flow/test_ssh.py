"""A person's way by ssh, from the root document to the app's own folder."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncssh
import pytest
import trio

from .conftest import Desk

pytestmark = pytest.mark.other_users


async def test_a_pushed_app_is_visited(desk: Desk) -> None:
    """As ``cf ssh`` does it: link, fingerprint, code, command; its log tells of the visit."""
    assert (await desk.cli("push", "hello", Path("sample_apps/python-hello"))).status == 0
    client, api = desk.running.kit.http, desk.running.endpoints.api
    link = (await client.request("GET", f"{api}/")).json()["links"]["app_ssh"]
    assert f"ssh://{link['href']}" == desk.running.endpoints.ssh
    grant = f"{api}/oauth/token?grant_type=password&username=admin&password=admin"
    token = (await client.request("POST", grant)).json()["access_token"]
    login = {"Authorization": f"bearer {token}"}
    query = f"client_id={link['meta']['oauth_client']}&response_type=code"
    answer = await client.request("GET", f"{api}/oauth/authorize?{query}", headers=login)
    (code,) = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
    apps = await client.request("GET", f"{api}/v3/apps?names=hello", headers=login)
    guid = apps.json()["resources"][0]["guid"]

    async def visit() -> tuple[str, object]:
        host, _, port = link["href"].rpartition(":")
        async with asyncssh.connect(
            host, int(port), username=f"cf:{guid}/0", password=code, known_hosts=None,
            client_keys=None, config=None, agent_path=None,
        ) as connection:  # fmt: skip
            key = connection.get_server_host_key()
            assert key is not None
            done = await connection.run("ls; echo $VCAP_APPLICATION | cut -c1-1; echo $HOME")
            return key.get_fingerprint(), done.stdout

    with trio.fail_after(20):
        fingerprint, said = await trio.to_thread.run_sync(asyncio.run, visit())
    assert fingerprint == f"SHA256:{link['meta']['host_key_fingerprint']}"
    *files, brace, home = str(said).split()
    assert "app.py" in files
    assert brace == "{"
    assert home.endswith("/app")
    log = (await desk.cli("logs", "hello", "--recent")).out
    assert "Successful remote access by 127.0.0.1:" in log
