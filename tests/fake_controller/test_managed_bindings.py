"""What is bound to instances at brokers, or shares them: apps, keys and other spaces."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from .brokers import (
    BINDINGS,
    FakeBroker,
    binding_of,
    done,
    failed,
    instance,
    register,
    running_broker,
)
from .conftest import Cloud
from .test_user_provided_services import problem


@pytest.fixture
async def broker(cloud: Cloud) -> AsyncIterator[FakeBroker]:
    """A broker beside the controller."""
    async with running_broker(cloud) as made:
        yield made


@pytest.fixture
async def plans(cloud: Cloud, broker: FakeBroker) -> dict[str, str]:
    """The guids of the broker's plans, which everybody may use."""
    return await register(cloud, broker)


async def test_an_app_is_bound_and_told(
    cloud: Cloud, broker: FakeBroker, plans: dict[str, str]
) -> None:
    """VCAP_SERVICES groups by the offering, with its tags and the plan."""
    guid, app = await instance(cloud, plans["small"], tags=["mine"]), await cloud.app()

    await done(cloud, "POST", BINDINGS, binding_of(guid, app, name="main", parameters={"r": 1}))

    [asked] = broker.of("bind")
    assert asked.body["app_guid"] == app
    assert asked.body["bind_resource"] == {
        "app_guid": app,
        "space_guid": await cloud.space(),
        "app_annotations": {},
    }
    assert asked.body["parameters"] == {"r": 1}
    env = await cloud.call("GET", f"/v3/apps/{app}/env")
    [told] = env["system_env_json"]["VCAP_SERVICES"]["database"]
    assert told == {
        "label": "database",
        "provider": None,
        "plan": "small",
        "name": "main",
        "tags": ["sql", "mine"],
        "instance_guid": guid,
        "instance_name": "db",
        "binding_guid": asked.params["binding"],
        "binding_name": "main",
        "credentials": {"user": "u"},
        "syslog_drain_url": None,
        "volume_mounts": [],
    }
    status, text = await problem(cloud, "POST", BINDINGS, binding_of(guid, app))
    assert (status, text) == (422, "The app is already bound to the service instance")
    path = f"{BINDINGS}/{asked.params['binding']}"
    assert await cloud.call("GET", f"{path}/parameters", expect=200) == {"role": "r"}
    await done(cloud, "DELETE", path)
    assert broker.of("unbind")[0].query["plan_id"] == "small-id"
    env = await cloud.call("GET", f"/v3/apps/{app}/env")
    assert env["system_env_json"] == {"VCAP_SERVICES": {}}


async def test_a_key_is_made_and_read(
    cloud: Cloud, broker: FakeBroker, plans: dict[str, str]
) -> None:
    """Asynchronously here: its credentials are fetched when the broker is done."""
    guid = await instance(cloud, plans["small"])
    broker.says |= {"bind": [(202, {"operation": "b"})]}

    await done(cloud, "POST", BINDINGS, binding_of(guid, name="k"))

    page = await cloud.call("GET", f"{BINDINGS}?type=key&names=k&service_instance_guids={guid}")
    [key] = page["resources"]
    path = f"{BINDINGS}/{key['guid']}"
    assert await cloud.call("GET", f"{path}/details") == {"credentials": {"user": "late"}}
    assert broker.of("last")[0].params["binding"] == key["guid"]
    query = "types=audit.service_key.create,audit.service_key.start_create,audit.service_key.show"
    events = (await cloud.call("GET", f"/v3/audit_events?{query}"))["resources"]
    assert [event["type"].rpartition(".")[2] for event in events] == [
        "start_create",
        "create",
        "show",
    ]
    assert events[0]["target"] == {"guid": key["guid"], "type": "service_key", "name": "k"}
    assert events[0]["space"] == {"guid": await cloud.space()}
    status, text = await problem(cloud, "POST", BINDINGS, binding_of(guid, name="k"))
    assert (status, "Key binding names must be unique" in text) == (422, True)


@pytest.mark.parametrize(
    ("said", "text", "orphan"),
    [
        ((500, {}), "bind could not be completed: The service broker returned an invalid", True),
        ((422, {"error": "RequiresApp"}), "through binding an application only.", False),
        ((201, {"credentials": []}), "Expected `object | null`, got `array`", True),
        ((201, {"syslog_drain_url": "syslog://x"}), "not registered as a logging service", True),
        (
            (201, {"volume_mounts": []}),
            "not registered as a volume mount service",
            True,
        ),
    ],
)
async def test_a_failed_binding_is_told_and_cleaned_up(
    cloud: Cloud,
    broker: FakeBroker,
    plans: dict[str, str],
    said: tuple[int, Any],
    text: str,
    orphan: bool,
) -> None:
    """Its credentials are nobody's, and the next attempt takes its place."""
    guid = await instance(cloud, plans["small"])
    broker.says["bind"] = [said]

    assert text in await failed(cloud, "POST", BINDINGS, binding_of(guid, name="k"))

    [key] = (await cloud.call("GET", BINDINGS))["resources"]
    assert await problem(cloud, "GET", f"{BINDINGS}/{key['guid']}/details") == (
        404,
        "Creation of service key failed",
    )
    with trio.move_on_after(5 if orphan else 0):
        while not broker.of("unbind"):
            await trio.lowlevel.checkpoint()
    assert bool(broker.of("unbind")) == orphan
    await done(cloud, "POST", BINDINGS, binding_of(guid, name="k"))


