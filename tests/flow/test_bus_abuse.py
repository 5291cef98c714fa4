"""What strangers publish: nothing of it stops a room, silences the others, or stays in memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import nats
import pytest
import trio

from appliance.boot import Running, anywhere, running
from appliance.config import Config
from appliance.kernel.bus import Bus, NoResponders, PayloadTooLarge, RequestTimeout
from appliance.kernel.bus.nats import open_nats_bus
from tests.nats_server import NatsServer
from tests.person import Person

from .conftest import Desk

#: What the rooms listen to.
SUBJECTS = (
    "staging", "staging.task.x", "dea.discover", "dea.status", "dea.stop", "dea.update",
    "dea.locate", "dea.find.droplet", "dea.heartbeat", "dea.advertise", "dea.start",
    "droplet.status", "droplet.exited", "droplet.updated", "router.register",
    "router.unregister", "router.greet",
    "router.start", "healthmanager.start", "healthmanager.status", "healthmanager.health",
    "cloudcontrollers.hm.requests.default", "cloudcontroller.bulk.credentials.default",
    "logs.lines.x", "logs.read", "vcap.component.announce", "vcap.component.discover",
    "archiver.droplet.stored",
)  # fmt: skip
NOT_JSON = (b"", b"{", b"\xff\xfe", b"null", b"[]", b'"text"', b"12", b"{}", b"[" * 50_000)
#: Every field that any message has, with values that it never has.
FIELDS = (
    "app_id", "download_uri", "upload_uri", "properties", "droplet", "droplets", "limits", "uris",
    "host", "port", "instance", "instances", "index", "indices", "version", "reason", "op",
    "source", "lines", "state", "dea", "sha1",
)  # fmt: skip
WRONG_TYPES = tuple(
    json.dumps(dict.fromkeys(FIELDS, value)).encode()
    for value in ({"a": []}, 10**40, -1, "\u0000\ud800")
)


async def shower(bus: Bus, dea: str) -> None:
    """All of it on every subject, without a reply subject, and with one that leads nowhere."""
    for subject in (*SUBJECTS, f"dea.{dea}.start"):
        for data in (*NOT_JSON, *WRONG_TYPES):
            bus.publish(subject, data)
            bus.publish(subject, data, reply="nobody.listens.there")
    await bus.flush()


def on(kind: str, request: pytest.FixtureRequest) -> Config:
    """An appliance's settings, with its bus in itself or on a real NATS server."""
    if kind == "nats-server":
        server: NatsServer = request.getfixturevalue("nats_server")
        return anywhere(Config(bus=server.url))
    return anywhere(Config())


@pytest.mark.parametrize("kind", ["local", "listener", "nats-server"])
async def test_no_room_minds_what_is_no_message(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Not JSON, missing fields, wrong types, replies to nowhere; then a push works as ever."""
    async with running(on(kind, request)) as appliance:
        dea = json.loads((await appliance.kit.bus.request("dea.status", b"{}", timeout=5)).data)[
            "id"
        ]
        if kind == "local":
            await shower(appliance.kit.bus, dea)
        else:
            async with open_nats_bus([appliance.endpoints.nats]) as stranger:
                await shower(stranger, dea)
        await answered(appliance)
        assert appliance.health.ready(), appliance.health.report()
        person = Person(appliance.endpoints.api, appliance.kit.http)
        await person.login()
        await person.push("hello", tmp_path)
        desk = Desk(appliance, str(tmp_path))
        with trio.fail_after(20):
            while (await desk.get("hello.apps.localhost")).status != 200:
                await trio.lowlevel.checkpoint()


async def answered(appliance: Running) -> None:
    """Who asks nonsense with a reply subject is told so, where the original kept silent."""
    for subject, data in (
        ("staging", b"{"), ("staging", b"{}"), ("staging", WRONG_TYPES[0]),
        ("dea.discover", b"{"), ("dea.find.droplet", b"[]"), ("healthmanager.status", b"7"),
    ):  # fmt: skip
        reply = await appliance.kit.bus.request(subject, data, timeout=10)
        error = json.loads(reply.data)["error"]
        assert error, subject


async def test_ten_megabytes_are_refused_on_every_way_in(
    nats_server: NatsServer, desk: Desk
) -> None:
    """In process, by the listener, and by a real server: the sender is told, all go on."""
    payload = bytes(10 * 1024 * 1024)
    with pytest.raises(PayloadTooLarge):
        desk.running.kit.bus.publish("staging", payload)
    for url in (desk.running.endpoints.nats, nats_server.url):
        async with open_nats_bus([url]) as bus:
            with pytest.raises(PayloadTooLarge):
                bus.publish("staging", payload)
        await trio.to_thread.run_sync(_plain_client, url, payload)
    assert (await desk.running.kit.bus.request("dea.status", b"{}", timeout=5)).data


def _plain_client(url: str, payload: bytes) -> None:
    """nats-py by itself knows the limit from INFO."""
    import asyncio

    async def main() -> None:
        client = await nats.connect(url)
        with pytest.raises(nats.errors.MaxPayloadError):
            await client.publish("staging", payload)
        await client.close()

    asyncio.run(main())


async def test_strangers_leave_no_memory_behind(desk: Desk) -> None:
    """A thousand of each: half frames, unknown subjects, requests that nobody answers."""
    bus: Any = desk.running.kit.bus
    url = desk.running.endpoints.nats.removeprefix("nats://")
    host, _, port = url.rpartition(":")

    async def misbehave(rounds: int) -> None:
        for number in range(rounds):
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                await stream.send_all(
                    b'CONNECT {"verbose":false}\r\nSUB x.%d 1\r\nPUB y.%d 5\r\nhello\r\n'
                    b"PUB half.%d 900000\r\n" % (number, number, number) + bytes(50_000)
                )
                await stream.send_eof()
                async for _ in stream:
                    pass
            with pytest.raises((NoResponders, RequestTimeout)):
                await bus.request(f"nobody.{number}", bytes(1000), timeout=0)
            async with bus.request_many("dea.status", b"{}"):
                pass

    await misbehave(50)
    tracemalloc.start()
    try:
        await misbehave(20)
        before, _ = tracemalloc.get_traced_memory()
        await misbehave(300)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # What is remembered about subjects is bounded, and the trace keeps so many events.
    assert after - before < 1_500_000, after - before
