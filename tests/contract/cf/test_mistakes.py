"""Mistakes that have cost a command, one test each.

Some are what a whole file is about: the token (test_session.py), envelopes (test_logs.py), empty
filters and the texts of 404 (test_rules.py), a role that is given twice (test_users.py).
"""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit

import pytest

from .cli import Cf, Part
from .lists import LISTS
from .reads import App, Buildpack, Deployment, Package, Process, Role, Route, Stack, Task
from .steps import mapped, new_app, new_package, new_route, pushed, to, zipped


def test_links_are_absolute_and_begin_as_the_client_has_reached_us(cf: Cf) -> None:
    """``Location``, ``next`` and every ``href``, by the request's own Host."""
    for name in ("a", "b"):
        new_app(cf, name)
    host = f"localhost:{urlsplit(cf.base).port}"
    login = {"Host": host, "Authorization": f"bearer {cf.token}"}
    query = f"per_page=1&space_guids={cf.space}"

    page = cf.wire.send("GET", f"/v3/apps?{query}", login, b"").json
    [app] = page["resources"]
    gone = cf.wire.send("DELETE", f"/v3/apps/{app['guid']}", login, b"")

    base = f"http://{host}/v3"
    assert page["pagination"]["next"]["href"].startswith(f"{base}/apps?")
    assert app["links"]["self"]["href"] == f"{base}/apps/{app['guid']}"
    assert gone.location.startswith(f"{base}/jobs/")


def test_matched_resources_have_their_mode(cf: Cf) -> None:
    """Octal, as it was sent: without it the push dies."""
    text = f"print('{cf.name}')"
    new_package(cf, new_app(cf), text)
    sha1 = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    entry = {"path": "a", "mode": "755", "checksum": {"value": sha1}, "size_in_bytes": len(text)}

    [found] = cf.send("POST", "/v3/resource_matches", {"resources": [entry]}).json["resources"]

    assert int(found["mode"], 8) == 0o755


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("POST", "/"),
        ("GET", "/v3/%"),
        ("GET", "/v3/apps/%00"),
        ("GET", "/v3/apps/%ff%fe"),
        ("GET", "/v3//apps"),
        ("BREW", "/v3/apps"),
        ("POST", "/v3/packages/x/upload"),
        ("POST", "/v3/droplets/x/upload"),
        ("POST", "/v3/buildpacks/x/upload"),
        ("GET", "/v3/droplets/x/download"),
        ("GET", "/v3/packages/x/download"),
        ("GET", "/v3/jobs/x"),
    ],
)
def test_no_error_is_a_page(cf: Cf, method: str, path: str) -> None:
    """JSON whatever went wrong: the CLI shows anything else as its own fault."""
    login = {"Authorization": f"bearer {cf.token}", "Content-Type": "application/json"}

    answer = cf.wire.send(method, path, login, b"")

    assert answer.status < 500
    assert answer.headers.get_content_type() == "application/json"
    assert answer.json.get("links") or answer.json["errors"][0]["detail"]


def test_what_the_summary_asks_for_is_never_missing(cf: Cf) -> None:
    """Sidecars, deployments, service route bindings, and the comparison of manifests."""
    app = new_app(cf)
    for path in (
        f"/v3/processes/{app.guid}/sidecars",
        f"/v3/deployments?app_guids={app.guid}",
        "/v3/service_route_bindings?route_guids=x&include=service_instance",
    ):
        assert cf.send("GET", path, status=200).json["resources"] == []
    text = b"applications: [{name: a}]"
    path = f"/v3/spaces/{cf.space}/manifest_diff"
    assert "diff" in cf.send("POST", path, text, kind="text/yaml", status=201).json


@pytest.mark.parametrize("path", LISTS)
def test_resources_are_never_null(cf: Cf, path: str) -> None:
    """An empty list is a list."""
    shown = cf.send("GET", path, status=200).json

    assert isinstance(shown["resources"], list)


def test_bits_that_cannot_be_used_are_refused_at_once(cf: Cf) -> None:
    """Clients wait without an end for a package that nobody works on; it may be tried again."""
    app = new_app(cf)
    body = {"type": "bits", "relationships": {"app": to(app.guid)}}
    path = f"/v3/packages/{cf.post('/v3/packages', body, Package).guid}"

    refused = cf.form(f"{path}/upload", Part("bits", b"no zip", file="p.zip"))

    assert refused.status == 422
    shown = cf.get(path, Package)
    assert shown.state == "AWAITING_UPLOAD"
    assert "no zip" in (shown.data.error or "")
    good = cf.form(f"{path}/upload", Part("bits", zipped({"a": ""}), file="p.zip"))
    assert (good.status, good.json["state"]) == (200, "READY")


