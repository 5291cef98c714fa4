"""What is wrong with a manifest is told, all of it, in Cloud Controller's words."""

from __future__ import annotations

from typing import Any

import pytest

from fake_controller.errors import CloudErrors
from fake_controller.manifest.payload import (
    ProcessManifest,
    RouteManifest,
    ServiceManifest,
    SidecarManifest,
)
from fake_controller.manifest.validate import check_app, validated

UNIT = "must use a supported unit: B, K, KB, M, MB, G, GB, T, or TB"
ROUTE = [{"route": "a.example.com"}]
WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"name": None}, ["Name must not be empty", "Name must be a string"]),
    ({"name": " "}, ["Name must not be empty"]),
    ({"name": 7}, ["Name must be a string"]),
    ({"memory": 256}, [f'Process "web": Memory {UNIT}']),
    ({"memory": "lots"}, ['Process "web": Memory is not a number']),
    ({"memory": "-5M"}, ['Process "web": Memory must be greater than 0MB']),
    ({"memory": "1K"}, ['Process "web": Memory must be greater than 0MB']),
    ({"disk-quota": "1X"}, [f'Process "web": Disk quota {UNIT}']),
    ({"disk_quota": "9999999T"},
     ['Process "web": Disk quota must be less than or equal to 2147483647MB']),
    ({"log-rate-limit-per-second": "7"}, [f'Process "web": Log rate limit per second {UNIT}']),
    ({"log-rate-limit-per-second": "-2B"},
     ['Process "web": Log rate limit must be an integer greater than or equal to -1']),
    ({"instances": -1}, ['Process "web": Instances must be greater than or equal to 0']),
    ({"instances": 1.5}, ['Process "web": Instances must be an integer']),
    ({"instances": "many"}, ['Process "web": Instances is not a number']),
    ({"instances": True}, ['Process "web": Instances is not a number']),
    ({"instances": 2_000_001}, ['Process "web": Instances must be less than or equal to 2000']),
    ({"timeout": 0}, ['Process "web": Timeout must be greater than or equal to 1']),
    ({"health-check-invocation-timeout": "x"},
     ['Process "web": Health check invocation timeout is not a number']),
    ({"health-check-type": "ftp"},
     ['Process "web": Health check type must be "port", "process", or "http"']),
    ({"readiness-health-check-type": []},
     ['Process "web": Readiness health check type must be "port", "process", or "http"']),
    ({"health-check-type": "http", "health-check-http-endpoint": "healthz"},
     ['Process "web": Health check http endpoint must be a valid URI path']),
    ({"command": ""}, ['Process "web": Command must be between 1 and 4096 characters']),
    ({"command": ["a"]}, ['Process "web": Command must be a string']),
    ({"user": "root"}, ["Process \"web\": User must be 'vcap'"]),
    ({"processes": {"type": "web"}}, ["Processes must be an array of process configurations"]),
    ({"processes": ["web"]}, ["Processes must be an array of process configurations"]),
    ({"processes": [{"memory": "1G"}]}, ["All Processes must specify a type"]),
    ({"processes": [{"type": "w"}, {"type": "w"}]}, ['Process "w" may only be present once']),
    ({"processes": [{"type": "w", "memory": "1"}, {"type": "x", "instances": -1}]},
     [f'Process "w": Memory {UNIT}',
      'Process "x": Instances must be greater than or equal to 0']),
    ({"sidecars": "a"}, ["Sidecars must be an array of sidecar configurations"]),
    ({"sidecars": [{"name": "s", "process_types": ["web"]}]},
     ["Sidecar \"s\": Command can't be blank"]),
    ({"sidecars": [{"command": "c", "process_types": ["web"]}]},
     ["Sidecar name can't be blank"]),
    ({"sidecars": [{"name": "s", "command": "c", "process_types": []}]},
     ['Sidecar "s": Process types must have at least 1 process_type']),
    ({"sidecars": [{"name": "s", "command": "c", "process_types": "web", "memory": 3}]},
     ['Sidecar "s": Process types must be an array', f'Sidecar "s": Memory {UNIT}']),
    ({"docker": {"image": "x"}}, ["Feature Disabled: diego_docker"]),
    ({"docker": {"image": "x"}, "buildpack": "y"},
     ["Feature Disabled: diego_docker", "Cannot specify both buildpack(s) and docker keys"]),
    ({"lifecycle": "docker"}, ["Feature Disabled: diego_docker"]),
    ({"lifecycle": "cnb"}, ["Feature Disabled: diego_cnb"]),
    ({"lifecycle": "magic"},
     ["Lifecycle type is not included in the list: buildpack, docker, cnb"]),
    ({"buildpack": "a", "buildpacks": ["a"]},
     ["Buildpack and Buildpacks fields cannot be used together."]),
    ({"buildpack": ["a"]}, ["Buildpack must be a string"]),
    ({"buildpacks": "a"}, ["Buildpacks must be an array"]),
    ({"buildpacks": [1]}, ["Buildpacks can only contain strings"]),
    ({"buildpacks": [""]}, ["Buildpacks entries must be between 1 and 4096 characters"]),
    ({"stack": 3}, ["Stack must be a string"]),
    ({"metadata": []}, ["Metadata must be an object"]),
    ({"metadata": {"tags": {}, "labels": 3}},
     ["Metadata has unexpected field(s): 'tags'", "Metadata 'labels' is not an object"]),
    ({"env": ["A=b"]}, ["Env must be an object of keys and values"]),
    ({"env": {1: "a", "": "b", "vcap_x": "c", "VMC_Y": "d", "Port": "e"}},
     ["Env key must be a string", "Env key must be a minimum length of 1",
      "Env cannot start with VCAP_", "Env cannot start with VMC_", "Env cannot set PORT"]),
    ({"features": {}}, ["Features must be a map of valid feature names to booleans "
                        "(true = enabled, false = disabled)"]),
    ({"features": {"flying": True}}, ["Features must be a map of valid feature names to booleans "
                                      "(true = enabled, false = disabled)"]),
    ({"services": "db"}, ["Services must be a list of service instances"]),
    ({"services": [{"parameters": {}}]}, ["Services must be a list of service instances"]),
    ({"services": [{"name": "a", "plan": "b"}]}, ["Services must be a list of service instances"]),
    ({"routes": ["a.example.com"]}, ["Routes must be a list of route objects"]),
    ({"routes": [{"route": "ftp://a.b"}, {"route": "http://a.b:80"}, {"route": "/p"}]},
     ["The route 'ftp://a.b' is not a properly formed URL",
      "The route 'http://a.b:80' is not a properly formed URL",
      "The route '/p' is not a properly formed URL"]),
    ({"routes": [{"route": "a.b", "protocol": "http2"}]},
     ["Route protocol must be 'http1': the router speaks nothing else with apps."]),
    ({"routes": [{"route": "a.b", "options": None}]}, ["Route 'a.b': options must be an object"]),
    ({"routes": [{"route": "a.b", "options": {"x": "y"}}]},
     ["Route 'a.b' contains invalid route option 'x'. "
      "Valid keys: 'loadbalancing, hash_header, hash_balance'"]),
    ({"routes": [{"route": "a.b", "options": {"loadbalancing": "best"}}]},
     ["Cannot use loadbalancing value 'best' for Route 'a.b'; "
      "Valid values are: 'round-robin, least-connection, hash'"]),
    ({"routes": [{"route": "a.b", "options": {"loadbalancing": "round-robin",
                                              "hash_header": "X"}}]},
     ["Route 'a.b': Hash header can only be set when loadbalancing is hash"]),
    ({"no-route": "yes"}, ["No-route must be a boolean"]),
    ({"random-route": True, "default-route": True},
     ["Random-route and default-route may not be used together"]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "errors"), WRONG)
