"""The component protocol: announce once, answer discover, guard /varz and /healthz."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pytest
import trio

from appliance.kernel.bus.local import LocalBus
from appliance.kernel.component import (
    Announce,
    Component,
    DiscoverComponents,
    format_uptime,
    serve_component,
    without_secrets,
)
from appliance.kernel.http.client import Client
from appliance.kernel.kit import Kit
from appliance.kernel.process.spawner import Spawner
from appliance.kernel.trace import Trace


@asynccontextmanager
async def a_kit() -> AsyncIterator[Kit]:
    """A kit on a bus of its own; components make no children."""
    http, bus = Client(), LocalBus()
    kit = Kit(room="dea", bus=bus, http=http, spawner=cast(Spawner, None), trace=Trace("dea", []))
    yield kit
    kit.stopping.set()
    await http.aclose()
    await bus.aclose()


async def discover(kit: Kit) -> dict[str, Any]:
    """One component's answer, as the JSON of the wire."""
    message = await kit.bus.request(DiscoverComponents.subject, b"", timeout=2)
    answer: dict[str, Any] = json.loads(message.data)
    return answer


async def test_announces_once_with_the_fields_of_2012() -> None:
    """type, index, uuid, host, credentials and start, and no uptime yet."""
    async with a_kit() as kit, trio.open_nursery() as nursery:
        async with kit.subscribe(Announce) as heard:
            await nursery.start(Component(kit, "DEA", index=3).run, "http://127.0.0.1:1234")
            announced = (await heard.__anext__()).body
        nursery.cancel_scope.cancel()
    assert (announced.type, announced.index, announced.host) == ("DEA", 3, "127.0.0.1:1234")
    assert announced.uuid.startswith("3-")
    assert len(announced.uuid) == 2 + 32
    assert [len(part) for part in announced.credentials] == [32, 32]
    assert announced.uptime is None


async def test_answers_discover_with_its_announcement_and_its_uptime() -> None:
    """An empty request is what the original tools send; the answer repeats the identity."""
    async with a_kit() as kit, trio.open_nursery() as nursery:
        async with kit.subscribe(Announce) as heard:
            await nursery.start(Component(kit, "Stager").run, "http://127.0.0.1:1")
            announced = (await heard.__anext__()).body
        first, second = await discover(kit), await discover(kit)
        nursery.cancel_scope.cancel()
    assert first["uptime"] == "0d:0h:0m:0s"
    assert first["uuid"] == second["uuid"] == announced.uuid
    assert first["credentials"] == announced.credentials
    assert len(first["uuid"]) == 32


@asynccontextmanager
async def serving(kit: Kit, **options: Any) -> AsyncIterator[tuple[str, str]]:
    """A served component: its URL, and the value of Authorization that it wants."""
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(serve_component, kit, "DEA", **options))
        user, password = (await discover(kit))["credentials"]
        yield url, "Basic " + b64encode(f"{user}:{password}".encode()).decode()
        nursery.cancel_scope.cancel()


async def test_varz_tells_identity_figures_and_specifics_without_secrets() -> None:
    """The controller's tools read it; a password in it would leak to whoever logs it."""
    config = {"heartbeat": 10, "mbus": "nats://u:p@h", "deep": [{"password": "x", "mem": 1}]}
    async with (
        a_kit() as kit,
        serving(kit, config=config, varz=lambda: {"num_apps": 2, "token": "t"}) as (url, auth),
    ):
        answer = await kit.http.request("GET", f"{url}/varz", headers={"Authorization": auth})
    body = answer.json()
    assert answer.status == 200
    assert body["type"] == "DEA"
    assert f"http://{body['host']}" == url
    assert body["num_apps"] == 2
    assert body["config"] == {"heartbeat": 10, "deep": [{"mem": 1}]}
    assert body["mem"] > 1000
    assert body["num_cores"] >= 1
    assert "credentials" not in body
    assert "token" not in body


async def test_healthz_says_ok_when_the_room_is_ready() -> None:
    """503 until then, so that a starting component is not used."""
    async with a_kit() as kit, serving(kit) as (url, auth):
        before = await kit.http.request("GET", f"{url}/healthz", headers={"Authorization": auth})
        kit.health.mark("dea", "ready")
        after = await kit.http.request("GET", f"{url}/healthz", headers={"Authorization": auth})
    assert (before.status, after.status, after.body) == (503, 200, b"ok\n")


async def test_metrics_are_the_numbers_of_varz_for_prometheus() -> None:
    """Counters are told from gauges; what is no number is left out."""
    figures = {"requests": 7, "num_apps": 2, "state": "RUNNING", "runtimes": ["ruby"]}
    async with (
        a_kit() as kit,
        serving(kit, varz=lambda: figures, counters=("requests",)) as (url, auth),
    ):
        kit.health.mark("dea", "ready")
        answer = await kit.http.request("GET", f"{url}/metrics", headers={"Authorization": auth})
    lines = answer.text.splitlines()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "# TYPE appliance_dea_requests_total counter" in lines
    assert 'appliance_dea_requests_total{component="DEA"} 7' in lines
    assert 'appliance_dea_num_apps{component="DEA"} 2' in lines
    assert 'appliance_ready{component="DEA"} 1' in lines
    assert 'appliance_bus_connected{component="DEA"} 1' in lines
    assert any(line.startswith("appliance_process_memory_bytes") for line in lines)
    assert "RUNNING" not in answer.text
    assert "ruby" not in answer.text


async def test_a_login_that_was_set_is_used() -> None:
    """And announced; so a monitor need not listen on the bus to be let in."""
    async with a_kit() as kit:
        known = replace(kit, status_login=("monitor", "secret"))
        async with serving(known) as (url, auth):
            answer = await kit.http.request("GET", f"{url}/varz", headers={"Authorization": auth})
    assert auth == "Basic " + b64encode(b"monitor:secret").decode()
    assert answer.status == 200


@pytest.mark.parametrize("path", ["/varz", "/healthz", "/metrics"])
async def test_refuses_whoever_lacks_the_credentials(path: str) -> None:
    """No credentials and wrong ones are both 401."""
    async with a_kit() as kit, serving(kit) as (url, _):
        none = await kit.http.request("GET", url + path)
        wrong = await kit.http.request("GET", url + path, headers={"Authorization": "Basic eDp5"})
    assert (none.status, wrong.status) == (401, 401)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0d:0h:0m:0s"), (4.9, "0d:0h:0m:4s"), (93_784, "1d:2h:3m:4s")],
)
def test_uptime_is_written_as_the_original_does(seconds: float, text: str) -> None:
    """Whole days, hours, minutes and seconds."""
    assert format_uptime(seconds) == text


def test_secrets_go_at_every_level_and_out_of_urls() -> None:
    """By key, by the ending of a key, and by the user part of any URL."""
    value = {
        "bulk_password": "a",
        "keys": {"k": 1},
        "archivers": ("http://user:pass@127.0.0.1:7760",),
        "nested": {"client_secret": "b", "kept": True},
    }
    assert without_secrets(value) == {
        "archivers": ["http://127.0.0.1:7760"],
        "nested": {"kept": True},
    }
