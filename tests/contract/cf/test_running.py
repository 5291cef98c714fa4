"""Commands that start, stop and scale."""

from __future__ import annotations

from typing import Any

import pytest

from .cli import Cf
from .installation import Installation
from .reads import App, Deployment, Droplet, Package, Process, Revision, Stats, ToOne
from .steps import (
    active_deployments,
    built,
    look,
    make_current,
    new_app,
    new_droplet,
    new_package,
    pushed,
    running,
    started,
    summary,
    to,
)

NEWEST = "order_by=-created_at&page=1&per_page=1"


def newest_droplets(cf: Cf, app: App) -> list[Droplet]:
    """What ``cf start`` looks at: whether the newest package has been staged."""
    package = cf.one(f"/v3/packages?app_guids={app.guid}&{NEWEST}", Package)
    path = f"/v3/packages/{package.guid}/droplets?page=1&per_page=1&states=STAGED"
    return cf.list(path, Droplet)


def states(cf: Cf, process: str) -> list[str]:
    """Of each instance."""
    return [one.state for one in cf.get(f"/v3/processes/{process}/stats", Stats).resources]


def test_stop_and_start(cf: Cf) -> None:
    """A stopped process shows what it would have as DOWN, at once."""
    app = pushed(cf)
    look(cf, "a")

    assert cf.post(f"/v3/apps/{app.guid}/actions/stop", None, App, 200).state == "STOPPED"
    assert states(cf, app.guid) == ["DOWN"]
    assert newest_droplets(cf, app)
    started(cf, app)
    summary(cf, "a")
    assert states(cf, app.guid) == ["RUNNING"]


def test_start_stages_a_package_that_nobody_has_staged(cf: Cf) -> None:
    """After ``cf push --no-start``."""
    app = new_app(cf)
    new_package(cf, app)
    assert newest_droplets(cf, app) == []

    package = cf.one(f"/v3/packages?app_guids={app.guid}&{NEWEST}", Package)
    build = built(cf, package)
    assert build.droplet is not None
    current = f"/v3/apps/{app.guid}/relationships/current_droplet"
    assert cf.patch(current, to(build.droplet.guid), ToOne).guid == build.droplet.guid
    started(cf, app)


def test_restart(cf: Cf) -> None:
    """A stop and a start."""
    app = pushed(cf)
    look(cf, "a")
    assert newest_droplets(cf, app)

    cf.post(f"/v3/apps/{app.guid}/actions/stop", None, App, 200)
    started(cf, app)
    summary(cf, "a")


def test_restage(cf: Cf) -> None:
    """The newest READY package, built again while the app runs."""
    app = pushed(cf)
    look(cf, "a")
    package = cf.one(f"/v3/packages?app_guids={app.guid}&{NEWEST}&states=READY", Package)
    query = f"app_guids={app.guid}&guids={package.guid}&page=1&per_page=1"
    assert cf.one(f"/v3/packages?{query}", Package).guid == package.guid

    build = built(cf, package)
    assert build.droplet is not None
    cf.post(f"/v3/apps/{app.guid}/actions/stop", None, App, 200)
    make_current(cf, app, cf.get(f"/v3/droplets/{build.droplet.guid}", Droplet))
    started(cf, app)
    assert summary(cf, "a").relationships.current_droplet.guid == build.droplet.guid


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_nothing_starts_without_a_droplet(cf: Cf, verb: str) -> None:
    """In the words that the CLI knows."""
    app = new_app(cf)

    detail = cf.refused("POST", f"/v3/apps/{app.guid}/actions/{verb}")
    assert detail == "Assign a droplet before starting this app."


@pytest.mark.parametrize(
    "body",
    [
        {"instances": 3},
        {"instances": "3"},  # as other clients write numbers
        {"instances": 3, "memory_in_mb": None, "disk_in_mb": None},
    ],
)
def test_scale_instances(cf: Cf, body: dict[str, Any]) -> None:
    """202, and they run without a restart; fewer end the highest."""
    app = pushed(cf)
    path = f"/v3/apps/{app.guid}/processes/web/actions/scale"

    assert cf.post(path, body, Process, 202).instances == 3
    running(cf, app)
    summary(cf, "a")
    assert len(states(cf, app.guid)) == 3
    assert cf.post(path, {"instances": 1}, Process, 202).instances == 1
    stats = cf.get(f"/v3/processes/{app.guid}/stats", Stats).resources
    assert [one.index for one in stats] == [0]
    assert cf.post(path, {"instances": 0}, Process, 202).instances == 0
    assert states(cf, app.guid) == []


