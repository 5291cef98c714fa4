"""Desired against actual: start, scale, crash, stop, deploy."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from appliance.health_manager.messages import Order

from .conftest import Cloud, Dea, Stager, running_cloud


async def started(cloud: Cloud, tmp_path: Path, name: str = "hello") -> str:
    """The guid of an app that was told to start."""
    app = await cloud.app(name)
    droplet = await cloud.staged(app, tmp_path)
    current = f"/v3/apps/{app}/relationships/current_droplet"
    await cloud.call("PATCH", current, {"data": {"guid": droplet}}, expect=200)
    await cloud.call("POST", f"/v3/apps/{app}/actions/start", expect=200)
    return app


async def test_a_started_app_runs(cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path) -> None:
    """The DEA gets all that it needs, and clients see the instance RUNNING at the first look."""
    app = await started(cloud, tmp_path)

    assert await cloud.states(app) == ["RUNNING"]
    (order,) = dea.starts
    assert order.executableUri.startswith("http://u:p@127.0.0.1:")
    assert order.executableUri.endswith(f"/droplets/{app}/{order.sha1}")
    assert order.version == f"{order.sha1}-1"
    assert order.process_type == "web"


async def test_other_process_types_start_with_none(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """A worker exists after the first droplet that names it, and runs when it is scaled."""
    app = await started(cloud, tmp_path)
    scale = f"/v3/apps/{app}/processes/worker/actions/scale"

    worker = await cloud.call("POST", scale, {"instances": "2"}, expect=202)

    await cloud.until_states(worker["guid"], "RUNNING", "RUNNING")
    assert {o.command for o in dea.starts if o.process_type == "worker"} == {"python3 work.py"}


async def test_scaling_down_stops_the_highest(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """Three instances, then one: indexes 1 and 2 are stopped."""
    app = await started(cloud, tmp_path)
    scale = f"/v3/processes/{app}/actions/scale"
    await cloud.call("POST", scale, {"instances": 3}, expect=202)
    await cloud.until_states(app, "RUNNING", "RUNNING", "RUNNING")

    await cloud.call("POST", scale, {"instances": 1}, expect=202)

    with trio.fail_after(5):
        while len(dea.live) != 1:
            await trio.lowlevel.checkpoint()
    assert [start.index for start in dea.live.values()] == [0]


async def test_a_crash_is_shown_until_it_runs(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """CRASHED with its reason stays while it is tried again, and goes when it runs."""
    dea.fate = "CRASHED"
    app = await started(cloud, tmp_path)
    await cloud.until_states(app, "CRASHED")
    stats = await cloud.call("GET", f"/v3/processes/{app}/stats")
    assert stats["resources"][0]["details"] == "Exited with status 1"

    dea.fate = "STARTING"
    version = dea.starts[0].version
    cloud.kit.publish(Order(op="START", droplet=app, indices=[0], version=version))
    with trio.fail_after(5):
        while len(dea.starts) < 2:
            await trio.lowlevel.checkpoint()
    assert await cloud.states(app) == ["CRASHED"]

    dea.beat(dea.starts[-1], "RUNNING")
    await cloud.until_states(app, "RUNNING")


async def test_a_restart_is_done_when_the_new_one_runs(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """What still runs of the run before counts for nothing."""
    app = await started(cloud, tmp_path)
    await cloud.until_states(app, "RUNNING")
    dea.slow_to_stop = True
    dea.fate = "STARTING"

    await cloud.call("POST", f"/v3/apps/{app}/actions/restart", expect=200)

    await cloud.until_states(app, "STARTING")
    page = await cloud.call("GET", "/v3/processes?embed=process_instances")
    (web,) = (one for one in page["resources"] if one["guid"] == app)
    assert [one["state"] for one in web["process_instances"]] == ["STARTING"]
    assert len(dea.live) == 2


async def test_no_room_is_said(cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path) -> None:
    """When no DEA answers, the stats say so instead of keeping silent."""
    dea.room = False
    app = await started(cloud, tmp_path)

    with trio.fail_after(10):
        while True:
            stats = await cloud.call("GET", f"/v3/processes/{app}/stats")
            if details := stats["resources"][0]["details"]:
                break

    assert "insufficient resources" in details


async def test_stopping_stops(cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path) -> None:
    """Instances end, and the desired count is shown as DOWN."""
    app = await started(cloud, tmp_path)
    await cloud.until_states(app, "RUNNING")

    await cloud.call("POST", f"/v3/apps/{app}/actions/stop", expect=200)

    await cloud.until_states(app, "DOWN")
    with trio.fail_after(5):
        while dea.live:
            await trio.lowlevel.checkpoint()


async def test_restart_is_a_new_version(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """Instances of the old version are stopped, one of the new version runs."""
    app = await started(cloud, tmp_path)
    await cloud.until_states(app, "RUNNING")

    await cloud.call("POST", f"/v3/apps/{app}/actions/restart", expect=200)

    with trio.fail_after(5):
        while [start.version[-2:] for start in dea.live.values()] != ["-2"]:
            await trio.lowlevel.checkpoint()


async def test_starting_needs_a_droplet(cloud: Cloud) -> None:
    """The sentence is the one that clients look for."""
    app = await cloud.app()

    answer = await cloud.raw("POST", f"/v3/apps/{app}/actions/start")

    assert answer.status == 422
    assert "Assign a droplet before starting this app." in answer.json()["errors"][0]["detail"]


async def deploy(cloud: Cloud, app: str, droplet: str) -> str:
    body = {"droplet": {"guid": droplet}, "relationships": {"app": {"data": {"guid": app}}}}
    return str((await cloud.call("POST", "/v3/deployments", body, expect=201))["guid"])


async def test_a_deployment_replaces_the_web_process(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """The new droplet runs before the old one stops, and is current at the end."""
    app = await started(cloud, tmp_path)
    await cloud.until_states(app, "RUNNING")
    droplet = await cloud.staged(app, tmp_path, "print('new')")

    guid = await deploy(cloud, app, droplet)

    with trio.fail_after(10):
        while True:
            deployment = await cloud.call("GET", f"/v3/deployments/{guid}")
            if deployment["status"]["value"] == "FINALIZED":
                break
    assert deployment["status"]["reason"] == "DEPLOYED"
    current = await cloud.call("GET", f"/v3/apps/{app}/droplets/current")
    assert current["guid"] == droplet
    processes = await cloud.call("GET", f"/v3/apps/{app}/processes?types=web")
    (web,) = processes["resources"]
    assert web["guid"] == deployment["new_processes"][0]["guid"]
    await cloud.until_states(web["guid"], "RUNNING")
    with trio.fail_after(5):
        while len(dea.live) != 1:
            await trio.lowlevel.checkpoint()
    assert next(iter(dea.live.values())).sha1 == current["appliance"]["sha1"]


async def test_a_cancelled_deployment_leaves_the_old_version(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """While the new version crashes the old one runs on, and stays after the cancel."""
    app = await started(cloud, tmp_path)
    await cloud.until_states(app, "RUNNING")
    old = dict(dea.live)
    droplet = await cloud.staged(app, tmp_path, "print('broken')")
    dea.fate = "CRASHED"
    guid = await deploy(cloud, app, droplet)
    deployment = await cloud.call("GET", f"/v3/deployments/{guid}")
    await cloud.until_states(deployment["new_processes"][0]["guid"], "CRASHED")

    await cloud.call("POST", f"/v3/deployments/{guid}/actions/cancel", expect=200)

    deployment = await cloud.call("GET", f"/v3/deployments/{guid}")
    assert deployment["status"]["reason"] == "CANCELED"
    assert await cloud.states(app) == ["RUNNING"]
    assert dea.live == old


async def test_deleting_an_app_leaves_nothing(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """Instances, droplet, package and processes go with it."""
    app = await started(cloud, tmp_path)
    await cloud.until_states(app, "RUNNING")

    job = await cloud.call("DELETE", f"/v3/apps/{app}", expect=202)

    assert (await cloud.call("GET", job))["state"] == "COMPLETE"
    assert not cloud.stored
    for resource in ("apps", "processes", "packages", "droplets", "builds"):
        assert (await cloud.call("GET", f"/v3/{resource}"))["resources"] == []
    with trio.fail_after(5):
        while dea.live:
            await trio.lowlevel.checkpoint()


async def test_mapping_a_route_tells_the_dea(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """A new route reaches running instances without a restart, and so does its end."""
    app = await started(cloud, tmp_path)
    domain = (await cloud.call("GET", "/v3/domains"))["resources"][0]
    relations = {
        "space": {"data": {"guid": await cloud.space()}},
        "domain": {"data": {"guid": domain["guid"]}},
    }
    body = {"host": "hello", "relationships": relations}
    route = await cloud.call("POST", "/v3/routes", body, expect=201)
    assert route["url"] == f"hello.{domain['name']}"

    to = {"destinations": [{"app": {"guid": app}}]}
    mapped = await cloud.call("POST", f"/v3/routes/{route['guid']}/destinations", to, expect=200)

    assert mapped["destinations"][0]["app"] == {"guid": app, "process": {"type": "web"}}
    shown = await cloud.call("GET", f"/v3/routes?app_guids={app}")
    assert shown["resources"][0]["destinations"] == mapped["destinations"]
    await cloud.call("DELETE", f"/v3/routes/{route['guid']}", expect=202)
    web = [update.uris for update in cloud.updates if update.droplet == app]
    assert web == [[f"hello.{domain['name']}"], []]


async def test_everything_is_kept_over_a_restart(tmp_path: Path) -> None:
    """With a folder, apps, routes, tokens and the resource cache outlive the process."""
    async with running_cloud(tmp_path / "state") as first:
        app = await first.app("kept")
        await first.package(app, {"app.py": "print(1)"}, tmp_path)
        token = first.token

    async with running_cloud(tmp_path / "state") as second:
        second.token = token
        apps = await second.call("GET", "/v3/apps", expect=200)
        packages = await second.call("GET", f"/v3/apps/{app}/packages", expect=200)

    assert [one["name"] for one in apps["resources"]] == ["kept"]
    assert [one["state"] for one in packages["resources"]] == ["READY"]


async def test_deploying_a_stopped_app_just_starts_it(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """There is nothing to roll over: born DEPLOYED, and it says which droplet was before."""
    app = await cloud.app()
    old = await cloud.staged(app, tmp_path)
    current = f"/v3/apps/{app}/relationships/current_droplet"
    await cloud.call("PATCH", current, {"data": {"guid": old}}, expect=200)
    new = await cloud.staged(app, tmp_path, "print('new')")

    deployment = await cloud.call("GET", f"/v3/deployments/{await deploy(cloud, app, new)}")

    assert deployment["status"]["reason"] == "DEPLOYED"
    assert deployment["previous_droplet"]["guid"] == old
    await cloud.until_states(app, "RUNNING")
    assert [start.index for start in dea.live.values()] == [0]


async def test_instances_are_shown_beside_their_process(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """By themselves, in a list, and in one process: the same, and briefly."""
    app = await started(cloud, tmp_path)
    await cloud.until_states(app, "RUNNING")
    own = f"/v3/processes/{app}"

    alone = (await cloud.call("GET", f"{own}/process_instances", expect=200))["resources"]
    one = await cloud.call("GET", f"{own}?embed=process_instances", expect=200)
    listed = await cloud.call("GET", f"/v3/processes?guids={app}&embed=process_instances")

    assert [(i["index"], i["state"]) for i in alone] == [(0, "RUNNING")]
    for shown in (one, listed["resources"][0]):
        assert [(i["index"], i["state"]) for i in shown["process_instances"]] == [(0, "RUNNING")]
    usage = (await cloud.call("GET", "/v3/info/usage_summary", expect=200))["usage_summary"]
    assert (usage["started_instances"], usage["memory_in_mb"]) == (1, 256)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"health_check": {"type": "smell"}}, "Health check type must be"),
        (
            {"health_check": {"type": "port", "data": {"timeout": 0}}},
            "Health check timeout must be greater than or equal to 1",
        ),
        (
            {"readiness_health_check": {"type": "http", "data": {"endpoint": "health"}}},
            "Readiness health check endpoint must be a valid URI path",
        ),
        ({"readiness_health_check": {"type": "none"}}, "Readiness health check type must be"),
    ],
)
async def test_a_health_check_that_cannot_be_is_refused(
    cloud: Cloud, body: dict[str, object], text: str
) -> None:
    """Before anything runs with it."""
    answer = await cloud.raw("PATCH", f"/v3/processes/{await cloud.app()}", body)

    assert answer.status == 422
    assert text in answer.json()["errors"][0]["detail"]
