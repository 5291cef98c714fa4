"""Manifests: what is applied, compared and refused, and how it is told."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from .cli import Cf
from .reads import App, Process, Route, Sidecar
from .rules import Answer
from .steps import look, mapped, new_app, pushed


def manifest(*apps: dict[str, Any], **more: Any) -> bytes:
    """As the CLI writes one."""
    return yaml.safe_dump({"version": 1, "applications": list(apps)} | more).encode()


def apply(cf: Cf, text: bytes, kind: str = "application/x-yaml") -> Answer:
    """The answer to ``actions/apply_manifest``."""
    path = f"/v3/spaces/{cf.space}/actions/apply_manifest"
    return cf.send("POST", path, text, kind=kind)


def applied(cf: Cf, *apps: dict[str, Any]) -> None:
    """Apply and wait."""
    answer = apply(cf, manifest(*apps))
    assert (answer.status, answer.body) == (202, b"")
    cf.done(answer, "space.apply_manifest")


def diff(cf: Cf, *apps: dict[str, Any]) -> list[dict[str, Any]]:
    """What ``manifest_diff`` tells."""
    path = f"/v3/spaces/{cf.space}/manifest_diff"
    answer = cf.send("POST", path, manifest(*apps), kind="application/x-yaml", status=201)
    return list(answer.json["diff"])


def details(answer: Answer) -> list[str]:
    """Of each error."""
    return [error["detail"] for error in answer.json["errors"]]


@pytest.mark.parametrize("kind", ["application/x-yaml", "text/yaml", "application/yaml"])
def test_yaml_has_several_names(cf: Cf, kind: str) -> None:
    """The app is there at once, before the job is looked at."""
    answer = apply(cf, manifest({"name": "a", "no-route": True}), kind)

    assert answer.status == 202
    assert cf.list(f"/v3/apps?names=a&space_guids={cf.space}", App)
    cf.done(answer, "space.apply_manifest")


def test_only_yaml_is_taken(cf: Cf) -> None:
    """In known words."""
    answer = apply(cf, manifest({"name": "a"}), "application/json")

    assert (answer.status, details(answer)) == (400, ["Bad request: Content-Type must be yaml"])


@pytest.mark.parametrize(
    ("text", "status", "detail"),
    [
        (
            b"version: 2\napplications: [{name: a}]",
            422,
            "Unsupported manifest schema version. Currently supported versions: [1].",
        ),
        (b"version: 1", 422, "Cannot parse manifest with no 'applications' field."),
    ],
)
def test_manifests_are_refused_in_known_words(
    cf: Cf, text: bytes, status: int, detail: str
) -> None:
    """Before anything is made."""
    answer = apply(cf, text)

    assert (answer.status, details(answer)) == (status, [detail])
    assert cf.list(f"/v3/apps?space_guids={cf.space}", App) == []


def test_the_faults_of_all_apps_are_told_together(cf: Cf) -> None:
    """Each with the name of its app, or its place; nothing is made."""
    answer = apply(
        cf,
        manifest(
            {"name": "a", "memory": "64"},
            {"name": "b", "buildpack": "x", "buildpacks": ["y"]},
            {"instances": -1},
            {"name": "d", "env": "text"},
        ),
    )

    assert answer.status == 422
    told = details(answer)
    unit = 'Process "web": Memory must use a supported unit: B, K, KB, M, MB, G, GB, T, or TB'
    assert f"For application 'a': {unit}" in told
    both = "Buildpack and Buildpacks fields cannot be used together."
    assert f"For application 'b': {both}" in told
    assert any(text.startswith("For application at index 2: ") for text in told)
    assert "For application 'd': Env must be an object of keys and values" in told
    assert cf.list(f"/v3/apps?space_guids={cf.space}", App) == []


@pytest.mark.parametrize(
    ("app", "detail"),
    [
        ({"docker": {"image": "a/b"}}, "Feature Disabled: diego_docker"),
        ({"docker": {"image": "a/b", "username": "u"}}, "Feature Disabled: diego_docker"),
        ({"lifecycle": "cnb"}, "Feature Disabled: diego_cnb"),
        ({"processes": {}}, "Processes must be an array of process configurations"),
        ({"processes": [{"instances": 1}]}, "All Processes must specify a type"),
        (
            {"processes": [{"type": "x"}, {"type": "x"}]},
            'Process "x" may only be present once',
        ),
    ],
)
def test_apps_are_refused_in_known_words(cf: Cf, app: dict[str, Any], detail: str) -> None:
    """At once, with the app's name, and before anything is made."""
    answer = apply(cf, manifest({"name": "a"} | app))

    assert answer.status == 422
    assert f"For application 'a': {detail}" in details(answer)
    assert cf.list(f"/v3/apps?space_guids={cf.space}", App) == []


@pytest.mark.parametrize(
    ("app", "detail"),
    [
        ({"services": ["none"]}, "Service instance 'none' not found"),
        (
            {"routes": [{"route": "x.nowhere.example.com"}]},
            "No domains exist for route x.nowhere.example.com",
        ),
        (
            {"name": "a b", "default-route": True},
            'Failed to create default route from app name: Host must be either "*" or contain only '
            'alphanumeric characters, "_", or "-"',
        ),
    ],
)
def test_what_is_only_found_out_later_is_told_by_the_job(
    cf: Cf, app: dict[str, Any], detail: str
) -> None:
    """A job that has failed says why, with the app's name; or it is refused at once."""
    wanted = {"name": "a"} | app
    answer = apply(cf, manifest(wanted))

    if answer.status == 202:
        job = cf.ended(answer)
        assert job.state == "FAILED"
        told = [error.detail for error in job.errors]
    else:
        told = details(answer)
    assert f"For application '{wanted['name']}': {detail}" in told