def test_there_are_only_so_many_instances(cf: Cf) -> None:
    """Each look lists them all: by any way to ask for more, it is refused and named."""
    app = pushed(cf)
    scale = f"/v3/apps/{app.guid}/processes/web/actions/scale"
    rule = "must be less than or equal to 2000"

    assert cf.post(scale, {"instances": 2000}, Process, 202).instances == 2000
    assert len(states(cf, app.guid)) == 2000
    assert cf.post(scale, {"instances": 1}, Process, 202).instances == 1
    assert cf.refused("POST", scale, {"instances": 2001}) == f"Instances {rule}"
    body = {"options": {"web_instances": 2001}, "relationships": {"app": to(app.guid)}}
    assert cf.refused("POST", "/v3/deployments", body) == f"Web instances {rule}"
    text = b"applications: [{name: a, instances: 2001}]"
    path = f"/v3/spaces/{cf.space}/actions/apply_manifest"
    [error] = cf.send("POST", path, text, kind="text/yaml", status=422).json["errors"]
    assert error["detail"].endswith(f"Instances {rule}")


@pytest.mark.parametrize("memory", [96, "96"])
def test_scale_limits(cf: Cf, memory: int | str) -> None:
    """Memory, disk and log rate; the CLI stops and starts the app itself."""
    app = pushed(cf)
    body = {"memory_in_mb": memory, "disk_in_mb": 200, "log_rate_limit_in_bytes_per_second": -1}

    web = cf.post(f"/v3/apps/{app.guid}/processes/web/actions/scale", body, Process, 202)

    assert (web.memory_in_mb, web.disk_in_mb) == (96, 200)
    cf.post(f"/v3/apps/{app.guid}/actions/stop", None, App, 200)
    started(cf, app)
    [stat] = cf.get(f"/v3/processes/{app.guid}/stats", Stats).resources
    mib = 1024 * 1024
    assert (stat.mem_quota, stat.disk_quota, stat.log_rate_limit) == (96 * mib, 200 * mib, -1)


def test_an_app_that_crashes_says_so(cf: Cf, installation: Installation) -> None:
    """CRASHED, for the CLI to give up, and not back to STARTING."""
    installation.dea.fate = "CRASHED"
    app = pushed(cf, start=False)

    cf.post(f"/v3/apps/{app.guid}/actions/start", None, App, 200)

    for _ in range(3):
        assert states(cf, app.guid) == ["CRASHED"]


def test_restart_app_instance(cf: Cf) -> None:
    """204; an instance that is not there is "Instance not found"."""
    app = pushed(cf)
    path = f"/v3/apps/{app.guid}/processes/web/instances"

    cf.gone(f"{path}/0")
    assert cf.refused("DELETE", f"{path}/7", status=404) == "Instance not found"


def test_health_checks(cf: Cf) -> None:
    """``cf set-health-check http --endpoint``, and back to port with empty data."""
    app = new_app(cf)
    web = cf.get(f"/v3/apps/{app.guid}/processes/web", Process)
    path = f"/v3/processes/{web.guid}"

    changed = {"type": "http", "data": {"endpoint": "/h"}}
    shown = cf.patch(path, {"health_check": changed}, Process).health_check
    assert (shown.type, shown.data.endpoint) == ("http", "/h")
    shown = cf.patch(path, {"health_check": {"type": "port", "data": {}}}, Process).health_check
    assert (shown.type, shown.data.endpoint) == ("port", None)
    [listed] = cf.list(f"/v3/apps/{app.guid}/processes", Process)
    assert (listed.health_check.type, listed.readiness_health_check.type) == ("port", "process")


def deploy(cf: Cf, app: App, **more: Any) -> Deployment:
    """``POST /v3/deployments`` as cf writes it: with nulls for what was not asked for."""
    body = {"strategy": "rolling", "relationships": {"app": to(app.guid)}} | more
    return cf.post("/v3/deployments", {key: value for key, value in body.items() if value},
                   Deployment)  # fmt: skip


def ended(cf: Cf, deployment: Deployment) -> Deployment:
    """Polled until it is FINALIZED, or stands still."""
    for _ in range(3):
        deployment = cf.get(f"/v3/deployments/{deployment.guid}", Deployment)
        if deployment.status.value == "FINALIZED" or deployment.status.reason == "PAUSED":
            return deployment
    raise AssertionError(f"{deployment} goes on")


UNSET = {
    "web_instances": None,
    "memory_in_mb": None,
    "disk_in_mb": None,
    "log_rate_limit_in_bytes_per_second": None,
}


