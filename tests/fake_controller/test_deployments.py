"""Deployments and revisions, as clients see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from .conftest import Cloud, Dea, Stager


async def started(cloud: Cloud, tmp_path: Path, instances: int = 1) -> str:
    """A running app."""
    app = await cloud.app()
    droplet = await cloud.staged(app, tmp_path)
    current = f"/v3/apps/{app}/relationships/current_droplet"
    await cloud.call("PATCH", current, {"data": {"guid": droplet}}, expect=200)
    scale = f"/v3/apps/{app}/processes/web/actions/scale"
    await cloud.call("POST", scale, {"instances": instances}, expect=202)
    await cloud.call("POST", f"/v3/apps/{app}/actions/start", expect=200)
    await cloud.until_states(app, *["RUNNING"] * instances)
    return app


async def deploy(cloud: Cloud, app: str, **more: Any) -> str:
    """The guid of a new deployment of *app*."""
    body = {"relationships": {"app": {"data": {"guid": app}}}} | more
    return str((await cloud.call("POST", "/v3/deployments", body, expect=201))["guid"])


async def until(cloud: Cloud, guid: str, reason: str) -> Any:
    """The deployment, once its reason is *reason*."""
    with trio.fail_after(10):
        while True:
            deployment = await cloud.call("GET", f"/v3/deployments/{guid}", expect=200)
            if deployment["status"]["reason"] == reason:
                return deployment


async def webs(cloud: Cloud, app: str) -> list[int]:
    """How many instances each web process of *app* has, the oldest first."""
    found = await cloud.call("GET", f"/v3/apps/{app}/processes?types=web", expect=200)
    return [process["instances"] for process in found["resources"]]


async def test_a_canary_waits_at_each_step(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """It goes on when it is told to, and after its last step to the end."""
    app = await started(cloud, tmp_path, instances=4)
    canary = {"steps": [{"instance_weight": 25}, {"instance_weight": 50}]}

    guid = await deploy(cloud, app, strategy="canary", options={"canary": canary})

    first = await until(cloud, guid, "PAUSED")
    assert first["status"]["canary"] == {"steps": {"current": 1, "total": 2}}
    assert await webs(cloud, app) == [4, 1]
    await cloud.call("POST", f"/v3/deployments/{guid}/actions/continue", expect=200)
    second = await until(cloud, guid, "PAUSED")
    assert second["status"]["canary"] == {"steps": {"current": 2, "total": 2}}
    assert await webs(cloud, app) == [3, 2]
    await cloud.call("POST", f"/v3/deployments/{guid}/actions/continue", expect=200)
    await until(cloud, guid, "DEPLOYED")
    assert await webs(cloud, app) == [4]


async def test_a_canary_that_is_cancelled_is_gone(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """The old process has all of its instances, and there is no other."""
    app = await started(cloud, tmp_path, instances=2)
    guid = await deploy(cloud, app, strategy="canary")
    await until(cloud, guid, "PAUSED")

    await cloud.call("POST", f"/v3/deployments/{guid}/actions/cancel", expect=200)

    await until(cloud, guid, "CANCELED")
    assert await webs(cloud, app) == [2]
    again = await cloud.raw("POST", f"/v3/deployments/{guid}/actions/continue")
    assert again.status == 422


async def test_a_deployment_scales_the_new_process(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """Limits and instances that travel with it count from its first instance on."""
    app = await started(cloud, tmp_path, instances=2)

    options = {"memory_in_mb": 64, "web_instances": 3, "max_in_flight": 2}
    guid = await deploy(cloud, app, strategy="rolling", options=options)

    deployment = await until(cloud, guid, "DEPLOYED")
    web = await cloud.call("GET", f"/v3/processes/{deployment['new_processes'][0]['guid']}")
    assert (web["instances"], web["memory_in_mb"]) == (3, 64)
    assert deployment["options"]["max_in_flight"] == 2
    assert {order.limits.mem for order in dea.starts[2:]} == {64}


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"strategy": "big-bang"}, "'big-bang' is not a supported deployment strategy"),
        ({"options": {"max_in_flight": 0}}, "Max in flight must be an integer greater than 0"),
        ({"options": {"canary": {}}}, "are only valid for Canary deployments"),
        (
            {"strategy": "canary", "options": {"canary": {"steps": [{"instance_weight": 101}]}}},
            "must be an Integer between 1-100 (inclusive)",
        ),
        ({"droplet": {"guid": "x"}, "revision": {"guid": "y"}}, "Cannot set both fields"),
        ({"droplet": {"guid": "x"}}, "Unable to assign current droplet."),
        ({"revision": {"guid": "x"}}, "The revision does not exist"),
        ({"options": {"speed": 3}}, "speed"),
    ],
)
async def test_what_cannot_be_deployed_is_said(
    cloud: Cloud, more: dict[str, Any], text: str
) -> None:
    """Each mistake has its sentence."""
    body = {"relationships": {"app": {"data": {"guid": await cloud.app()}}}} | more

    answer = await cloud.raw("POST", "/v3/deployments", body)

    assert answer.status == 422
    assert text in answer.json()["errors"][0]["detail"]


async def test_each_difference_makes_a_revision(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """Starting the same again makes none; a variable or a command does, and says so."""
    app = await started(cloud, tmp_path)
    restart = f"/v3/apps/{app}/actions/restart"
    await cloud.call("POST", restart, expect=200)
    path = f"/v3/apps/{app}/environment_variables"
    await cloud.call("PATCH", path, {"var": {"A": "1"}}, expect=200)
    await cloud.call("POST", restart, expect=200)
    await cloud.call("PATCH", f"/v3/processes/{app}", {"command": "./other"}, expect=200)
    await cloud.call("POST", restart, expect=200)

    found = (await cloud.call("GET", f"/v3/apps/{app}/revisions"))["resources"]
    deployed = (await cloud.call("GET", f"/v3/apps/{app}/revisions/deployed"))["resources"]

    assert [(one["version"], one["description"]) for one in found] == [
        (1, "Initial revision."),
        (2, "New environment variables deployed."),
        (3, "Custom start command added for 'web' process."),
    ]
    assert [one["version"] for one in deployed] == [3]


async def test_going_back_restores_what_was(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """A rollback brings droplet and environment of its revision, as a new one."""
    app = await started(cloud, tmp_path)
    path = f"/v3/apps/{app}/environment_variables"
    await cloud.call("PATCH", path, {"var": {"A": "1"}}, expect=200)
    await cloud.call("POST", f"/v3/apps/{app}/actions/restart", expect=200)
    first = (await cloud.call("GET", f"/v3/apps/{app}/revisions?versions=1"))["resources"][0]

    guid = await deploy(cloud, app, revision={"guid": first["guid"]})

    deployment = await until(cloud, guid, "DEPLOYED")
    assert deployment["revision"]["version"] == 3
    assert (await cloud.call("GET", path))["var"] == {}
    last = await cloud.call("GET", f"/v3/revisions/{deployment['revision']['guid']}")
    assert last["description"] == ("New environment variables deployed. Rolled back to revision 1.")
    assert "A=1" not in dea.starts[-1].env


async def test_an_app_can_do_without_revisions(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """Where the feature is off none is made."""
    app = await cloud.app()
    await cloud.call("PATCH", f"/v3/apps/{app}/features/revisions", {"enabled": False})
    droplet = await cloud.staged(app, tmp_path)

    await deploy(cloud, app, droplet={"guid": droplet})

    assert (await cloud.call("GET", f"/v3/apps/{app}/revisions"))["resources"] == []


async def test_a_crash_is_an_event(cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path) -> None:
    """Who asks later finds which instance crashed, and why."""
    dea.fate = "CRASHED"
    app = await cloud.app()
    droplet = await cloud.staged(app, tmp_path)
    await deploy(cloud, app, droplet={"guid": droplet})
    await cloud.until_states(app, "CRASHED")

    path = f"/v3/audit_events?types=app.crash&target_guids={app}"
    with trio.fail_after(5):
        while not (events := (await cloud.call("GET", path, expect=200))["resources"]):
            await trio.lowlevel.checkpoint()

    assert events[0]["data"]["exit_description"] == "Exited with status 1"
    assert (events[0]["data"]["index"], events[0]["actor"]["type"]) == (0, "process")
