"""Service instances that users provide, their bindings, and what apps are told of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from .conftest import Cloud, Dea, Stager

SECRET = {"uri": "postgres://u:p@db/x", "password": "p"}


async def instance(cloud: Cloud, name: str = "db", **values: Any) -> Any:
    """A new user-provided service instance."""
    relation = {"space": {"data": {"guid": await cloud.space()}}}
    body = {"type": "user-provided", "name": name, "relationships": relation} | values
    return await cloud.call("POST", "/v3/service_instances", body, expect=201)


def binding_of(instance: str, app: str, **values: Any) -> Any:
    """The body that binds *app* to *instance*."""
    relation = {
        "service_instance": {"data": {"guid": instance}},
        "app": {"data": {"guid": app}},
    }
    return {"type": "app", "relationships": relation} | values


async def bind(cloud: Cloud, instance: str, app: str, **values: Any) -> Any:
    """A new binding of *app* to *instance*."""
    body = binding_of(instance, app, **values)
    return await cloud.call("POST", "/v3/service_credential_bindings", body, expect=201)


async def problem(cloud: Cloud, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """Status and sentence of the error that must come back."""
    answer = await cloud.raw(method, path, body)
    [error] = answer.json()["errors"]
    return answer.status, error["detail"]


async def test_an_instance_keeps_its_secrets_apart(cloud: Cloud) -> None:
    """Only ``…/credentials`` shows them; everything else of the instance is plain."""
    made = await instance(
        cloud, credentials=SECRET, tags=["a", "b"], syslog_drain_url="syslog://logs:514"
    )
    path = f"/v3/service_instances/{made['guid']}"
    shown = await cloud.call("GET", path, expect=200)

    assert "password" not in str(shown)
    assert (shown["type"], shown["tags"], shown["syslog_drain_url"]) == (
        "user-provided",
        ["a", "b"],
        "syslog://logs:514",
    )
    latest = shown["last_operation"]
    assert (latest["type"], latest["state"]) == ("create", "succeeded")
    assert await cloud.call("GET", f"{path}/credentials", expect=200) == SECRET
    assert await cloud.call("GET", f"{path}/permissions", expect=200) == {
        "manage": True,
        "read": True,
    }


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"name": "db"}, "The service instance name is taken: db."),
        ({"name": "  "}, "Name can't be blank"),
        ({"name": "x" * 256}, "Names are limited to 255 characters."),
        ({"name": "x", "tags": ["t" * 2049]}, "must be 2048 characters or less."),
        ({"name": "x", "parameters": {}}, "Unknown field(s): 'parameters'"),
        ({"name": "x", "type": "other"}, "Type must be one of 'managed', 'user-provided'"),
        ({"name": "x", "syslog_drain_url": "no uri"}, "Syslog drain url must be a valid URI"),
        ({"name": "x", "route_service_url": "http://x"}, "Route service url must be https"),
        ({"name": "x", "route_service_url": "https://[x"}, "Route service url must be a valid URI"),
        ({"name": "x", "credentials": "secret"}, "Expected `object | null`, got `str`"),
    ],
)
async def test_a_wrong_instance_is_refused(cloud: Cloud, values: dict[str, Any], text: str) -> None:
    """The sentences are Cloud Controller's; the CLI acts on that of a name that is taken."""
    await instance(cloud)
    relation = {"space": {"data": {"guid": await cloud.space()}}}
    body = {"type": "user-provided", "relationships": relation} | values

    status, told = await problem(cloud, "POST", "/v3/service_instances", body)

    assert status == 422
    assert text in told


async def test_an_update_changes_what_it_names(cloud: Cloud) -> None:
    """A null empties, what is left out stays, and bindings follow the credentials."""
    made = await instance(cloud, credentials=SECRET, tags=["a"], route_service_url="https://r")
    bound = await bind(cloud, made["guid"], await cloud.app())
    body = {"name": "db2", "credentials": {"new": 1}, "route_service_url": None}

    changed = await cloud.call("PATCH", f"/v3/service_instances/{made['guid']}", body, expect=200)

    assert (changed["name"], changed["tags"], changed["route_service_url"]) == ("db2", ["a"], None)
    assert changed["last_operation"]["type"] == "update"
    path = f"/v3/service_credential_bindings/{bound['guid']}/details"
    assert (await cloud.call("GET", path, expect=200))["credentials"] == {"new": 1}


async def test_lists_include_apps_and_instances(cloud: Cloud) -> None:
    """``cf services`` reads the app's space from ``included.apps``."""
    first, second = await instance(cloud, "one"), await instance(cloud, "two")
    app = await cloud.app()
    for one in (first, second):
        await bind(cloud, one["guid"], app)

    found = await cloud.call(
        "GET",
        "/v3/service_credential_bindings?include=app,service_instance"
        f"&service_instance_guids={second['guid']}&type=app&app_names=hello",
        expect=200,
    )

    assert [one["relationships"]["app"]["data"]["guid"] for one in found["resources"]] == [app]
    assert [one["name"] for one in found["included"]["apps"]] == ["hello"]
    assert "space" in found["included"]["apps"][0]["relationships"]
    assert [one["name"] for one in found["included"]["service_instances"]] == ["two"]
    listed = await cloud.call("GET", "/v3/service_instances?names=one,three&type=user-provided")
    assert [one["guid"] for one in listed["resources"]] == [first["guid"]]