@pytest.mark.parametrize(
    "more",
    [
        {},  # restart --strategy rolling: no droplet, no options
        {"strategy": None},  # older CLIs
        {"options": UNSET | {"max_in_flight": 2}},
        {"options": UNSET | {"memory_in_mb": 96, "max_in_flight": None, "canary": None}},
    ],
)
def test_restart_rolling(cf: Cf, more: dict[str, Any]) -> None:
    """A new process from birth answers for its stats; it is the one that remains."""
    app = pushed(cf)

    deployment = deploy(cf, app, **more)
    for new in deployment.new_processes:
        cf.get(f"/v3/processes/{new.guid}/stats", Stats)
    deployment = ended(cf, deployment)

    assert (deployment.status.reason, deployment.strategy) == ("DEPLOYED", "rolling")
    web = cf.get(f"/v3/apps/{app.guid}/processes/web", Process)
    assert [new.guid for new in deployment.new_processes] == [web.guid]
    if more.get("options", {}).get("memory_in_mb"):
        assert web.memory_in_mb == 96
    assert summary(cf, "a").relationships.current_droplet.guid == deployment.droplet.guid


def test_a_canary_waits_to_be_continued(cf: Cf) -> None:
    """While it does, the web process is neither scaled nor stopped."""
    app = pushed(cf)
    options = UNSET | {"max_in_flight": None, "canary": {"steps": [{"instance_weight": 20}]}}
    deployment = ended(cf, deploy(cf, app, strategy="canary", options=options))
    assert (deployment.status.value, deployment.status.reason) == ("ACTIVE", "PAUSED")
    assert len(cf.list(f"/v3/apps/{app.guid}/processes", Process)) >= 2

    path = f"/v3/apps/{app.guid}"
    scale = cf.send("POST", f"{path}/processes/web/actions/scale", {"instances": 2}, status=422)
    stop = cf.send("POST", f"{path}/actions/stop", status=422)
    assert [answer.json["errors"][0]["code"] for answer in (scale, stop)] == [390016, 390024]

    [active] = active_deployments(cf, app)
    answer = cf.send("POST", f"/v3/deployments/{active.guid}/actions/continue", status=200)
    assert answer.body in (b"", b"{}")
    assert ended(cf, active).status.reason == "DEPLOYED"


def test_a_deployment_is_cancelled(cf: Cf) -> None:
    """``cf cancel-deployment``: back to what was."""
    app = pushed(cf)
    deployment = ended(cf, deploy(cf, app, strategy="canary"))

    cf.send("POST", f"/v3/deployments/{deployment.guid}/actions/cancel", status=200)

    for _ in range(3):
        deployment = cf.get(f"/v3/deployments/{deployment.guid}", Deployment)
    assert (deployment.status.value, deployment.status.reason) == ("FINALIZED", "CANCELED")
    for verb in ("cancel", "continue"):
        detail = cf.refused("POST", f"/v3/deployments/{deployment.guid}/actions/{verb}")
        reason = "status: FINALIZED and reason: CANCELED"
        assert detail == f"Cannot {verb} a deployment with {reason}"
    assert cf.get(f"/v3/apps/{app.guid}/processes/web", Process).guid == app.guid


def test_a_stopped_app_is_deployed_at_once(cf: Cf) -> None:
    """It just starts."""
    app = pushed(cf, start=False)

    deployment = deploy(cf, app)

    assert (deployment.status.value, deployment.status.reason) == ("FINALIZED", "DEPLOYED")
    assert look(cf, "a").state == "STARTED"


def test_revisions_and_rollback(cf: Cf) -> None:
    """``cf revisions``, ``cf rollback --version 1``: one revision is found by its number."""
    app = pushed(cf)
    own = f"/v3/apps/{app.guid}"
    cf.post(f"{own}/actions/stop", None, App, 200)
    make_current(cf, app, new_droplet(cf, app))
    started(cf, app)
    assert cf.send("GET", f"{own}/features/revisions", status=200).json["enabled"]
    versions = [one.version for one in cf.list(f"{own}/revisions?order_by=-created_at", Revision)]
    assert versions == [2, 1]
    assert [one.version for one in cf.list(f"{own}/revisions/deployed", Revision)] == [2]

    first = cf.one(f"{own}/revisions?page=1&per_page=2&versions=1", Revision)
    deployment = ended(cf, deploy(cf, app, revision={"guid": first.guid}))

    assert deployment.droplet.guid == first.droplet.guid
    assert look(cf, "a").relationships.current_droplet.guid == first.droplet.guid
