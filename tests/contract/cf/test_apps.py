"""Commands about apps that exist, whether they run or not."""

from __future__ import annotations

import pytest
import yaml

from .cli import Cf
from .reads import App, AuditEvent, Enabled, Env, Feature, Process, Route, Sidecar, Stats, Var
from .steps import look, look_once, mapped, new_app, pushed, summary, to


def test_create_app(cf: Cf) -> None:
    """The first process has the app's guid, one instance and no droplet yet."""
    app = new_app(cf)

    assert (app.state, app.relationships.space.guid) == ("STOPPED", cf.space)
    assert app.relationships.current_droplet.data is None
    [web] = cf.list(f"/v3/apps/{app.guid}/processes", Process)
    assert (web.guid, web.type, web.instances) == (app.guid, "web", 1)
    assert web.relationships.app.guid == app.guid


def test_create_app_twice_says_so(cf: Cf) -> None:
    """In the words that let ``cf create-app`` exit 0."""
    new_app(cf)

    body = {"name": "a", "relationships": {"space": to(cf.space)}}
    detail = cf.refused("POST", "/v3/apps", body, title="CF-UniquenessError")
    assert detail == "App with the name 'a' already exists."


def test_app_shows_a_summary(cf: Cf) -> None:
    """``cf app`` of one that was never staged, and of one that runs."""
    new_app(cf, "new")
    pushed(cf, "old")

    assert summary(cf, "new").state == "STOPPED"
    assert summary(cf, "old").state == "STARTED"


def test_apps_takes_three_calls(cf: Cf) -> None:
    """Instances are embedded in processes; those of a list hide their command."""
    one, two = pushed(cf, "one"), new_app(cf, "two")
    mapped(cf, cf.name, one)

    query = f"order_by=name&per_page=5000&space_guids={cf.space}"
    assert [app.name for app in cf.list(f"/v3/apps?{query}", App)] == ["one", "two"]
    query = f"embed=process_instances&space_guids={cf.space}"
    processes = cf.list(f"/v3/processes?{query}", Process)
    states = {
        (process.relationships.app.guid, process.type): [
            instance.state for instance in process.process_instances or []
        ]
        for process in processes
    }
    assert states == {
        (one.guid, "web"): ["RUNNING"],
        (one.guid, "worker"): [],
        (two.guid, "web"): ["DOWN"],
    }
    assert {process.command for process in processes} == {"[PRIVATE DATA HIDDEN IN LISTS]"}
    [route] = cf.list(f"/v3/routes?app_guids={one.guid},{two.guid}", Route)
    assert [to.app.guid for to in route.destinations] == [one.guid]


def test_older_apps_asks_for_the_processes_of_its_apps(cf: Cf) -> None:
    """``app_guids`` instead of ``embed``, and the stats of each."""
    one, two = new_app(cf, "one"), new_app(cf, "two")

    found = cf.list(f"/v3/processes?app_guids={one.guid},{two.guid}", Process)

    assert {process.relationships.app.guid for process in found} == {one.guid, two.guid}


def test_a_process_shows_its_command_by_itself(cf: Cf) -> None:
    """The summary of a push asks for each for that reason."""
    app = pushed(cf)

    assert cf.get(f"/v3/processes/{app.guid}", Process).command == "python3 app.py"


def test_rename(cf: Cf) -> None:
    """To a name that is free, and to one that is not: that fails."""
    app, _ = new_app(cf, "a"), new_app(cf, "b")

    assert cf.patch(f"/v3/apps/{look(cf, 'a').guid}", {"name": "c"}, App).name == "c"
    path, body = f"/v3/apps/{app.guid}", {"name": "b"}
    detail = cf.refused("PATCH", path, body, title="CF-UnprocessableEntity")
    assert detail == "App with the name 'b' already exists."


def test_env_set_env_and_unset_env(cf: Cf) -> None:
    """All of them come back after a change; null takes one out."""
    app = new_app(cf)
    own = f"/v3/apps/{app.guid}"

    assert cf.patch(f"{own}/environment_variables", {"var": {"A": "B"}}, Var).var == {"A": "B"}
    env = cf.get(f"{own}/env", Env)
    assert env.environment_variables == {"A": "B"}
    assert env.system_env_json["VCAP_SERVICES"] == {}
    vcap = env.application_env_json["VCAP_APPLICATION"]
    assert set(vcap) >= {
        "cf_api", "limits", "application_name", "name", "application_uris", "uris",
        "space_name", "space_id", "organization_id", "organization_name", "application_id",
        "users",
    }  # fmt: skip
    assert (vcap["name"], vcap["space_name"], vcap["users"]) == ("a", "s", None)
    assert vcap["limits"].keys() >= {"fds"}
    assert cf.patch(f"{own}/environment_variables", {"var": {"A": None}}, Var).var == {}


@pytest.mark.parametrize("name", ["VCAP_X", "VMC_X", "PORT"])
def test_reserved_variables_are_refused(cf: Cf, name: str) -> None:
    """With the words of Cloud Controller."""
    path = f"/v3/apps/{new_app(cf).guid}/environment_variables"

    assert cf.refused("PATCH", path, {"var": {name: "1"}})


