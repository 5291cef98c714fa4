"""Service instances at brokers: made, changed and deleted, at once or in a while."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from .brokers import (
    FakeBroker,
    done,
    ended,
    failed,
    instance,
    register,
    running_broker,
    shown,
    wanted,
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


async def test_an_instance_is_made_at_its_broker(
    cloud: Cloud, broker: FakeBroker, plans: dict[str, str]
) -> None:
    """The broker is told where it is, for whom, and what for."""
    guid = await instance(cloud, plans["large"], parameters={"rows": 2}, tags=["mine"])

    [asked] = broker.of("provision")
    space = await cloud.call("GET", f"/v3/spaces/{await cloud.space()}")
    organization = space["relationships"]["organization"]["data"]["guid"]
    assert asked.params == {"instance": guid}
    assert asked.query == {"accepts_incomplete": "true"}
    assert asked.body == {
        "service_id": "service-id",
        "plan_id": "large-id",
        "organization_guid": organization,
        "space_guid": space["guid"],
        "context": {
            "platform": "cloudfoundry",
            "organization_guid": organization,
            "organization_name": "dev",
            "organization_annotations": {},
            "space_guid": space["guid"],
            "space_name": "dev",
            "space_annotations": {},
            "instance_name": "db",
            "instance_annotations": {},
        },
        "parameters": {"rows": 2},
        "maintenance_info": {"version": "2.0.0", "description": "newer"},
    }
    kind, encoded = asked.headers["x-broker-api-originating-identity"].split()
    assert (kind, json.loads(base64.b64decode(encoded)).keys()) == ("cloudfoundry", {"user_id"})
    one = await shown(cloud)
    assert (one["type"], one["dashboard_url"], one["upgrade_available"], one["tags"]) == (
        "managed",
        "https://dashboard",
        False,
        ["mine"],
    )
    assert (one["last_operation"]["type"], one["last_operation"]["state"]) == (
        "create",
        "succeeded",
    )
    assert await cloud.call("GET", f"/v3/service_instances/{guid}/parameters") == {"rows": 1}


async def test_lists_bring_plan_offering_and_broker(
    cloud: Cloud, broker: FakeBroker, plans: dict[str, str]
) -> None:
    """``cf services`` reads them from ``included``, and only what it asked for."""
    await instance(cloud, plans["small"])
    query = (
        "fields[service_plan]=guid,name,relationships.service_offering"
        "&fields[service_plan.service_offering]=guid,name,relationships.service_broker"
        "&fields[service_plan.service_offering.service_broker]=guid,name"
    )

    page = await cloud.call("GET", f"/v3/service_instances?{query}", expect=200)

    [plan], [offering], [shop] = (
        page["included"][kind] for kind in ("service_plans", "service_offerings", "service_brokers")
    )
    assert plan == {
        "guid": plans["small"],
        "name": "small",
        "relationships": {"service_offering": {"data": {"guid": offering["guid"]}}},
    }
    assert offering["relationships"]["service_broker"]["data"]["guid"] == shop["guid"]
    assert shop["name"] == "shop"


async def test_a_broker_can_take_its_time(
    cloud: Cloud, broker: FakeBroker, plans: dict[str, str]
) -> None:
    """The job is POLLING meanwhile; what the broker says of it is shown."""
    going = (200, {"state": "in progress", "description": "copying rows"})
    broker.says |= {
        "provision": [(202, {"operation": "op-1"})],
        "last": [(500, {}), *[going] * 10_000],
    }

    location = await cloud.call(
        "POST", "/v3/service_instances", await wanted(cloud, plans["small"]), expect=202
    )
    with trio.fail_after(5):
        while (await shown(cloud))["last_operation"]["description"] != "copying rows":
            await trio.lowlevel.checkpoint()
    assert (await cloud.call("GET", location))["state"] == "POLLING"
    busy = f"/v3/service_instances/{(await shown(cloud))['guid']}"
    assert (await cloud.raw("PATCH", busy, {"name": "other"})).status == 409
    broker.says.clear()
    assert (await ended(cloud, location))["state"] == "COMPLETE"

    assert broker.of("last")[0].query == {
        "service_id": "service-id",
        "plan_id": "small-id",
        "operation": "op-1",
    }
    assert (await shown(cloud))["last_operation"]["state"] == "succeeded"


@pytest.mark.parametrize(
    ("said", "text", "orphan"),
    [
        ((500, {"description": "boom"}), "Service broker error: boom", True),
        ((201, "<html>"), "expected valid JSON object in body", True),
        ((200, "<html>"), "expected valid JSON object in body", False),
        ((400, {"description": "no rows"}), "Service broker error: no rows", False),
        ((422, {"error": "AsyncRequired"}), "client support for asynchronous", False),
        ((302, {}), "Status Code: 302 Found", True),
    ],
)
async def test_a_failed_creation_is_told_and_cleaned_up(
    cloud: Cloud,
    broker: FakeBroker,
    plans: dict[str, str],
    said: tuple[int, Any],
    text: str,
    orphan: bool,
) -> None:
    """The broker is told to forget what it may have made; the name can be used again."""
    broker.says["provision"] = [said]
    body = await wanted(cloud, plans["small"])

    told = await failed(cloud, "POST", "/v3/service_instances", body)

    assert told.startswith("provision could not be completed: ")
    assert text in told
    latest = (await shown(cloud))["last_operation"]
    assert (latest["type"], latest["state"]) == ("create", "failed")
    assert text in latest["description"]
    with trio.move_on_after(5 if orphan else 0):
        while not broker.of("deprovision"):
            await trio.lowlevel.checkpoint()
    assert bool(broker.of("deprovision")) == orphan
    await done(cloud, "POST", "/v3/service_instances", body)


async def test_an_operation_that_fails_later_says_why(
    cloud: Cloud, broker: FakeBroker, plans: dict[str, str]
) -> None:
    """The broker's own words are the reason."""
    broker.says |= {
        "provision": [(202, {})],
        "last": [(200, {"state": "failed", "description": "disk full"})],
    }

    told = await failed(cloud, "POST", "/v3/service_instances", await wanted(cloud, plans["small"]))

    assert told == "create managed could not be completed: disk full"
    assert (await shown(cloud))["last_operation"]["description"] == "disk full"


