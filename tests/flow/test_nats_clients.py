"""NATS clients from outside take part in a whole appliance."""

from __future__ import annotations

import json
from dataclasses import replace

import trio

from appliance.boot import anywhere, running
from appliance.config import Config, NatsConfig
from tests.contract.wire_clients import PATIENCE, Raw, connect


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


async def test_the_listener_can_be_left_out() -> None:
    """Then there is no endpoint either."""
    config = anywhere(Config())
    config = replace(config, nats=replace(config.nats, bind="", monitor_bind=""))
    async with running(config) as appliance:
        assert appliance.endpoints.nats == appliance.endpoints.nats_monitor == ""