async def test_deleting_takes_bindings_along(
    cloud: Cloud, broker: FakeBroker, plans: dict[str, str]
) -> None:
    """Each is deleted at the broker first, however long that takes."""
    guid, app = await instance(cloud, plans["small"]), await cloud.app()
    await done(cloud, "POST", BINDINGS, binding_of(guid, app))
    await done(cloud, "POST", BINDINGS, binding_of(guid, name="k"))
    broker.says |= {"unbind": [(202, {})], "deprovision": [(202, {"operation": "d"})]}
    broker.says["last"] = [(200, {"state": "in progress"}), (410, {}), (410, {})]

    await done(cloud, "DELETE", f"/v3/service_instances/{guid}")

    order = [one.what for one in broker.asked if one.what in ("unbind", "deprovision")]
    assert order == ["unbind", "unbind", "deprovision"]
    for kind in ("service_instances", "service_credential_bindings"):
        assert not (await cloud.call("GET", f"/v3/{kind}"))["resources"]


async def test_what_can_be_deleted_is_although_something_cannot(
    cloud: Cloud, broker: FakeBroker, plans: dict[str, str]
) -> None:
    """The first problem is told when the others have had their turn."""
    guid = await instance(cloud, plans["small"])
    for name in ("k1", "k2"):
        await done(cloud, "POST", BINDINGS, binding_of(guid, name=name))
    broker.says["unbind"] = [(500, {"description": "no"})]

    told = await failed(cloud, "DELETE", f"/v3/service_instances/{guid}")

    assert "Service broker failed to delete service binding for instance db" in told
    [left] = (await cloud.call("GET", BINDINGS))["resources"]
    assert (left["name"], left["last_operation"]["state"]) == ("k1", "failed")
    assert not broker.of("deprovision")
    await done(cloud, "DELETE", f"/v3/service_instances/{guid}")


async def test_an_app_goes_with_its_bindings(
    cloud: Cloud, broker: FakeBroker, plans: dict[str, str]
) -> None:
    """Not before the broker has let go of them."""
    guid, app = await instance(cloud, plans["small"]), await cloud.app()
    await done(cloud, "POST", BINDINGS, binding_of(guid, app))
    broker.says["unbind"] = [(500, {"description": "no"})]

    told = await failed(cloud, "DELETE", f"/v3/apps/{app}")
    await cloud.call("GET", f"/v3/apps/{app}", expect=200)
    await done(cloud, "DELETE", f"/v3/apps/{app}")

    assert "Service broker failed to delete service binding for instance db" in told
    assert len(broker.of("unbind")) == 2


async def test_an_instance_is_shared_and_unshared(
    cloud: Cloud, broker: FakeBroker, plans: dict[str, str]
) -> None:
    """Apps of the other space can be bound, until it is taken back."""
    guid = await instance(cloud, plans["small"])
    path = f"/v3/service_instances/{guid}/relationships/shared_spaces"
    space = await cloud.call("GET", f"/v3/spaces/{await cloud.space()}")
    organization = space["relationships"]["organization"]
    other = await cloud.call(
        "POST", "/v3/spaces", {"name": "b", "relationships": {"organization": organization}}
    )
    body = {"data": [{"guid": other["guid"]}]}
    relations = {"space": {"data": {"guid": other["guid"]}}}
    app = await cloud.call("POST", "/v3/apps", {"name": "far", "relationships": relations})

    assert (await cloud.raw("POST", path, body)).status == 403  # the feature is off
    await cloud.call("PATCH", "/v3/feature_flags/service_instance_sharing", {"enabled": True})
    early = await problem(cloud, "POST", BINDINGS, binding_of(guid, app["guid"]))
    assert early == (422, "The service instance and the app are in different spaces")
    for wrong, text in (
        ("x", "Ensure the spaces exist and that you have access to them."),
        (space["guid"], "cannot be shared into the space where they were created."),
    ):
        status, told = await problem(cloud, "POST", path, {"data": [{"guid": wrong}]})
        assert (status, text in told) == (422, True)
    assert (await cloud.call("POST", path, body, expect=200))["data"] == body["data"]
    await done(cloud, "POST", BINDINGS, binding_of(guid, app["guid"]))

    shown_ = await cloud.call(
        "GET",
        f"{path}?fields[space]=name,relationships.organization&fields[space.organization]=name",
    )
    assert shown_["included"] == {
        "spaces": [{"name": "b", "relationships": {"organization": organization}}],
        "organizations": [{"name": "dev"}],
    }
    usage = await cloud.call("GET", f"{path}/usage_summary", expect=200)
    assert usage["usage_summary"] == [{"space": {"guid": other["guid"]}, "bound_app_count": 1}]
    status, told = await problem(cloud, "PATCH", f"/v3/service_instances/{guid}", {"name": "c"})
    assert (status, told) == (422, "Service instances that have been shared cannot be renamed")
    broker.says["unbind"] = [(500, {"description": "no"})]
    status, told = await problem(cloud, "DELETE", f"{path}/{other['guid']}")
    assert (status, "Unshare of service instance failed" in told) == (502, True)
    assert (await cloud.raw("DELETE", f"{path}/{other['guid']}")).status == 204
    assert (await cloud.call("GET", path))["data"] == []
    assert len(broker.of("unbind")) == 2
