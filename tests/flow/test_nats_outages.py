"""A whole appliance on a real NATS server that is killed under load, and comes back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from appliance.boot import anywhere, running
from appliance.config import Config, DeaConfig, HealthManagerConfig
from tests.nats_server import NatsServer
from tests.person import Person

from .conftest import Desk

PUSHES = 4
SAID = {"dea.start", "dea.advertise", "router.start", "healthmanager.start"}
#: Nothing here comes at its own time within the test: only the outage makes it come.
CONFIG = Config(
    dea=DeaConfig(heartbeat=600, advertise=600, register=600),
    health_manager=HealthManagerConfig(dea_timeout=2000, grace=1, look_every=600),
)


def on(server: NatsServer, config: Config) -> Config:
    """*config* with its bus at *server*, on free ports."""
    return anywhere(replace(config, bus=server.url))


async def test_rooms_speak_up_when_the_server_is_back(nats_server: NatsServer) -> None:
    """DEAs say that they are there, and what they have; routers ask for routes."""
    async with running(on(nats_server, CONFIG)) as appliance:
        heard: set[str] = set()
        async with appliance.kit.bus.subscribe(">") as everything:
            nats_server.kill()
            await trio.to_thread.run_sync(nats_server.start)
            with trio.fail_after(15):
                async for message in everything:
                    heard.add(message.subject)
                    if {
                        "dea.start",
                        "dea.advertise",
                        "router.start",
                        "healthmanager.start",
                    } <= heard:
                        break
        trace = appliance.trace_log
        assert trace.latest("bus.disconnected") is not None
        assert trace.latest("bus.reconnected") is not None


async def test_nothing_that_was_acknowledged_is_lost(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """Apps that ran answer all the time, and each push comes to its end and answers, too."""
    async with running(on(nats_server, Config())) as appliance:
        desk = Desk(appliance, str(tmp_path))
        person = Person(appliance.endpoints.api, appliance.kit.http)
        await person.login()
        await person.push("before", tmp_path)
        while (await desk.get("before.apps.localhost")).status != 200:
            await trio.lowlevel.checkpoint()
        asked = 0

        async def keep_asking() -> None:
            nonlocal asked
            while True:
                assert (await desk.get("before.apps.localhost")).status == 200
                asked += 1

        async with trio.open_nursery() as asking:
            asking.start_soon(keep_asking)
            async with trio.open_nursery() as pushing:
                for number in range(PUSHES):
                    pushing.start_soon(person.push, f"app-{number}", tmp_path)
                for _ in range(3):
                    await trio.sleep(0.1)
                    nats_server.kill()
                    await trio.to_thread.run_sync(nats_server.start)
            asking.cancel_scope.cancel()
        assert asked > 10
        for number in range(PUSHES):
            with trio.fail_after(30):
                while (await desk.get(f"app-{number}.apps.localhost")).status != 200:
                    await trio.lowlevel.checkpoint()


async def test_a_request_during_an_outage_ends_with_a_sentence(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with silence, and not with a traceback."""
    monkeypatch.setattr("fake_controller.http.log_cache.TIMEOUT", 0.5)
    async with running(on(nats_server, Config())) as appliance:
        nats_server.kill()
        person = Person(appliance.endpoints.api, appliance.kit.http)
        await person.login()
        app = await person.app("hello")
        answer = await person.raw("GET", f"/api/v1/read/{app}")
        ready = await person.raw("GET", "/readyz")
        assert ready.status == 503
        assert ready.json()["bus"]["state"] == "unhealthy"
        assert answer.status == 503
        assert "log store does not answer" in json.dumps(answer.json())
        await trio.to_thread.run_sync(nats_server.start)
        await appliance.kit.bus.flush()
        assert (await person.raw("GET", f"/api/v1/read/{app}")).status == 200
        with trio.fail_after(15):
            while (await person.raw("GET", "/readyz")).status != 200:
                await trio.lowlevel.checkpoint()
