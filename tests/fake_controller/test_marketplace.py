"""Brokers are registered, and what they offer is shown to those who may use it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from .brokers import FakeBroker, done, failed, register, registration, running_broker
from .conftest import Cloud


@pytest.fixture
async def broker(cloud: Cloud) -> AsyncIterator[FakeBroker]:
    """A broker beside the controller."""
    async with running_broker(cloud) as made:
        yield made


def login(type_: str, password: str) -> Any:
    """How the controller is to log in."""
    return {"type": type_, "credentials": {"username": "u", "password": password}}


async def names(cloud: Cloud, path: str) -> list[str]:
    """The names in a list."""
    return [one["name"] for one in (await cloud.call("GET", path, expect=200))["resources"]]


async def test_a_registered_broker_offers_what_its_catalogue_lists(
    cloud: Cloud, broker: FakeBroker
) -> None:
    """One look for everything: plans with offerings and brokers, as ``cf marketplace`` asks."""
    await done(cloud, "POST", "/v3/service_brokers", registration(broker))

    page = await cloud.call(
        "GET",
        "/v3/service_plans?include=service_offering&order_by=name"
        "&fields[service_offering.service_broker]=guid,name",
        expect=200,
    )

    large, small = page["resources"]
    assert (large["name"], large["free"], large["visibility_type"]) == ("large", False, "admin")
    assert large["costs"] == [{"currency": "USD", "amount": 9.5, "unit": "MONTHLY"}]
    assert large["maintenance_info"] == {"version": "2.0.0", "description": "newer"}
    assert small["broker_catalog"]["features"] == {"bindable": True, "plan_updateable": True}
    [offering] = page["included"]["service_offerings"]
    assert (offering["name"], offering["shareable"], offering["documentation_url"]) == (
        "database",
        True,
        "https://docs",
    )
    [shop] = page["included"]["service_brokers"]
    assert shop == {"guid": offering["relationships"]["service_broker"]["data"]["guid"],
                    "name": "shop"}  # fmt: skip
    [asked] = broker.of("catalog")
    assert asked.headers["x-broker-api-version"] == "2.15"
    assert asked.headers["authorization"].startswith("Basic ")
    assert asked.headers["x-broker-api-originating-identity"].startswith("cloudfoundry ")
    assert asked.headers["x-api-info-location"] == f"{cloud.url.removeprefix('http://')}/"


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (200, "<html>", "Please check that the URL points to a valid service broker."),
        (404, {}, "Status Code: 404 Not Found. Please check that the URL points to a valid"),
        (401, {}, "Authentication with the service broker failed."),
        (302, {}, "The service broker returned an invalid response. Status Code: 302 Found"),
        (500, {"description": "boom"}, "Service broker error: boom"),
        (200, {"services": []}, "Service broker must provide at least one service"),
    ],
)
async def test_a_hostile_catalogue_is_told_of(
    cloud: Cloud, broker: FakeBroker, status: int, body: Any, text: str
) -> None:
    """The job fails with a sentence, and the broker is there to be corrected."""
    broker.says["catalog"] = [(status, body)]

    told = await failed(cloud, "POST", "/v3/service_brokers", registration(broker))

    assert text in told
    [made] = (await cloud.call("GET", "/v3/service_brokers"))["resources"]
    await done(cloud, "PATCH", f"/v3/service_brokers/{made['guid']}", {"url": broker.url})
    assert await names(cloud, "/v3/service_offerings") == ["database"]


async def test_a_broker_that_is_not_there_or_has_no_end(cloud: Cloud, broker: FakeBroker) -> None:
    """Refused, endless: each is an error of its own."""
    gone = registration(replace(broker, url="http://127.0.0.1:1"), "gone")
    broker.says["catalog"] = [(200, {"services": "x" * (9 << 20)})]

    assert "could not be reached" in await failed(cloud, "POST", "/v3/service_brokers", gone)
    told = await failed(cloud, "POST", "/v3/service_brokers", registration(broker))
    assert "the body is larger than 8 MB" in told


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"name": "shop"}, "Name must be unique"),
        ({"name": ""}, "Name must not be empty string"),
        ({"name": "x", "url": "ftp://x"}, "Url 'ftp://x' must be a valid url"),
        ({"name": "x", "url": "http://[x"}, "Url 'http://[x' must be a valid url"),
        ({"name": "x", "url": "http://u:p@x"}, "Url must not contain authentication"),
        (
            {"name": "x", "authentication": login("oauth", "p")},
            'authentication.type must be one of ["basic"]',
        ),
        (
            {"name": "x", "authentication": login("basic", "")},
            "must be valid",
        ),
        ({"name": "x", "relationships": {"space": {"data": {"guid": "x"}}}}, "Invalid space."),
    ],
)  # fmt: skip
async def test_a_wrong_broker_is_refused(
    cloud: Cloud, broker: FakeBroker, values: Any, text: str
) -> None:
    """At once, without a job."""
    await done(cloud, "POST", "/v3/service_brokers", registration(broker))

    answer = await cloud.raw("POST", "/v3/service_brokers", registration(broker) | values)

    assert answer.status == 422
    assert text in answer.json()["errors"][0]["detail"]


async def test_a_changed_catalogue_is_taken_over(cloud: Cloud, broker: FakeBroker) -> None:
    """What it lists is changed in place, what it has no more goes."""
    plans = await register(cloud, broker)
    [made] = (await cloud.call("GET", "/v3/service_brokers"))["resources"]
    service = broker.catalog["services"][0]
    service["name"] = "rows"
    service["plans"] = [service["plans"][0] | {"description": "One big row"}]

    await done(
        cloud, "PATCH", f"/v3/service_brokers/{made['guid']}", {"name": "store", "url": broker.url}
    )

    [plan] = (await cloud.call("GET", "/v3/service_plans"))["resources"]
    assert (plan["guid"], plan["description"]) == (plans["small"], "One big row")
    assert plan["visibility_type"] == "public"
    assert await names(cloud, "/v3/service_offerings?service_broker_names=store") == ["rows"]


async def test_a_failed_update_changes_nothing(cloud: Cloud, broker: FakeBroker) -> None:
    """Name, address and state are as before."""
    await register(cloud, broker)
    [made] = (await cloud.call("GET", "/v3/service_brokers"))["resources"]
    path = f"/v3/service_brokers/{made['guid']}"
    broker.says["catalog"] = [(500, {})]

    await failed(cloud, "PATCH", path, {"name": "other", "url": broker.url})

    assert (await cloud.call("GET", path))["name"] == "shop"
    await done(cloud, "PATCH", path, {"name": "other"})
    assert (await cloud.call("GET", path))["name"] == "other"
    assert len(broker.of("catalog")) == 2  # a new name alone needs no catalogue


async def test_visibility_is_given_and_taken(cloud: Cloud, broker: FakeBroker) -> None:
    """Public, for some organizations, or for administrators alone."""
    plan = (await register(cloud, broker, public=False))["small"]
    path = f"/v3/service_plans/{plan}/visibility"
    [dev] = (await cloud.call("GET", "/v3/organizations"))["resources"]
    other = await cloud.call("POST", "/v3/organizations", {"name": "other"}, expect=201)

    def to(*organizations: str) -> Any:
        return {"type": "organization", "organizations": [{"guid": one} for one in organizations]}

    assert await cloud.call("GET", path, expect=200) == {"type": "admin"}
    await cloud.call("PATCH", path, to(dev["guid"]), expect=200)
    await cloud.call("POST", path, to(other["guid"]), expect=200)
    shown = await cloud.call("GET", path, expect=200)
    assert [one["name"] for one in shown["organizations"]] == ["dev", "other"]
    space = await cloud.space()
    assert await names(cloud, f"/v3/service_plans?space_guids={space}") == ["small"]
    assert await names(cloud, f"/v3/service_offerings?space_guids={space}") == ["database"]
    for one in (dev, other):
        await cloud.raw("DELETE", f"{path}/{one['guid']}")
    assert await cloud.call("GET", path, expect=200) == {"type": "admin"}
    assert await names(cloud, f"/v3/service_plans?organization_guids={dev['guid']}") == []
    for body, status in (
        ({"type": "odd"}, 400),
        ({"type": "organization"}, 400),
        ({"type": "public", "organizations": []}, 400),
        (to("unknown"), 422),
    ):
        assert (await cloud.raw("PATCH", path, body)).status == status
    assert (await cloud.raw("DELETE", f"{path}/{dev['guid']}")).status == 422


async def test_a_broker_of_a_space_is_nobody_elses(cloud: Cloud, broker: FakeBroker) -> None:
    """Its plans can be used there at once, and are never public."""
    space = await cloud.space()
    body = registration(broker, relationships={"space": {"data": {"guid": space}}})
    await done(cloud, "POST", "/v3/service_brokers", body)

    page = await cloud.call("GET", "/v3/service_plans?include=space.organization", expect=200)

    plan = page["resources"][0]
    assert plan["visibility_type"] == "space"
    assert plan["relationships"]["space"] == {"data": {"guid": space}}
    assert [one["name"] for one in page["included"]["spaces"]] == ["dev"]
    assert [one["name"] for one in page["included"]["organizations"]] == ["dev"]
    path = f"/v3/service_plans/{plan['guid']}/visibility"
    assert (await cloud.call("GET", path))["space"] == {"guid": space, "name": "dev"}
    assert (await cloud.raw("PATCH", path, {"type": "public"})).status == 422


async def test_offerings_and_brokers_are_deleted(cloud: Cloud, broker: FakeBroker) -> None:
    """An offering with plans only when it is purged; a broker with all it offers."""
    await register(cloud, broker)
    [offering] = (await cloud.call("GET", "/v3/service_offerings"))["resources"]
    [made] = (await cloud.call("GET", "/v3/service_brokers"))["resources"]
    path = f"/v3/service_offerings/{offering['guid']}"

    labelled = await cloud.call("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, expect=200)
    assert labelled["metadata"]["labels"] == {"a": "b"}
    assert (await cloud.raw("DELETE", path)).status == 422
    assert (await cloud.raw("DELETE", f"{path}?purge=maybe")).status == 400
    assert (await cloud.raw("DELETE", f"{path}?purge=true")).status == 204
    await done(cloud, "PATCH", f"/v3/service_brokers/{made['guid']}", {"url": broker.url})
    assert await names(cloud, "/v3/service_offerings") == ["database"]
    await done(cloud, "DELETE", f"/v3/service_brokers/{made['guid']}")
    for kind in ("service_brokers", "service_offerings", "service_plans"):
        assert await names(cloud, f"/v3/{kind}") == []
    events = await cloud.call("GET", "/v3/audit_events?types=audit.service.create", expect=200)
    assert [event["actor"]["type"] for event in events["resources"]] == ["service_broker"] * 2
