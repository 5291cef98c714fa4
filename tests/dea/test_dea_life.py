"""From a start order to running and to every kind of end, as others see it on the bus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import trio

from appliance.dea.messages import Stop


async def test_runs_and_answers_on_its_port(world: Any, web: Any) -> None:
    """The order of the wire is reservation, STARTING, RUNNING, route; then it answers."""
    world.start(world.order(web))
    route = await world.running()
    answer = await world.kit.http.request("GET", f"http://{route['host']}:{route['port']}/x")
    assert answer.text == f"/x on {route['port']}"
    subjects = world.subjects()
    told = subjects[subjects.index(f"dea.{world.dea}.start") :]
    assert told[1:5] == ["dea.advertise", "dea.heartbeat", "dea.heartbeat", "router.register"]
    states = [body["droplets"][0]["state"] for name, body in world.heard if name == "dea.heartbeat"]
    assert states[:2] == ["STARTING", "RUNNING"]
    assert route["uris"] == ["hello.apps.localhost"]
    assert len(route["private_instance_id"]) == 64
