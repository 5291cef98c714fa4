"""Manifests over HTTP: applied as a whole, told of in one answer, and compared truthfully."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio
import yaml

from appliance.logs.messages import LogLines

from .conftest import Cloud, Dea, Stager
from .people import person

DOMAIN = "apps.localhost"


async def send(cloud: Cloud, path: str, applications: Any, **headers: str) -> Any:
    """Post a manifest to the space; the bare answer."""
    text = yaml.safe_dump({"version": 1, "applications": applications})
    login = {"Authorization": f"bearer {cloud.token}", "Content-Type": "application/x-yaml"}
    url = f"{cloud.url}/v3/spaces/{await cloud.space()}/{path}"
    return await cloud.kit.http.request("POST", url, content=text, headers=login | headers)


async def apply(cloud: Cloud, *applications: Any) -> Any:
    """Apply a manifest that is accepted; its job, as a client sees it first."""
    answer = await send(cloud, "actions/apply_manifest", list(applications))
    assert answer.status == 202, answer.body
    return await cloud.call("GET", answer.headers["location"], expect=200)


async def applied(cloud: Cloud, *applications: Any) -> None:
    """Apply a manifest; it is done at the first look."""
    job = await apply(cloud, *applications)
    assert (job["state"], job["errors"]) == ("COMPLETE", [])
    assert job["operation"] == "space.apply_manifest"


async def app_named(cloud: Cloud, name: str) -> Any:
    """An app, as clients look it up."""
    [found] = (await cloud.call("GET", f"/v3/apps?names={name}", expect=200))["resources"]
    return found


async def urls(cloud: Cloud, app: str) -> list[str]:
    """The URLs of an app's routes."""
    page = await cloud.call("GET", f"/v3/apps/{app}/routes", expect=200)
    return sorted(route["url"] for route in page["resources"])


def details(answer: Any) -> list[str]:
    """The sentences of an answer of errors."""
    return [error["detail"] for error in answer.json()["errors"]]


async def test_a_manifest_makes_what_is_missing(cloud: Cloud) -> None:
    """Apps, processes, routes, environment, labels, sidecars and features, in one go."""
    await applied(
        cloud,
        {
            "name": "shop",
            "memory": "128M",
            "instances": 2,
            "health-check-type": "http",
            "health-check-http-endpoint": "/up",
            "env": {"A": 1, "B": True},
            "buildpacks": ["python_buildpack"],
            "metadata": {"labels": {"team": "x"}},
            "features": {"ssh": False},
            "routes": [{"route": f"shop.{DOMAIN}/v1"}, {"route": f"http://www.{DOMAIN}"}],
            "processes": [{"type": "worker", "command": "work", "instances": 3}],
            "sidecars": [{"name": "s", "command": "beside", "process_types": ["worker"]}],
        },
        {"name": "other", "default-route": True},
    )

    shop = await app_named(cloud, "shop")
    assert shop["lifecycle"]["data"]["buildpacks"] == ["python_buildpack"]
    assert shop["metadata"]["labels"] == {"team": "x"}
    web = await cloud.call("GET", f"/v3/apps/{shop['guid']}/processes/web", expect=200)
    assert (web["memory_in_mb"], web["instances"]) == (128, 2)
    assert web["health_check"]["data"]["endpoint"] == "/up"
    worker = await cloud.call("GET", f"/v3/apps/{shop['guid']}/processes/worker", expect=200)
    assert (worker["command"], worker["instances"]) == ("work", 3)
    env = await cloud.call("GET", f"/v3/apps/{shop['guid']}/environment_variables", expect=200)
    assert env["var"] == {"A": "1", "B": "true"}
    ssh = await cloud.call("GET", f"/v3/apps/{shop['guid']}/features/ssh", expect=200)
    assert ssh["enabled"] is False
    assert await urls(cloud, shop["guid"]) == [f"shop.{DOMAIN}/v1", f"www.{DOMAIN}"]
    other = await app_named(cloud, "other")
    assert await urls(cloud, other["guid"]) == [f"other.{DOMAIN}"]


async def test_applying_again_changes_nothing(cloud: Cloud) -> None:
    """What a manifest leaves out stays, and the diff of what was applied is empty."""
    whole = {"name": "a", "env": {"A": "1"}, "memory": "64M", "random-route": True}
    await applied(cloud, whole)
    before = await app_named(cloud, "a")
    routes = await urls(cloud, before["guid"])

    await applied(cloud, whole)
    await applied(cloud, {"name": "a"})
    answer = await send(cloud, "manifest_diff", [whole])

    assert (answer.status, answer.json()) == (201, {"diff": []})
    assert await app_named(cloud, "a") == before
    assert await urls(cloud, before["guid"]) == routes
    assert len(routes) == 1
    assert routes[0].startswith("a-")


