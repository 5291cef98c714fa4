"""Rules of the server that clients rely on: audit events, what apps are told, limits."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from .cli import Cf, Part
from .installation import Installation
from .reads import App, AuditEvent, Binding, Deployment, Droplet, Process, Stats, Task
from .steps import (
    built,
    look,
    make_current,
    mapped,
    new_app,
    new_droplet,
    new_package,
    pushed,
    started,
    to,
)


def audited(cf: Cf, **where: str) -> set[str]:
    """The types of all events of something."""
    query = "&".join(f"{key}={value}" for key, value in where.items())
    return {event.type for event in cf.list(f"/v3/audit_events?per_page=5000&{query}", AuditEvent)}


def until_audited(cf: Cf, guid: str, type_: str) -> AuditEvent:
    """The event, which comes by itself."""
    for _ in range(1000):
        found = cf.list(f"/v3/audit_events?target_guids={guid}&types={type_}", AuditEvent)
        if found:
            return found[0]
    raise AssertionError(f"there is no {type_}")


def test_the_life_of_an_app_is_audited(cf: Cf) -> None:
    """What people did, and what became of it."""
    app = pushed(cf)
    own = f"/v3/apps/{app.guid}"
    for action in ("stop", "start", "restart"):
        cf.post(f"{own}/actions/{action}", None, App, 200)
    cf.post(f"{own}/processes/web/actions/scale", {"instances": 2}, Process, 202)
    cf.patch(f"/v3/processes/{app.guid}", {"command": "./run"}, Process)
    cf.gone(f"{own}/processes/web/instances/0")
    cf.patch(own, {"name": "b"}, App)
    cf.send("GET", f"{own}/env", status=200)
    cf.post(f"{own}/tasks", {"command": "true"}, Task, 202)
    query = "page=1&per_page=1&sequence_ids=1"
    task = cf.one(f"{own}/tasks?{query}", Task)
    cf.send("PUT", f"/v3/tasks/{task.guid}/cancel", status=202)
    cf.send("GET", f"{own}/ssh_enabled", status=200)
    route = mapped(cf, cf.name, app)
    destination = cf.send("GET", f"/v3/routes/{route.guid}/destinations").json["destinations"][0]
    cf.gone(f"/v3/routes/{route.guid}/destinations/{destination['guid']}")
    droplet = cf.get(f"{own}/droplets/current", Droplet)
    cf.send("GET", f"/v3/droplets/{droplet.guid}/download", status=200)
    package = cf.send("GET", f"{own}/packages", status=200).json["resources"][0]["guid"]
    cf.send("GET", f"/v3/packages/{package}/download", status=200)
    text = b"applications: [{name: b, no-route: true}]"
    path = f"/v3/spaces/{cf.space}/actions/apply_manifest"
    cf.done(cf.send("POST", path, text, kind="text/yaml", status=202))
    cf.deleted(f"/v3/routes/{route.guid}", "route.delete")
    cf.deleted(own, "app.delete")

    short = """
        create update delete-request start stop restart apply_manifest map-route unmap-route
        process.create process.scale process.update process.terminate_instance
        package.create package.upload package.download build.create build.staged
        droplet.create droplet.mapped droplet.download task.create task.cancel
        environment.show
    """
    wanted = {f"audit.app.{name}" for name in short.split()}
    assert wanted - audited(cf, space_guids=cf.space) == set()
    wanted = {"audit.route.create", "audit.route.delete-request", "audit.space.create"}
    assert wanted - audited(cf, space_guids=cf.space) == set()
    assert "audit.organization.create" in audited(cf, organization_guids=cf.org)


def test_other_ends_of_builds_and_deployments_are_audited(
    cf: Cf, installation: Installation
) -> None:
    """Failed, uploaded, cancelled."""
    app = pushed(cf)
    body = {"strategy": "canary", "relationships": {"app": to(app.guid)}}
    deployment = cf.post("/v3/deployments", body, Deployment)
    cf.send("POST", f"/v3/deployments/{deployment.guid}/actions/cancel", status=200)
    droplet = cf.post("/v3/droplets", {"relationships": {"app": to(app.guid)}}, Droplet)
    bits = Part("bits", gzip.compress(b"x"), file="own.tgz")
    cf.done(cf.form(f"/v3/droplets/{droplet.guid}/upload", bits))
    installation.stager.error = "no"
    assert built(cf, new_package(cf, app)).state == "FAILED"

    short = "build.failed droplet.upload deployment.create deployment.cancel"
    wanted = {f"audit.app.{name}" for name in short.split()}
    assert wanted - audited(cf, target_guids=app.guid) == set()


def test_services_are_audited(cf: Cf) -> None:
    """User-provided ones, and what is bound."""
    app = new_app(cf)
    body = {"type": "user-provided", "name": "x", "relationships": {"space": to(cf.space)}}
    made = cf.send("POST", "/v3/service_instances", body, status=201).json["guid"]
    relations = {"app": to(app.guid), "service_instance": to(made)}
    bound = {"type": "app", "relationships": relations}
    binding = cf.post("/v3/service_credential_bindings", bound, Binding)
    cf.send("PATCH", f"/v3/service_instances/{made}", {"tags": ["t"]}, status=200)
    cf.gone(f"/v3/service_credential_bindings/{binding.guid}")
    cf.gone(f"/v3/service_instances/{made}")

    instance = "audit.user_provided_service_instance"
    wanted = {f"{instance}.{what}" for what in ("create", "update", "delete")}
    wanted |= {f"audit.service_binding.{what}" for what in ("create", "delete")}
    assert wanted - audited(cf, space_guids=cf.space) == set()


def test_events_tell_what_was_asked_for_but_no_secrets(cf: Cf) -> None:
    """``cf events`` shows it; space auditors may read it."""
    body = {
        "name": "a",
        "environment_variables": {"SECRET": "s3cret"},
        "relationships": {"space": to(cf.space)},
    }
    app = cf.post("/v3/apps", body, App)
    path = f"/v3/apps/{app.guid}"
    cf.send("PATCH", f"/v3/processes/{app.guid}", {"command": "run --key s3cret"}, status=200)
    cf.send("PATCH", f"{path}/environment_variables", {"var": {"SECRET": "s3cret"}}, status=200)
    cf.post(f"{path}/processes/web/actions/scale", {"instances": 2}, Process, 202)
    text = b"applications: [{name: a, command: run s3cret, instances: 3, env: {SECRET: s3cret}}]"
    apply = f"/v3/spaces/{cf.space}/actions/apply_manifest"
    cf.done(cf.send("POST", apply, text, kind="text/yaml", status=202))

    events = cf.list(f"/v3/audit_events?per_page=5000&target_guids={app.guid}", AuditEvent)

    assert "s3cret" not in repr([event.data for event in events if "manifest" not in event.type])
    asked = [event.data["request"] for event in events if event.type == "audit.app.process.scale"]
    assert sorted(request["instances"] for request in asked) == [2, 3]
    [made] = [event.data["request"] for event in events if event.type == "audit.app.create"]
    assert (made["name"], made["environment_variables"]) == ("a", "[PRIVATE DATA HIDDEN]")


def test_a_crash_is_an_event_that_says_why(cf: Cf, installation: Installation) -> None:
    """What the description column of ``cf events`` is made of."""
    installation.dea.fate = "CRASHED"
    app = pushed(cf, start=False)
    cf.post(f"/v3/apps/{app.guid}/actions/start", None, App, 200)

    crash = until_audited(cf, app.guid, "app.crash")

    assert crash.data.keys() >= {
        "index", "reason", "exit_description", "exit_status", "instance", "crash_count",
        "crash_timestamp",
    }  # fmt: skip
    shown = (crash.data["index"], crash.data["reason"], crash.data["crash_count"])
    assert shown == (0, "CRASHED", 1)
    assert crash.data["exit_description"]
    assert until_audited(cf, app.guid, "audit.app.process.crash").data == crash.data


def test_an_instance_is_told_what_it_is(cf: Cf, installation: Installation) -> None:
    """``VCAP_APPLICATION``, but for index and port, which its DEA knows."""
    app = pushed(cf)
    mapped(cf, cf.name, app)
    cf.post(f"/v3/apps/{app.guid}/actions/stop", None, App, 200)
    started(cf, app)

    told = [one for one in installation.dea.starts if one.app_id == app.guid][-1].vcap_application

    assert told is not None
    assert told.keys() == {
        "cf_api", "limits", "application_name", "name", "application_uris", "uris", "space_name",
        "space_id", "organization_id", "organization_name", "process_id", "process_type",
        "application_id", "version", "application_version", "users",
    }  # fmt: skip
    assert told["uris"] == told["application_uris"] == [f"{cf.name}.apps.localhost"]
    assert told["limits"].keys() == {"fds", "mem", "disk"}
    assert (told["cf_api"], told["users"], told["process_id"]) == (cf.base, None, app.guid)


def test_limits_take_effect_with_a_restart(cf: Cf) -> None:
    """What runs has those that it was started with; the process shows the new ones at once."""
    app = pushed(cf)
    path = f"/v3/apps/{app.guid}/processes/web/actions/scale"

    assert cf.post(path, {"memory_in_mb": 100}, Process, 202).memory_in_mb == 100
    assert cf.get(f"/v3/processes/{app.guid}", Process).memory_in_mb == 100
    cf.post(f"/v3/apps/{app.guid}/actions/restart", None, App, 200)
    [stat] = cf.get(f"/v3/processes/{app.guid}/stats", Stats).resources
    assert stat.mem_quota == 100 * 1024 * 1024


def test_of_two_web_processes_the_newest_is_shown(cf: Cf) -> None:
    """While a deployment goes on there are two."""
    app = pushed(cf)
    body = {"strategy": "canary", "relationships": {"app": to(app.guid)}}
    made = cf.post("/v3/deployments", body, Deployment)
    [new] = made.new_processes

    assert cf.get(f"/v3/apps/{app.guid}/processes/web", Process).guid == new.guid
    types = [one.type for one in cf.list(f"/v3/apps/{app.guid}/processes", Process)]
    assert types.count("web") == 2


def test_a_second_deployment_supersedes_the_first(cf: Cf) -> None:
    """The first ends, and says so."""
    app = pushed(cf)
    body = {"strategy": "canary", "relationships": {"app": to(app.guid)}}
    first = cf.post("/v3/deployments", body, Deployment)
    cf.post("/v3/deployments", body, Deployment)

    for _ in range(3):
        first = cf.get(f"/v3/deployments/{first.guid}", Deployment)
    assert (first.status.value, first.status.reason) == ("FINALIZED", "SUPERSEDED")


def test_a_droplet_is_not_made_current_while_a_deployment_goes_on(cf: Cf) -> None:
    """The deployment decides which one it is."""
    app = pushed(cf)
    other = new_droplet(cf, app)
    cf.post(
        "/v3/deployments",
        {"strategy": "canary", "relationships": {"app": to(app.guid)}},
        Deployment,
    )

    path = f"/v3/apps/{app.guid}/relationships/current_droplet"
    assert cf.refused("PATCH", path, to(other.guid)) == (
        "Unable to assign current droplet while the app has a deployment in progress. Wait for the "
        "deployment to complete or cancel it."
    )


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v3/processes/GUID", {"command": "./run"}),
        ("/v3/processes/GUID/actions/scale", {"instances": 2}),
    ],
)
def test_the_web_process_rests_while_a_deployment_goes_on(
    cf: Cf, path: str, body: dict[str, Any]
) -> None:
    """Neither changed nor scaled."""
    app = pushed(cf)
    made = cf.post(
        "/v3/deployments",
        {"strategy": "canary", "relationships": {"app": to(app.guid)}},
        Deployment,
    )
    [new] = made.new_processes

    method = "POST" if path.endswith("scale") else "PATCH"
    assert cf.refused(method, path.replace("GUID", new.guid), body)


def test_current_droplets_may_be_set_again(cf: Cf) -> None:
    """Of a stopped app; the next start runs it."""
    app = pushed(cf, start=False)
    other = new_droplet(cf, app)

    make_current(cf, app, other)
    started(cf, app)

    assert look(cf, "a").relationships.current_droplet.guid == other.guid