def test_processes_name_their_app_and_routes_their_destinations(cf: Cf) -> None:
    """In every list that has them."""
    app = new_app(cf)
    route = mapped(cf, cf.name, app)
    for path in (
        f"/v3/processes?space_guids={cf.space}",
        f"/v3/processes?embed=process_instances&space_guids={cf.space}",
        f"/v3/apps/{app.guid}/processes",
    ):
        assert cf.one(path, Process).relationships.app.guid == app.guid
    for path in (
        f"/v3/routes?space_guids={cf.space}",
        f"/v3/routes?app_guids={app.guid}",
        f"/v3/apps/{app.guid}/routes",
    ):
        assert cf.one(path, Route).destinations[0].app.guid == app.guid
    assert cf.get(f"/v3/routes/{route.guid}", Route).destinations


def test_log_cache_is_at_the_root(anonymous: Cf) -> None:
    """The client throws a path before ``/api/v1`` away."""
    link = anonymous.send("GET", "/", status=200).json["links"]["log_cache"]["href"]

    assert urlsplit(link).path in ("", "/")
    assert anonymous.send("GET", "/api/v1/info", status=200).json["version"]


# What the version that is shown promises: the CLI does not fall back.


def test_3_104_has_space_supporters(cf: Cf) -> None:
    """A role of its own."""
    user = {"data": {"username": "admin"}}
    body = {
        "type": "organization_user",
        "relationships": {"organization": to(cf.org), "user": user},
    }
    cf.post("/v3/roles", body, Role)
    body = {"type": "space_supporter", "relationships": {"space": to(cf.space), "user": user}}

    assert cf.post("/v3/roles", body, Role).type == "space_supporter"


def test_3_124_limits_the_rate_of_logs(cf: Cf) -> None:
    """Of processes and tasks."""
    app = pushed(cf, start=False)
    body = {"log_rate_limit_in_bytes_per_second": 1024}
    path = f"/v3/apps/{app.guid}"

    web = cf.post(f"{path}/processes/web/actions/scale", body, Process, 202)
    assert web.log_rate_limit_in_bytes_per_second == 1024
    cf.post(f"{path}/tasks", {"command": "true"} | body, Task, 202)


def test_3_168_and_3_194_know_lifecycles(cf: Cf) -> None:
    """Given by name, ``buildpack`` is what there is."""
    body = {
        "name": "a",
        "lifecycle": {"type": "buildpack", "data": {}},
        "relationships": {"space": to(cf.space)},
    }
    assert cf.post("/v3/apps", body, App).lifecycle.type == "buildpack"
    cf.list("/v3/buildpacks?lifecycle=buildpack&order_by=position", Buildpack)


def test_3_183_has_options_of_routes(cf: Cf) -> None:
    """From the start."""
    route = new_route(cf, cf.name, options={"loadbalancing": "round-robin"})

    assert route.options == {"loadbalancing": "round-robin"}


def test_3_189_has_steps_of_canaries(cf: Cf) -> None:
    """Told back as they were asked for."""
    app = pushed(cf)
    steps = [{"instance_weight": 20}, {"instance_weight": 60}]
    body = {
        "strategy": "canary",
        "options": {"canary": {"steps": steps}},
        "relationships": {"app": to(app.guid)},
    }

    made = cf.post("/v3/deployments", body, Deployment)

    shown = cf.send("GET", f"/v3/deployments/{made.guid}", status=200).json
    assert shown["status"]["canary"]["steps"]["total"] == 2
    assert shown["options"]["canary"]["steps"] == steps


def test_3_205_binds_with_a_strategy(cf: Cf) -> None:
    """``cf bind-service --strategy``."""
    app = new_app(cf)
    body = {"type": "user-provided", "name": "x", "relationships": {"space": to(cf.space)}}
    made = cf.send("POST", "/v3/service_instances", body, status=201).json
    relations = {"app": to(app.guid), "service_instance": to(made["guid"])}
    binding = {"type": "app", "strategy": "multiple", "relationships": relations}

    for _ in range(2):
        assert cf.send("POST", "/v3/service_credential_bindings", binding).status == 201


def test_3_211_changes_the_state_of_stacks(cf: Cf) -> None:
    """``cf update-stack``."""
    body = {"name": f"stack-{cf.name}", "description": "d", "state": "ACTIVE"}
    made = cf.post("/v3/stacks", body, Stack)

    changed = cf.send("PATCH", f"/v3/stacks/{made.guid}", {"state": "DEPRECATED"}, status=200)

    assert changed.json["state"] == "DEPRECATED"
