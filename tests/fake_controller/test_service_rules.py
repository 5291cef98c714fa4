"""Services: who may do what, how many, and how little lists cost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fake_controller.acting import Acting
from fake_controller.conditions import ALL
from fake_controller.http.listing import Listing, answer, understand
from fake_controller.http.service_credential_bindings import BINDINGS as BINDINGS_LIST
from fake_controller.http.service_instances import SERVICE_INSTANCES
from fake_controller.http.service_plans import SERVICE_PLANS
from fake_controller.model import (
    App,
    Operation,
    Organization,
    ServiceBroker,
    ServiceCredentialBinding,
    ServiceInstance,
    ServiceOffering,
    ServicePlan,
    Space,
)
from fake_controller.store import Store, Tx, open_store

from .brokers import (
    BINDINGS,
    FakeBroker,
    binding_of,
    done,
    instance,
    register,
    running_broker,
    wanted,
)
from .conftest import Cloud
from .people import organization, person
from .test_user_provided_services import bind, problem
from .test_user_provided_services import instance as provided


@pytest.fixture
async def broker(cloud: Cloud) -> AsyncIterator[FakeBroker]:
    """A broker beside the controller."""
    async with running_broker(cloud) as made:
        yield made


async def test_roles_decide_what_is_seen_and_changed(cloud: Cloud) -> None:
    """Auditors look, supporters bind, developers do all; strangers find nothing."""
    made, app = (await provided(cloud, credentials={"a": 1}))["guid"], await cloud.app()
    bound = (await bind(cloud, made, app))["guid"]
    path, binding = f"/v3/service_instances/{made}", f"/v3/service_credential_bindings/{bound}"
    auditor = await person(cloud, "auditor", "space_auditor")
    supporter = await person(cloud, "supporter", "space_supporter")
    developer = await person(cloud, "developer", "space_developer")
    stranger = await person(cloud, "stranger")

    async def status(who: Cloud, method: str, path: str, body: Any = None) -> int:
        return int((await who.raw(method, path, body)).status)

    for who, expected in ((auditor, 403), (supporter, 403), (developer, 200), (stranger, 404)):
        assert await status(who, "GET", f"{path}/credentials") == expected
        assert await status(who, "PATCH", path, {"tags": []}) == expected
        assert await status(who, "GET", path) == (404 if who is stranger else 200)
        seen = (await who.call("GET", BINDINGS))["resources"]
        assert len(seen) == (0 if who is stranger else 1)
        details = await status(who, "GET", f"{binding}/details")
        assert details == (200 if who is developer else 404)
        manages = await who.call("GET", f"{path}/permissions", expect=200)
        assert manages == {"manage": who is developer, "read": who is not stranger}
    assert await status(auditor, "DELETE", binding) == 403
    assert await status(supporter, "DELETE", binding) == 204
    again = binding_of(made, app)
    assert await status(auditor, "POST", BINDINGS, again) == 403
    assert await status(supporter, "POST", BINDINGS, again) == 201
    for who in (auditor, supporter):
        assert await status(who, "DELETE", path) == 403
    assert await status(developer, "DELETE", path) == 204


async def test_plans_are_for_those_whom_they_are_shown_to(cloud: Cloud, broker: FakeBroker) -> None:
    """A plan for administrators is nobody else's; brokers are theirs alone."""
    plans = await register(cloud, broker, public=False)
    developer = await person(cloud, "developer", "space_developer")

    async def seen() -> list[str]:
        page = await developer.call("GET", "/v3/service_plans", expect=200)
        return [plan["name"] for plan in page["resources"]]

    assert await seen() == []
    body = {"type": "organization", "organizations": [{"guid": await organization(cloud)}]}
    path = f"/v3/service_plans/{plans['small']}/visibility"
    await cloud.call("PATCH", path, body, expect=200)
    assert await seen() == ["small"]
    offerings = (await developer.call("GET", "/v3/service_offerings"))["resources"]
    assert [one["name"] for one in offerings] == ["database"]
    assert (await developer.call("GET", "/v3/service_brokers"))["resources"] == []
    assert (await developer.raw("PATCH", path, {"type": "public"})).status == 403
    await done(developer, "POST", "/v3/service_instances", await wanted(cloud, plans["small"]))
    large = await wanted(cloud, plans["large"], "b")
    status, told = await problem(developer, "POST", "/v3/service_instances", large)
    assert (status, "Ensure that the service plan exists" in told) == (422, True)