async def test_wrong_bindings_are_refused(cloud: Cloud) -> None:
    """Each with Cloud Controller's sentence."""
    made, app = (await instance(cloud))["guid"], await cloud.app()
    other = (await instance(cloud, "other"))["guid"]
    await bind(cloud, made, app, name="taken")
    bindings = "/v3/service_credential_bindings"
    refused = [
        (binding_of(made, app), "The app is already bound to the service instance"),
        (
            binding_of(made, app, strategy="multiple"),
            "The binding name cannot be changed for the same app and service instance",
        ),
        (binding_of(other, app, name="taken"), "The app already has a binding with name 'taken'."),
        (binding_of(other, app, name="a b"), "Valid characters are alphanumeric, underscore"),
        (binding_of(other, app, name="a" * 256), "must be less than 256 characters."),
        (binding_of(other, "x"), "The app could not be found: 'x'"),
        (binding_of("x", app), "The service instance could not be found: 'x'"),
        (binding_of(other, app, type="odd"), "Type must be 'app' or 'key'"),
        (binding_of(other, app, type="key"), "Name can't be blank"),
        (
            binding_of(other, app, type="key", name="k"),
            "Service credential bindings of type 'key' are not supported",
        ),
        (
            binding_of(other, app, parameters={"a": 1}),
            "Binding parameters are not supported for user-provided service instances",
        ),
        (binding_of(other, app, strategy="all"), "Strategy must be 'single' or 'multiple'"),
    ]

    for body, text in refused:
        status, told = await problem(cloud, "POST", bindings, body)
        assert (status, text in told) == (422, True), (body, told)


async def test_labels_of_a_binding_change(cloud: Cloud) -> None:
    """PATCH takes metadata, no more; DELETE forgets the binding at once."""
    made = await bind(cloud, (await instance(cloud))["guid"], await cloud.app())
    path = f"/v3/service_credential_bindings/{made['guid']}"

    changed = await cloud.call("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, expect=200)
    gone = await cloud.raw("DELETE", path)

    assert changed["metadata"]["labels"] == {"a": "b"}
    assert (gone.status, gone.body) == (204, b"")
    assert await problem(cloud, "GET", path) == (404, "Service credential binding not found")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("service_instances", "fetching service instance parameters."),
        ("service_credential_bindings", "fetching service binding parameters."),
    ],
)
async def test_there_are_no_parameters(cloud: Cloud, kind: str, text: str) -> None:
    """Only brokers are given some."""
    made = await instance(cloud)
    bound = await bind(cloud, made["guid"], await cloud.app())
    guid = (made if kind == "service_instances" else bound)["guid"]

    status, told = await problem(cloud, "GET", f"/v3/{kind}/{guid}/parameters")

    assert (status, text in told) == (400, True)


async def test_apps_are_told_of_what_is_bound(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """The stager, the instances and ``…/env`` get the same VCAP_SERVICES."""
    app = await cloud.app()
    made = await instance(cloud, credentials=SECRET, tags=["sql"], syslog_drain_url="syslog://a,b")
    bound = await bind(cloud, made["guid"], app, name="main-db")
    droplet = await cloud.staged(app, tmp_path)
    await cloud.call(
        "PATCH", f"/v3/apps/{app}/relationships/current_droplet", {"data": {"guid": droplet}}
    )
    await cloud.call("POST", f"/v3/apps/{app}/actions/start", expect=200)
    await cloud.until_states(app, "RUNNING")

    wanted = {
        "label": "user-provided",
        "name": "main-db",
        "tags": ["sql"],
        "instance_guid": made["guid"],
        "instance_name": "db",
        "binding_guid": bound["guid"],
        "binding_name": "main-db",
        "credentials": SECRET,
        "syslog_drain_url": "syslog://a%2cb",
        "volume_mounts": [],
    }
    env = await cloud.call("GET", f"/v3/apps/{app}/env", expect=200)
    assert env["system_env_json"] == {"VCAP_SERVICES": {"user-provided": [wanted]}}
    assert dea.starts[0].services == [wanted]
    assert stager.requests[0].properties.vcap_services == {"user-provided": [wanted]}


async def test_deleting_takes_bindings_along(cloud: Cloud) -> None:
    """Those of an instance at once, those of an app with its job."""
    made, other, app = await instance(cloud), await instance(cloud, "other"), await cloud.app()
    for one in (made, other):
        await bind(cloud, one["guid"], app)

    gone = await cloud.raw("DELETE", f"/v3/service_instances/{made['guid']}")
    left = await cloud.call("GET", "/v3/service_credential_bindings")
    job = await cloud.call("DELETE", f"/v3/apps/{app}", expect=202)
    with trio.fail_after(5):
        while (await cloud.call("GET", job))["state"] != "COMPLETE":
            await trio.lowlevel.checkpoint()

    assert gone.status == 204
    assert len(left["resources"]) == 1
    assert not (await cloud.call("GET", "/v3/service_credential_bindings"))["resources"]


async def test_a_newer_binding_takes_over(cloud: Cloud) -> None:
    """With strategy multiple credentials are renewed; apps are told of the newest."""
    made, app = (await instance(cloud))["guid"], await cloud.app()
    await bind(cloud, made, app)
    newest = await bind(cloud, made, app, strategy="multiple")

    env = await cloud.call("GET", f"/v3/apps/{app}/env", expect=200)

    [told] = env["system_env_json"]["VCAP_SERVICES"]["user-provided"]
    assert told["binding_guid"] == newest["guid"]