async def test_no_route_takes_the_routes_away(cloud: Cloud) -> None:
    """From the app; the routes themselves stay."""
    await applied(cloud, {"name": "a", "default-route": True})
    guid = (await app_named(cloud, "a"))["guid"]

    await applied(cloud, {"name": "a", "no-route": True})

    assert await urls(cloud, guid) == []
    [left] = (await cloud.call("GET", "/v3/routes", expect=200))["resources"]
    assert left["destinations"] == []


async def test_all_errors_come_before_anything_is_made(cloud: Cloud) -> None:
    """Also the refusal of images, which would otherwise leave an empty app behind."""
    wrong = [{"name": "a", "docker": {"image": "x"}}, {"name": "b", "memory": "1"}, {"name": "c"}]

    for path in ("actions/apply_manifest", "manifest_diff"):
        answer = await send(cloud, path, wrong)
        assert answer.status == 422
        assert details(answer) == [
            "For application 'a': Feature Disabled: diego_docker",
            "For application 'b': Process \"web\": Memory must use a supported unit: "
            "B, K, KB, M, MB, G, GB, T, or TB",
        ]
    assert (await cloud.call("GET", "/v3/apps", expect=200))["resources"] == []


async def test_what_cannot_be_applied_fails_the_job(cloud: Cloud) -> None:
    """With the app, and the route where it is one; nothing of that app is changed."""
    for given, detail in (
        (
            {"routes": [{"route": f"b.{DOMAIN}"}, {"route": "b.nowhere.org"}]},
            "No domains exist for route b.nowhere.org",
        ),
        (
            {"routes": [{"route": f"b%d.{DOMAIN}"}]},
            f"For route 'b%d.{DOMAIN}': Host must be either \"*\" or contain only alphanumeric "
            'characters, "_", or "-"',
        ),
        (
            {"routes": [{"route": f"b.{DOMAIN}:1234"}]},
            f"For route 'b.{DOMAIN}:1234': Routes with protocol 'http' do not support ports.",
        ),
        (
            {"sidecars": [{"name": "s", "command": "c", "process_types": ["web"],
                           "memory": "1G"}]},
            'The memory allocation defined is too large to run with the dependent "web" process',
        ),
        ({"services": ["db"]}, "Service instance 'db' not found"),
    ):  # fmt: skip
        job = await apply(cloud, {"name": "a", "env": {"A": "1"}} | given)
        assert job["state"] == "FAILED"
        assert [e["detail"] for e in job["errors"]] == [f"For application 'a': {detail}"]
    guid = (await app_named(cloud, "a"))["guid"]
    assert (await cloud.call("GET", f"/v3/apps/{guid}/environment_variables"))["var"] == {}
    assert (await cloud.call("GET", "/v3/routes", expect=200))["resources"] == []


async def test_a_stack_that_is_not_there_makes_no_app(cloud: Cloud) -> None:
    """Of several apps, none; later, the job fails and the app stays as it is."""
    wanted = [{"name": "a"}, {"name": "b", "stack": "windows"}]

    answer = await send(cloud, "actions/apply_manifest", wanted)

    why = "For application 'b': Stack must be an existing stack: there is no 'windows'."
    assert (answer.status, details(answer)) == (422, [why])
    assert (await cloud.call("GET", "/v3/apps", expect=200))["resources"] == []
    await applied(cloud, {"name": "b"})
    job = await apply(cloud, wanted[1])
    assert [error["detail"] for error in job["errors"]] == [why]


async def test_an_app_whose_name_is_no_host_gets_no_default_route(cloud: Cloud) -> None:
    """It says why, and that it came from the name."""
    job = await apply(cloud, {"name": "my app", "default-route": True})

    assert job["errors"][0]["detail"] == (
        "For application 'my app': Failed to create default route from app name: Host must be "
        'either "*" or contain only alphanumeric characters, "_", or "-"'
    )


async def test_json_is_no_manifest(cloud: Cloud) -> None:
    """Whatever is in it."""
    answer = await send(
        cloud, "actions/apply_manifest", [{"name": "a"}], **{"Content-Type": "application/json"}
    )

    assert (answer.status, details(answer)) == (400, ["Bad request: Content-Type must be yaml"])


async def test_a_space_that_is_not_there_has_no_apps(cloud: Cloud) -> None:
    """404, before the manifest is looked at."""
    for path in ("actions/apply_manifest", "manifest_diff"):
        await cloud.call("POST", f"/v3/spaces/nowhere/{path}", expect=404)