def test_names_everything_that_is_wrong(given: dict[str, Any], errors: list[str]) -> None:
    """Each key's rules, in the order in which Cloud Controller looks."""
    assert check_app({"name": "a"} | given)[1] == errors


def test_the_errors_of_all_apps_come_together() -> None:
    """Each says whose it is: by name, or by place when there is none."""
    with pytest.raises(CloudErrors) as refused:
        validated([{"name": "a", "env": []}, {"memory": "1"}, 3, {"name": "b"}])

    assert [str(error) for error in refused.value.errors] == [
        "For application 'a': Env must be an object of keys and values",
        "For application at index 1: Name must not be empty",
        "For application at index 1: Name must be a string",
        f'For application at index 1: Process "web": Memory {UNIT}',
        "For application at index 2: Must be an object of keys and values",
    ]


def test_a_name_is_used_once() -> None:
    """The second would silently win over the first."""
    with pytest.raises(CloudErrors) as refused:
        validated([{"name": "a"}, {"name": "a"}])

    assert [str(error) for error in refused.value.errors] == [
        "For application 'a': Name may only be used once in a manifest"
    ]


def app(**keys: Any) -> Any:
    """A manifest that is right."""
    checked, errors = check_app({"name": "a"} | {k.replace("_", "-"): v for k, v in keys.items()})
    assert errors == []
    return checked