def test_unknown_keys_are_ignored(cf: Cf) -> None:
    """``path``, and whatever people note."""
    applied(cf, {"name": "a", "path": "/somewhere", "x-note": {"any": 1}, "no-route": True})

    assert look(cf, "a").state == "STOPPED"


def test_what_a_manifest_leaves_out_stays(cf: Cf) -> None:
    """Variables, routes and instances; ``no-route`` ends them."""
    app = new_app(cf)
    route = mapped(cf, cf.name, app)
    applied(cf, {"name": "a", "env": {"A": 1}, "instances": 2, "memory": "64M"})
    applied(cf, {"name": "a", "env": {"B": True}, "memory": "65MB"})

    own = f"/v3/apps/{app.guid}"
    env = cf.send("GET", f"{own}/environment_variables", status=200).json["var"]
    assert env == {"A": "1", "B": "true"}
    web = cf.get(f"{own}/processes/web", Process)
    assert (web.instances, web.memory_in_mb) == (2, 65)
    assert [one.guid for one in cf.list(f"{own}/routes", Route)] == [route.guid]
    applied(cf, {"name": "a", "no-route": True})
    assert cf.list(f"{own}/routes", Route) == []


def test_all_of_an_app_is_applied(cf: Cf) -> None:
    """Processes, checks, sidecars, routes, labels and features."""
    applied(
        cf,
        {
            "name": "a",
            "instances": 7,
            "routes": [{"route": f"{cf.name}.apps.localhost/p", "protocol": "http1"}],
            "metadata": {"labels": {"k": "v"}},
            "features": {"ssh": False},
            "sidecars": [
                {"name": "s", "command": "true", "process_types": ["web"], "memory": "8M"}
            ],
            "processes": [
                {
                    "type": "web",
                    "command": "./run",
                    "instances": 2,
                    "disk_quota": "512M",
                    "log-rate-limit-per-second": -1,
                    "timeout": 90,
                    "health-check-type": "http",
                    "health-check-http-endpoint": "/h",
                    "health-check-invocation-timeout": 3,
                    "readiness-health-check-type": "process",
                },
                {"type": "worker", "instances": 0, "health-check-type": "none"},
            ],
        },
    )

    app = look(cf, "a")
    own = f"/v3/apps/{app.guid}"
    assert app.metadata.labels == {"k": "v"}
    assert not cf.send("GET", f"{own}/features/ssh", status=200).json["enabled"]
    [route] = cf.list(f"{own}/routes", Route)
    assert route.url == f"{cf.name}.apps.localhost/p"
    assert [one.protocol for one in route.destinations] == ["http1"]
    guids = [one.guid for one in cf.list(f"{own}/processes", Process)]
    processes = {one.type: one for one in (cf.get(f"/v3/processes/{g}", Process) for g in guids)}
    web, worker = processes["web"], processes["worker"]
    assert (web.command, web.instances, web.disk_in_mb) == ("./run", 2, 512)
    assert (web.health_check.type, web.health_check.data.endpoint) == ("http", "/h")
    assert web.health_check.data.timeout == 90
    assert (worker.instances, worker.health_check.type) == (0, "process")
    [sidecar] = cf.list(f"/v3/processes/{web.guid}/sidecars", Sidecar)
    assert (sidecar.name, sidecar.process_types, sidecar.memory_in_mb) == ("s", ["web"], 8)


def test_an_endpoint_beside_another_check_is_accepted(cf: Cf) -> None:
    """One client always sends it; it means nothing then."""
    applied(cf, {"name": "a", "health-check-type": "port", "health-check-http-endpoint": "/h",
                 "no-route": True})  # fmt: skip

    web = cf.get(f"/v3/apps/{look(cf, 'a').guid}/processes/web", Process)
    assert (web.health_check.type, web.health_check.data.endpoint) == ("port", None)


def test_a_default_route_is_made_once(cf: Cf) -> None:
    """Of the app's name, when it has no route and none is listed."""
    for _ in range(2):
        applied(cf, {"name": cf.name, "default-route": True})

    routes = cf.list(f"/v3/apps/{look(cf, cf.name).guid}/routes", Route)
    assert [route.url for route in routes] == [f"{cf.name}.apps.localhost"]


def test_diff_points_into_the_manifest_that_was_sent(cf: Cf) -> None:
    """``was`` only for what goes, ``value`` only for what comes."""
    pushed(cf)
    applied(cf, {"name": "a", "env": {"A": "1"}, "instances": 1})

    found = diff(
        cf, {"name": "new"}, {"name": "a", "env": {"A": "2", "B": "3"}, "instances": 1, "path": "."}
    )

    assert all(one["op"] in ("add", "remove", "replace") for one in found)
    assert all(("was" in one) == (one["op"] != "add") for one in found)
    assert all(("value" in one) == (one["op"] != "remove") for one in found)
    changes = {one["path"]: one["op"] for one in found}
    assert changes["/applications/1/env/A"] == "replace"
    assert changes["/applications/1/env/B"] == "add"
    assert not [path for path in changes if path.startswith("/applications/1/instances")]


def test_diff_of_what_is_there_is_empty(cf: Cf) -> None:
    """Only the keys that the manifest has are compared."""
    wanted = {"name": "a", "memory": "64M", "env": {"A": "1"}, "no-route": True}
    applied(cf, wanted)

    assert diff(cf, wanted) == []