@pytest.mark.parametrize(
    ("limits", "plan", "text"),
    [
        ({"total_service_instances": 0}, "small", "exceeded your organization's services limit."),
        ({"paid_services_allowed": False}, "large", "paid service plans are not allowed."),
        ({"total_service_keys": 0}, "small", "limit for service binding of type key."),
    ],
)
async def test_quotas_refuse(
    cloud: Cloud, broker: FakeBroker, limits: dict[str, Any], plan: str, text: str
) -> None:
    """Before the broker is asked."""
    plans = await register(cloud, broker)
    body = {"name": "tight", "services": limits}
    quota = await cloud.call("POST", "/v3/organization_quotas", body, expect=201)
    path = f"/v3/organization_quotas/{quota['guid']}/relationships/organizations"
    await cloud.call("POST", path, {"data": [{"guid": await organization(cloud)}]}, expect=200)

    if "total_service_keys" in limits:
        key = binding_of(await instance(cloud, plans[plan]), name="k")
        told = await problem(cloud, "POST", BINDINGS, key)
    else:
        body = await wanted(cloud, plans[plan])
        told = await problem(cloud, "POST", "/v3/service_instances", body)

    assert (told[0], text in told[1]) == (422, True), told
    assert len(broker.of("provision")) == ("total_service_keys" in limits)
    assert not broker.of("bind")


async def test_usage_is_counted(cloud: Cloud, broker: FakeBroker) -> None:
    """With plan, offering and broker."""
    plans = await register(cloud, broker)
    guid = await instance(cloud, plans["small"])
    await done(cloud, "DELETE", f"/v3/service_instances/{guid}")

    events = (await cloud.call("GET", "/v3/service_usage_events", expect=200))["resources"]

    assert [event["state"] for event in events] == ["CREATED", "DELETED"]
    assert events[0]["service_plan"] == {"guid": plans["small"], "name": "small"}
    assert events[0]["service_broker"]["name"] == "shop"


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """Forty apps, each bound to an instance of its own plan of its own broker."""
    from appliance.kernel.clock import Clock, Ids

    def work(tx: Tx) -> None:
        ended = Operation(type="create", state="succeeded", created_at=0, updated_at=0)
        for number in range(40):
            organization = tx.new(Organization, name=f"o{number}")
            space = tx.new(Space, name="s", organization_guid=organization.guid)
            app = tx.new(App, name=f"a{number}", space_guid=space.guid)
            broker = tx.new(ServiceBroker, name="b", url="", username="", password="")
            described = {"name": "n", "description": "d", "catalog_id": "c"}
            offering = tx.new(
                ServiceOffering, service_broker_guid=broker.guid, bindable=True, **described
            )
            plan = tx.new(ServicePlan, service_offering_guid=offering.guid, **described)
            made = tx.new(
                ServiceInstance,
                name="i",
                type="managed",
                space_guid=space.guid,
                service_plan_guid=plan.guid,
                last_operation=ended,
            )
            tx.new(
                ServiceCredentialBinding,
                type="app",
                app_guid=app.guid,
                service_instance_guid=made.guid,
                last_operation=ended,
            )

    async with open_store(None, Clock(), Ids()) as made:
        await made.write(work)
        yield made


@pytest.mark.parametrize(
    ("listing", "query"),
    [
        (
            SERVICE_INSTANCES,
            "fields[space]=name&fields[space.organization]=name&fields[service_plan]=name"
            "&fields[service_plan.service_offering]=name"
            "&fields[service_plan.service_offering.service_broker]=name",
        ),
        (BINDINGS_LIST, "include=app,service_instance"),
        (
            SERVICE_PLANS,
            "include=service_offering,space.organization"
            "&fields[service_offering.service_broker]=name",
        ),
    ],
    ids=["instances", "bindings", "plans"],
)
async def test_lists_cost_the_same_for_every_page(
    store: Store, listing: Listing[Any], query: str
) -> None:
    """The number of queries does not grow with the page."""

    async def queries(per_page: int) -> int:
        pairs = [tuple(pair.split("=")) for pair in f"{query}&per_page={per_page}".split("&")]
        asked, counted = understand(listing, pairs), 0  # type: ignore[arg-type]

        def look(tx: Tx) -> int:
            nonlocal counted

            def count(*_: object) -> bool:
                nonlocal counted
                counted += 1
                return True

            tx._connection.exec_trace = count
            acting = Acting(tx, access=None)  # type: ignore[arg-type]
            page = answer(acting, listing, asked, ALL, "http://api/v3/x", pairs)  # type: ignore[arg-type]
            tx._connection.exec_trace = None
            assert len(page["resources"]) == per_page
            return counted

        return int(await store.read(look))

    assert await queries(1) == await queries(40)