async def test_a_plan_can_say_how_long_it_takes_at_most(cloud: Cloud, broker: FakeBroker) -> None:
    """Then the operation has failed, and the broker is told to forget it."""
    broker.catalog["services"][0]["plans"][0]["maximum_polling_duration"] = 1
    plan = (await register(cloud, broker))["small"]
    broker.says["provision"] = [(202, {})]
    broker.says["last"] = [(200, {"state": "in progress"})] * 1000

    told = await failed(cloud, "POST", "/v3/service_instances", await wanted(cloud, plan))

    assert "Service Broker failed to provision within the required time." in told
    with trio.fail_after(5):
        while not broker.of("deprovision"):
            await trio.lowlevel.checkpoint()


async def test_wrong_instances_are_refused(
    cloud: Cloud, broker: FakeBroker, plans: dict[str, str]
) -> None:
    """At once, with Cloud Controller's sentences."""
    await instance(cloud, plans["small"])
    path = f"/v3/service_plans/{plans['large']}/visibility"
    await cloud.call("PATCH", path, {"type": "admin"}, expect=200)
    body = await wanted(cloud, plans["small"])
    no_plan = {"relationships": {"space": body["relationships"]["space"]}}
    refused = [
        (body, "The service instance name is taken: db."),
        (await wanted(cloud, "x", "b"), "Ensure that the service plan exists, is available"),
        (await wanted(cloud, plans["large"], "b"), "is not enabled in this organization"),
        (body | {"name": "b"} | no_plan, "Service plan can't be blank"),
        (body | {"name": "b", "credentials": {}}, "Unknown field(s): 'credentials'"),
    ]

    for wrong, text in refused:
        status, told = await problem(cloud, "POST", "/v3/service_instances", wrong)
        assert (status, text in told) == (422, True), (wrong, told)
    assert len(broker.of("provision")) == 1