def test_environment_groups(cf: Cf) -> None:
    """``cf set-running-environment-variable-group``: all of them are replaced."""
    for group in ("running", "staging"):
        path = f"/v3/environment_variable_groups/{group}"
        assert cf.get(path, Var).var == {}
        assert cf.patch(path, {"var": {"X": "1"}}, Var).var == {"X": "1"}
        assert cf.patch(path, {"var": {"X": None}}, Var).var == {}


def test_events(cf: Cf) -> None:
    """The newest first; each names who did it, and the description is made of ``data``."""
    app = new_app(cf)
    cf.patch(f"/v3/apps/{app.guid}", {"name": "b"}, App)

    query = f"order_by=-created_at&page=1&target_guids={app.guid}"
    events = cf.list(f"/v3/audit_events?{query}", AuditEvent)

    assert {event.type for event in events} >= {"audit.app.create", "audit.app.update"}
    assert {event.actor.name for event in events} == {"admin"}
    [updated] = [event for event in events if event.type == "audit.app.update"]
    assert updated.data["request"]["name"] == "b"


def test_labels(cf: Cf) -> None:
    """``cf set-label``, ``cf labels``, ``cf unset-label``."""
    app = new_app(cf)
    path = f"/v3/apps/{app.guid}"

    cf.patch(path, {"metadata": {"labels": {"k": "v"}}}, App)
    assert look(cf, "a").metadata.labels == {"k": "v"}
    assert cf.patch(path, {"metadata": {"labels": {"k": None}}}, App).metadata.labels == {}


def test_ssh_is_enabled_and_disabled(cf: Cf) -> None:
    """For the app and for its space."""
    app = look_once(cf, new_app(cf).name)
    own = f"/v3/apps/{app.guid}"

    assert cf.get(f"{own}/ssh_enabled", Enabled) == Enabled(True, "")
    assert cf.get(f"{own}/features/ssh", Feature).enabled
    assert not cf.patch(f"{own}/features/ssh", {"enabled": False}, Feature).enabled
    assert not cf.get(f"{own}/ssh_enabled", Enabled).enabled
    space = f"/v3/spaces/{cf.space}/features/ssh"
    assert cf.get(space, Feature).name == "ssh"
    assert not cf.patch(space, {"enabled": False}, Feature).enabled
    assert cf.patch(f"{own}/features/ssh", {"enabled": True}, Feature).enabled
    assert cf.get(f"{own}/ssh_enabled", Enabled).reason


def test_ssh_looks_for_a_running_instance(cf: Cf) -> None:
    """``cf ssh``: a code, the app, and of its processes the sidecars and instances."""
    pushed(cf)
    cf.send("GET", "/", status=200)
    code = cf.send("GET", "/oauth/authorize?client_id=ssh-proxy&response_type=code")
    assert code.status == 302
    app = look(cf, "a")
    assert app.state == "STARTED"

    [web] = [one for one in cf.list(f"/v3/apps/{app.guid}/processes", Process) if one.type == "web"]
    assert cf.list(f"/v3/processes/{web.guid}/sidecars", Sidecar) == []
    [stat] = cf.get(f"/v3/processes/{web.guid}/stats", Stats).resources
    assert (stat.state, stat.index) == ("RUNNING", 0)
    assert web.guid == app.guid  # so that either is a name to log in by


def test_create_app_manifest(cf: Cf) -> None:
    """YAML, though JSON is what cf says that it accepts."""
    app = pushed(cf)
    mapped(cf, cf.name, app)

    answer = cf.send("GET", f"/v3/apps/{app.guid}/manifest", status=200)

    assert answer.headers.get_content_type() == "application/x-yaml"
    [shown] = yaml.safe_load(answer.body)["applications"]
    assert (shown["name"], shown["stack"]) == ("a", app.lifecycle.data.stack)
    assert shown["routes"][0]["route"] == f"{cf.name}.apps.localhost"
    processes = {process["type"]: process for process in shown["processes"]}
    web = processes["web"]
    assert (web["instances"], web["memory"], web["disk_quota"]) == (1, "256M", "1024M")
    assert web["log-rate-limit-per-second"] == -1


def test_delete_takes_the_routes_that_nobody_else_has(cf: Cf) -> None:
    """``cf delete -r``: a look at the routes, the app, then each route."""
    app = pushed(cf)
    mapped(cf, cf.name, app)
    look(cf, "a")

    routes = cf.list(f"/v3/apps/{app.guid}/routes", Route)
    assert all(one.app.guid == app.guid for route in routes for one in route.destinations)
    cf.deleted(f"/v3/apps/{app.guid}", "app.delete")
    for route in routes:
        cf.deleted(f"/v3/routes/{route.guid}", "route.delete")

    assert cf.list(f"/v3/apps?names=a&space_guids={cf.space}", App) == []
    assert cf.refused("GET", f"/v3/apps/{app.guid}", status=404) == "App not found"


def test_deleting_an_app_takes_what_belongs_to_it(cf: Cf) -> None:
    """Packages, droplets, builds, tasks and processes; its route stays."""
    app = pushed(cf)
    route = mapped(cf, cf.name, app)

    cf.deleted(f"/v3/apps/{app.guid}", "app.delete")

    for kind in ("packages", "droplets", "builds", "tasks", "processes", "deployments"):
        path = f"/v3/{kind}?app_guids={app.guid}"
        assert cf.send("GET", path, status=200).json["resources"] == [], kind
    assert cf.get(f"/v3/routes/{route.guid}", Route).destinations == []
