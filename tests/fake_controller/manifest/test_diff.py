"""A diff names what applying would change, at the place where the manifest says it."""

from __future__ import annotations

from typing import Any

import pytest

from fake_controller.manifest.diff import diff
from fake_controller.manifest.generate import RouteOfApp, WholeApp, generate, written
from fake_controller.manifest.parse import parse
from fake_controller.model import App, Process, Sidecar

WHEN = {"created_at": 0.0, "updated_at": 0.0}
WEB = Process(
    guid="a", app_guid="a", type="web", memory_in_mb=256, disk_in_mb=1024, command="run", **WHEN
)
APP = App(
    guid="a",
    name="a",
    space_guid="s",
    buildpacks=("python",),
    environment={"A": "1", "B": "2"},
    labels={"team": "x", "a/b": "y"},
    **WHEN,
)
WHOLE = WholeApp(
    app=APP,
    processes=[WEB],
    routes=[RouteOfApp(url="a.example.com/p", protocol="http1", options={"loadbalancing": "hash"})],
    sidecars=[
        Sidecar(guid="c", app_guid="a", name="s", command="c", process_types=("web",), **WHEN)
    ],
    services=["db"],
)
CHANGES: list[tuple[dict[str, Any], list[tuple[str, str, Any, Any]]]] = [
    ({}, []),
    ({"memory": "256M", "disk-quota": "1G", "instances": "1", "command": "run"}, []),
    ({"memory": "1g"}, [("replace", "memory", "256M", "1024M")]),
    ({"memory": None, "instances": None, "disk_quota": ""}, []),
    ({"disk-quota": "1M"}, [("replace", "disk-quota", "1024M", "1M")]),
    ({"log-rate-limit-per-second": "2K"},
     [("replace", "log-rate-limit-per-second", -1, "2K")]),
    ({"log-rate-limit-per-second": "-1"}, []),
    ({"command": None}, [("remove", "command", "run", None)]),
    ({"timeout": 9}, [("add", "timeout", None, 9)]),
    ({"health-check-type": "none"}, [("replace", "health-check-type", "port", "process")]),
    ({"memory": "1G", "processes": [{"type": "web"}]}, []),
    ({"processes": [{"type": "web", "memory": "1G"}, {"type": "w", "instances": 2, "path": "x"}]},
     [("replace", "processes/0/memory", "256M", "1024M"),
      ("add", "processes/1", None, {"type": "w", "instances": 2})]),
    ({"env": {"A": 1}}, []),
    ({"env": {"A": "3", "C": True}},
     [("replace", "env/A", "1", "3"), ("add", "env/C", None, "true")]),
    ({"metadata": {"labels": {"team": None, "a/b": "z"}, "annotations": {"n": 1}}},
     [("remove", "metadata/labels/team", "x", None),
      ("replace", "metadata/labels/a~1b", "y", "z"),
      ("add", "metadata/annotations/n", None, "1")]),
    ({"buildpacks": ["python"]}, []),
    ({"buildpack": "python"}, []),
    ({"buildpack": None}, [("remove", "buildpack", "python", None)]),
    ({"buildpacks": []}, [("remove", "buildpacks/0", "python", None)]),
    ({"buildpacks": ["ruby", "go"]},
     [("replace", "buildpacks/0", "python", "ruby"), ("add", "buildpacks/1", None, "go")]),
    ({"stack": "appliance", "lifecycle": "buildpack"}, []),
    ({"stack": "other"}, [("replace", "stack", "appliance", "other")]),
    ({"features": {"ssh": False}}, [("replace", "features/ssh", True, False)]),
    ({"services": ["db", {"name": "mq"}]}, [("add", "services/1", None, {"name": "mq"})]),
    ({"routes": [{"route": "http://A.example.com/p"}]}, []),
    ({"routes": [{"route": "b.example.com"}, {"route": "a.example.com/p", "protocol": "http2",
                                              "options": {"loadbalancing": None}}]},
     [("add", "routes/0", None, {"route": "b.example.com"}),
      ("replace", "routes/1/protocol", "http1", "http2"),
      ("remove", "routes/1/options/loadbalancing", "hash", None)]),
    ({"sidecars": [{"name": "t", "command": "d", "process_types": ["web"]},
                   {"name": "s", "command": "e", "process_types": ["web", "w"], "memory": "8M"}]},
     [("add", "sidecars/0", None, {"name": "t", "command": "d", "process_types": ["web"]}),
      ("replace", "sidecars/1/command", "c", "e"),
      ("add", "sidecars/1/process_types/1", None, "w"),
      ("add", "sidecars/1/memory", None, "8M")]),
    ({"random-route": True}, []),
    ({"default-route": True}, []),
    ({"no-route": True}, [("add", "no-route", None, True)]),
    ({"no_route": True, "routes": [{"route": "b.example.com"}]},
     [("add", "no_route", None, True)]),
    ({"path": "x", "unknown": {"y": 1}}, []),
]  # fmt: skip


@pytest.mark.parametrize(("given", "changes"), CHANGES)
def test_says_what_would_change(
    given: dict[str, Any], changes: list[tuple[str, str, Any, Any]]
) -> None:
    """``was`` and ``value`` are there where they mean something."""
    found = diff([{"name": "z"}, {"name": "a"} | given], {"a": generate(WHOLE)})

    assert found[0] == {"op": "add", "path": "/applications/0/name", "value": "z"}
    wanted = [
        {"op": op, "path": f"/applications/1/{path}"}
        | ({} if op == "add" else {"was": was})
        | ({} if op == "remove" else {"value": value})
        for op, path, was, value in changes
    ]
    assert found[1:] == wanted


def test_all_of_a_new_app_is_new() -> None:
    """With the routes that nobody has listed."""
    given = {"name": "n", "memory": "1G", "default-route": True, "env": {"A": 1}}

    assert [one["path"] for one in diff([given], {})] == [
        "/applications/0/name",
        "/applications/0/memory",
        "/applications/0/default-route",
        "/applications/0/env/A",
    ]


def test_listed_routes_need_no_default_one() -> None:
    """Nor does an app that is to have none."""
    listed = {"name": "n", "default-route": True, "routes": [{"route": "b.example.com"}]}
    none = {"name": "n", "default-route": True, "no-route": True}

    assert [one["path"] for one in diff([listed, none], {})] == [
        "/applications/0/name",
        "/applications/0/routes/0",
        "/applications/1/name",
    ]


def test_what_is_generated_changes_nothing() -> None:
    """An app's own manifest, written and read again, is no change."""
    [app] = parse(written([generate(WHOLE)]).encode())

    assert diff([app], {"a": generate(WHOLE)}) == []


def test_a_manifest_says_only_what_there_is_to_say() -> None:
    """An app of which nothing is known has a name, a lifecycle, a stack and its features."""
    bare = App(guid="a", name="a", space_guid="s", **WHEN)

    assert set(generate(WholeApp(app=bare))) == {"name", "lifecycle", "stack", "features"}


def test_a_process_is_written_with_units() -> None:
    """Memory and disk in megabytes, as they are kept."""
    assert generate(WHOLE)["processes"] == [
        {
            "type": "web",
            "instances": 1,
            "memory": "256M",
            "disk_quota": "1024M",
            "log-rate-limit-per-second": -1,
            "command": "run",
            "health-check-type": "port",
            "readiness-health-check-type": "process",
        }
    ]