async def test_a_new_plan_is_the_brokers_business_and_a_name_is_not(
    cloud: Cloud, broker: FakeBroker, plans: dict[str, str]
) -> None:
    """A plan or parameters go to the broker; tags, and here names, stay with us."""
    guid = await instance(cloud, plans["small"], parameters={"a": 1})
    path = f"/v3/service_instances/{guid}"

    renamed = await cloud.call("PATCH", path, {"name": "rows", "tags": ["t"]}, expect=200)
    assert (renamed["name"], renamed["tags"], broker.of("update")) == ("rows", ["t"], [])
    relation = {"service_plan": {"data": {"guid": plans["large"]}}}
    await done(cloud, "PATCH", path, {"relationships": relation, "parameters": {"a": 2}})

    [asked] = broker.of("update")
    assert asked.body["plan_id"] == "large-id"
    assert asked.body["parameters"] == {"a": 2}
    assert asked.body["previous_values"]["plan_id"] == "small-id"
    assert asked.body["maintenance_info"] == {"version": "2.0.0"}
    changed = await cloud.call("GET", path)
    assert changed["relationships"]["service_plan"]["data"]["guid"] == plans["large"]
    assert (changed["maintenance_info"], changed["upgrade_available"]) == (
        {"version": "2.0.0"},
        False,
    )


async def test_upgrades_name_a_version_that_there_is(
    cloud: Cloud, broker: FakeBroker, plans: dict[str, str]
) -> None:
    """``cf upgrade-service`` sends the plan's own."""
    guid = await instance(cloud, plans["large"])
    path = f"/v3/service_instances/{guid}"
    [made] = (await cloud.call("GET", "/v3/service_brokers"))["resources"]
    large = broker.catalog["services"][0]["plans"][1]
    large["maintenance_info"] = {"version": "3.0.0"}
    await done(cloud, "PATCH", f"/v3/service_brokers/{made['guid']}", {"url": broker.url})
    assert (await cloud.call("GET", path))["upgrade_available"]

    wrong = await problem(cloud, "PATCH", path, {"maintenance_info": {"version": "9.0.0"}})
    await done(cloud, "PATCH", path, {"maintenance_info": {"version": "3.0.0"}})

    assert (wrong[0], "version requested is invalid" in wrong[1]) == (422, True)
    assert broker.of("update")[0].body["maintenance_info"] == {"version": "3.0.0"}
    assert not (await cloud.call("GET", path))["upgrade_available"]


async def test_a_failed_update_changes_nothing(
    cloud: Cloud, broker: FakeBroker, plans: dict[str, str]
) -> None:
    """The instance keeps its plan and can be changed again."""
    guid = await instance(cloud, plans["small"])
    path = f"/v3/service_instances/{guid}"
    relation = {"service_plan": {"data": {"guid": plans["large"]}}}
    broker.says["update"] = [(400, {"description": "not today"})]

    told = await failed(cloud, "PATCH", path, {"relationships": relation})

    assert told == "update could not be completed: Service broker error: not today"
    kept = await cloud.call("GET", path)
    assert kept["relationships"]["service_plan"]["data"]["guid"] == plans["small"]
    assert (kept["last_operation"]["type"], kept["last_operation"]["state"]) == ("update", "failed")
    await done(cloud, "PATCH", path, {"relationships": relation})