def test_the_top_level_is_the_web_process() -> None:
    """Sizes become whole megabytes, whatever unit and case; text counts as a number."""
    [web] = app(
        memory="1.5gb", disk_quota="2048K", log_rate_limit_per_second="1KB", instances="3"
    ).processes

    assert web == ProcessManifest(
        type="web",
        scale={"memory_in_mb": 1536, "disk_in_mb": 2, "log_rate": 1024, "instances": 3},
    )


def test_a_listed_web_process_wins_over_the_top_level() -> None:
    """Nothing of the top level is left then."""
    found = app(memory="1G", command="x", processes=[{"type": "web", "instances": 2}])

    assert found.processes == (ProcessManifest(type="web", scale={"instances": 2}),)


def test_the_top_level_stands_beside_other_processes() -> None:
    """A listed worker does not replace what is said of the web process."""
    found = app(memory="1G", processes=[{"type": "worker"}])

    assert found.processes == (
        ProcessManifest(type="web", scale={"memory_in_mb": 1024}),
        ProcessManifest(type="worker"),
    )


@pytest.mark.parametrize("command", [None, "null", "default"])
def test_no_command_is_the_droplets_own(command: Any) -> None:
    """Three spellings of the same."""
    assert app(command=command).processes[0].changes == {"command": None}


def test_only_an_http_check_has_an_endpoint() -> None:
    """Some clients always send one; an HTTP check without one asks for the root."""
    port = app(health_check_type="port", health_check_http_endpoint="/x").processes[0]
    none = app(health_check_type="none").processes[0]
    http = app(health_check_type="http", timeout=9).processes[0]

    assert port.changes == {"health_check_type": "port", "health_check_endpoint": None}
    assert none.changes["health_check_type"] == "process"
    assert http.changes == {
        "health_check_type": "http",
        "health_check_endpoint": "/",
        "health_check_timeout": 9,
    }


def test_readiness_is_read_like_health() -> None:
    """Its four keys become the record's four fields."""
    [web] = app(
        readiness_health_check_type="http",
        readiness_health_check_http_endpoint="/ready",
        readiness_health_check_invocation_timeout=3,
        readiness_health_check_interval=4,
    ).processes

    assert web.changes == {
        "readiness_type": "http",
        "readiness_endpoint": "/ready",
        "readiness_invocation_timeout": 3,
        "readiness_interval": 4,
    }


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"buildpack": "python"}, ("python",)),
        ({"buildpack": None}, ()),
        ({"buildpack": "default"}, ()),
        ({"buildpacks": ["a", "b"]}, ("a", "b")),
        ({"buildpacks": []}, ()),
        ({"buildpacks": None}, ()),
        ({}, None),
    ],
)
def test_buildpacks_may_be_left_to_detection(given: dict[str, Any], found: Any) -> None:
    """Nothing said leaves them as they are, which is not the same."""
    assert app(**given).buildpacks == found


def test_values_of_the_environment_become_text() -> None:
    """As the manifest spelled them, and structures as JSON."""
    env = {"A": 1, "B": True, "C": None, "D": 1.5, "E": "e", "F": {"g": [1]}}

    assert app(env=env).environment == {
        "A": "1", "B": "true", "C": "", "D": "1.5", "E": "e", "F": '{"g": [1]}',
    }  # fmt: skip


def test_routes_are_taken_apart() -> None:
    """Scheme, host, port and path; which part is the domain is not known here."""
    found = app(
        routes=[
            {"route": "https://WWW.example.com/a/b", "protocol": "http1"},
            {"route": "tcp.example.com:1234", "options": {"loadbalancing": "least-connection"}},
        ]
    ).routes

    assert found == (
        RouteManifest(
            url="https://WWW.example.com/a/b",
            host="www.example.com",
            path="/a/b",
        ),
        RouteManifest(
            url="tcp.example.com:1234",
            host="tcp.example.com",
            port=1234,
            options={"loadbalancing": "least-connection"},
        ),
    )


def test_services_sidecars_and_labels_are_read() -> None:
    """Each in its short and its long form; a null label is one to take away."""
    found = app(
        services=["db", {"name": "mq", "binding_name": "q", "parameters": {"a": 1}}],
        sidecars=[{"name": "s", "command": "c", "process_types": ["web", "web"], "memory": "8M"}],
        metadata={"labels": {"a": "b", "c": None}, "annotations": {"d": 1}},
        features={"ssh": False},
        path="./here",
    )

    assert found.services == (
        ServiceManifest(name="db"),
        ServiceManifest(name="mq", binding_name="q", parameters={"a": 1}),
    )
    assert found.sidecars == (
        SidecarManifest(name="s", command="c", process_types=("web",), memory_in_mb=8),
    )
    assert (found.labels, found.annotations) == ({"a": "b", "c": None}, {"d": "1"})
    assert found.features == {"ssh": False}