async def test_instances_and_routes_reach_what_runs(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """At once; memory only counts from the next start, so nothing is restarted for it."""
    await applied(cloud, {"name": "a", "instances": 1})
    guid = (await app_named(cloud, "a"))["guid"]
    droplet = await cloud.staged(guid, tmp_path)
    await cloud.call(
        "PATCH", f"/v3/apps/{guid}/relationships/current_droplet", {"data": {"guid": droplet}},
        expect=200,
    )  # fmt: skip
    await cloud.call("POST", f"/v3/apps/{guid}/actions/start", expect=200)
    await cloud.until_states(guid, "RUNNING")

    await applied(cloud, {"name": "a", "instances": 2, "memory": "64M", "default-route": True})

    await cloud.until_states(guid, "RUNNING", "RUNNING")
    assert [start.limits.mem for start in dea.starts] == [256, 64]
    assert [update.uris for update in cloud.updates if update.droplet == guid] == [[f"a.{DOMAIN}"]]


async def test_the_manifest_of_an_app_makes_it_again(cloud: Cloud) -> None:
    """YAML that can be applied elsewhere, and changes nothing here."""
    await applied(cloud, {"name": "a", "env": {"A": "1"}, "routes": [{"route": f"x.{DOMAIN}/y"}]})
    guid = (await app_named(cloud, "a"))["guid"]

    answer = await cloud.raw("GET", f"/v3/apps/{guid}/manifest")

    assert answer.headers["content-type"].startswith("application/x-yaml")
    [app] = yaml.safe_load(answer.body)["applications"]
    assert app["routes"] == [{"route": f"x.{DOMAIN}/y", "protocol": "http1"}]
    assert app["processes"][0]["memory"] == "256M"
    assert (await send(cloud, "manifest_diff", [app])).json() == {"diff": []}


async def test_a_manifest_binds_services_once(cloud: Cloud) -> None:
    """By name; what is bound stays bound, and the diff knows."""
    space = {"space": {"data": {"guid": await cloud.space()}}}
    for name in ("db", "mq"):
        wanted = {"type": "user-provided", "name": name, "relationships": space}
        await cloud.call("POST", "/v3/service_instances", wanted, expect=201)
    services = ["db", {"name": "mq", "binding_name": "queue"}]

    await applied(cloud, {"name": "a", "services": services})
    await applied(cloud, {"name": "a", "services": ["db"]})
    refused = await apply(
        cloud, {"name": "b", "services": [{"name": "db", "parameters": {"x": 1}}]}
    )
    difference = await send(cloud, "manifest_diff", [{"name": "a", "services": [*services, "c"]}])

    bindings = (await cloud.call("GET", "/v3/service_credential_bindings"))["resources"]
    assert [binding["name"] for binding in bindings] == [None, "queue"]
    assert [error["detail"] for error in refused["errors"]] == [
        "For application 'b': For service 'db': Binding parameters are not supported for "
        "user-provided service instances"
    ]
    assert difference.json()["diff"] == [
        {"op": "add", "path": "/applications/0/services/2", "value": "c"}
    ]


async def test_only_developers_push(cloud: Cloud) -> None:
    """Others who see the space are refused; for the rest there is none."""
    await applied(cloud, {"name": "a", "env": {"SECRET": "x"}})
    guid = (await app_named(cloud, "a"))["guid"]
    space = await cloud.space()
    for roles, status, read in (
        (("space_developer",), 202, 200),
        (("space_supporter",), 403, 403),
        (("space_auditor",), 403, 403),
        (("organization_user",), 404, 404),
    ):
        asker = await person(cloud, roles[0], *roles)
        login = {"Authorization": f"bearer {asker.token}", "Content-Type": "application/x-yaml"}
        url = f"{cloud.url}/v3/spaces/{space}/actions/apply_manifest"
        text = "applications: [{name: a}]"
        answer = await cloud.kit.http.request("POST", url, content=text, headers=login)
        assert (roles, answer.status) == (roles, status)
        manifest = await asker.raw("GET", f"/v3/apps/{guid}/manifest")
        assert (roles, manifest.status) == (roles, read)


async def test_a_new_app_has_a_log_at_once(cloud: Cloud) -> None:
    """Log clients follow an app only once there is a line; applying again says it no more."""
    async with cloud.kit.subscribe(LogLines) as inbox:
        await applied(cloud, {"name": "a"})
        await applied(cloud, {"name": "a"})
        guid = (await app_named(cloud, "a"))["guid"]
        with trio.fail_after(5):
            told = [(await inbox.__anext__()).body.lines[0].text for _ in range(3)]

    assert told == [
        f"Created app with guid {guid}",
        f"Updated app with guid {guid}",
        f"Updated app with guid {guid}",
    ]