async def test_a_broker_that_keeps_something_keeps_it(
    cloud: Cloud, broker: FakeBroker, plans: dict[str, str]
) -> None:
    """The instance is there until its broker lets it go, or an administrator purges it."""
    guid = await instance(cloud, plans["small"])
    path = f"/v3/service_instances/{guid}"
    broker.says["deprovision"] = [
        (500, {"description": "no"}),
        (422, {"error": "ConcurrencyError"}),
    ]

    first = await failed(cloud, "DELETE", path)
    second = await failed(cloud, "DELETE", path)

    assert first == ("delete could not be completed: Service instance db: Service broker error: no")
    assert second == "An operation for service instance db is in progress."
    assert (await shown(cloud))["last_operation"]["state"] == "failed"
    [made] = (await cloud.call("GET", "/v3/service_brokers"))["resources"]
    assert (await cloud.raw("DELETE", f"/v3/service_brokers/{made['guid']}")).status == 422
    assert (await cloud.raw("DELETE", f"{path}?purge=true")).status == 204
    assert len(broker.of("deprovision")) == 2


async def test_a_slow_creation_can_be_given_up(
    cloud: Cloud, broker: FakeBroker, plans: dict[str, str]
) -> None:
    """Deleting overtakes it: the first job fails, the second one ends."""
    broker.says |= {"provision": [(202, {})]}
    broker.says["last"] = [(200, {"state": "in progress"})] * 3
    creating = await cloud.call(
        "POST", "/v3/service_instances", await wanted(cloud, plans["small"]), expect=202
    )
    guid = (await shown(cloud))["guid"]

    await done(cloud, "DELETE", f"/v3/service_instances/{guid}")

    [error] = (await ended(cloud, creating))["errors"]
    assert "could not be completed" in error["detail"] or "not found" in error["detail"]


async def test_a_plan_that_leaves_the_catalogue_stays_while_it_is_used(
    cloud: Cloud, broker: FakeBroker, plans: dict[str, str]
) -> None:
    """There are no new instances of it; the job warns, and the last instance takes it along."""
    guid = await instance(cloud, plans["small"])
    [made] = (await cloud.call("GET", "/v3/service_brokers"))["resources"]
    path = f"/v3/service_brokers/{made['guid']}"
    del broker.catalog["services"][0]["plans"][0]

    job = await ended(cloud, await cloud.call("PATCH", path, {"url": broker.url}, expect=202))

    [warning] = job["warnings"]
    assert "Service Offering: database\nPlans deactivated: small" in warning["detail"]
    refused = await problem(
        cloud, "POST", "/v3/service_instances", await wanted(cloud, plans["small"], "b")
    )
    assert (refused[0], "has been removed from the service broker's catalog" in refused[1]) == (
        422,
        True,
    )
    body = {"parameters": {"a": 1}}
    assert await problem(cloud, "PATCH", f"/v3/service_instances/{guid}", body) == (
        422,
        "Cannot update parameters of a service instance that belongs to inaccessible plan",
    )
    await done(cloud, "DELETE", f"/v3/service_instances/{guid}")
    await done(cloud, "PATCH", path, {"url": broker.url})
    left = (await cloud.call("GET", "/v3/service_plans"))["resources"]
    assert [plan["name"] for plan in left] == ["large"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"maintenance_info": {"version": "new"}}, "should be a semantic version."),
        ({"maintenance_info": {"version": "9.9.9"}}, "does not support upgrades"),
        ({"syslog_drain_url": "syslog://x"}, "Unknown field(s): 'syslog_drain_url'"),
        ({"name": "x" * 256}, "Names are limited to 255 characters."),
        ({"relationships": {"service_plan": {"data": {"guid": "x"}}}}, "Invalid service plan."),
    ],
)
async def test_wrong_updates_are_refused(
    cloud: Cloud, broker: FakeBroker, plans: dict[str, str], changes: Any, text: str
) -> None:
    """At once, and nothing is asked of the broker."""
    guid = await instance(cloud, plans["small"])

    status, told = await problem(cloud, "PATCH", f"/v3/service_instances/{guid}", changes)

    assert (status, text in told) == (422, True), told
    assert not broker.of("update")
