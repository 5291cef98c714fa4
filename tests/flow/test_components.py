"""Every room takes part in the component protocol, found by the bus alone."""

from __future__ import annotations

import json
from base64 import b64encode

import trio

from .conftest import Desk

TYPES = {"CloudController", "HealthManager", "Stager", "DEA", "Router", "Archiver", "PackageCache",
         "Registry", "LogStore", "SSH"}  # fmt: skip


async def test_each_room_is_discovered_and_shows_its_figures(desk: Desk) -> None:
    """By /varz in JSON and by /metrics for Prometheus, to those who have its login."""
    kit = desk.running.kit
    found = []
    async with kit.bus.request_many("vcap.component.discover") as answers:
        with trio.fail_after(5):
            while len(found) < len(TYPES) + 1:  # there are two archivers
                found.append(json.loads((await answers.receive()).data))
    assert {one["type"] for one in found} == TYPES
    assert len({one["uuid"] for one in found}) == len(found)

    for one in found:
        login = b64encode(":".join(one["credentials"]).encode()).decode()
        known, base = {"Authorization": f"Basic {login}"}, f"http://{one['host']}"
        varz = await kit.http.request("GET", f"{base}/varz", headers=known)
        metrics = await kit.http.request("GET", f"{base}/metrics", headers=known)
        healthz = await kit.http.request("GET", f"{base}/healthz", headers=known)
        for path in ("/varz", "/metrics"):
            assert (await kit.http.request("GET", base + path)).status == 401, one["type"]

        assert (varz.status, metrics.status, healthz.status) == (200, 200, 200), one["type"]
        assert varz.json()["type"] == one["type"]
        assert f'appliance_ready{{component="{one["type"]}"}} 1\n' in metrics.text
        assert healthz.text.strip().lower() == "ok"
