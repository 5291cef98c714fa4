"""NATS clients from outside take part in a whole appliance."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import trio

from appliance.boot import anywhere, running
from appliance.config import Config, NatsConfig
from tests.certificates import make_certificates
from tests.contract.wire_clients import PATIENCE, Raw, connect

from .conftest import Desk


async def test_a_client_watches_and_asks_the_rooms() -> None:
    """It hears who is there, and is let go when the appliance stops."""
    async with running() as appliance:
        stream = await connect(appliance.endpoints.nats)
        client = Raw(stream)
        # Without headers, which would stand between the lines.
        await client.say(b'CONNECT {"verbose":false}\r\n')
        await client.say(b"SUB > 1\r\nPUB vcap.component.discover _INBOX.me 0\r\n\r\n")
        types = set()
        with trio.fail_after(PATIENCE):
            while not {"DEA", "Router", "Stager", "HealthManager"} <= types:
                await client.hear(b"MSG _INBOX.me 1 ")
                await client.hear(b"\r\n")
                types.add(json.loads(await client.hear(b"\r\n"))["type"])
        assert appliance.trace_log.latest("client.connected") is not None
        varz = await appliance.kit.http.request("GET", f"{appliance.endpoints.nats_monitor}/varz")
        assert varz.json()["connections"] == 1
    await client.rest()
    await stream.aclose()


async def test_who_knows_no_login_stays_outside() -> None:
    """The endpoint has it, so that commands get in."""
    config = anywhere(Config(nats=NatsConfig(user="ann", password="secret")))
    async with running(config) as appliance:
        assert appliance.endpoints.nats.startswith("nats://ann:secret@127.0.0.1:")
        async with await connect(appliance.endpoints.nats) as stream:
            client = Raw(stream)
            await client.say(b"SUB > 1\r\n")
            assert b"Authorization Violation" in await client.rest()


async def test_commands_come_by_tls(tmp_path: Path) -> None:
    """With the authority's certificate in their settings, and not without."""
    certificates = make_certificates(tmp_path)
    nats = NatsConfig(tls_cert=certificates.server, tls_key=certificates.server_key, token="t")
    async with running(anywhere(Config(nats=nats))) as appliance:
        desk = Desk(appliance, str(tmp_path))
        assert appliance.endpoints.nats.startswith("tls://t@127.0.0.1:")
        words = ("bus", "request", "vcap.component.discover", "{}", "--output", "json")
        target = {"APPLIANCE_API": appliance.endpoints.api, "XDG_RUNTIME_DIR": str(tmp_path)}
        appliance.endpoints.write(tmp_path / "appliance" / "endpoints.json")

        trusting = await desk.cli(
            *words, env=target | {"APPLIANCE_NATS_CLIENT_CA": str(certificates.ca)}
        )
        careful = await desk.cli(*words, env=target)

        assert trusting.status == 0, trusting.err
        assert trusting.json["data"]["uuid"]
        assert careful.status != 0
        assert "certificate verify failed" in careful.out + careful.err


async def test_the_listener_can_be_left_out() -> None:
    """Then there is no endpoint either."""
    config = anywhere(Config())
    config = replace(config, nats=replace(config.nats, bind="", monitor_bind=""))
    async with running(config) as appliance:
        assert appliance.endpoints.nats == appliance.endpoints.nats_monitor == ""
