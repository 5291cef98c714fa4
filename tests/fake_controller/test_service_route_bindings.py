"""Routes are bound to services that their requests go through, and the router hears of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from appliance.router.messages import Routing

from .brokers import FakeBroker, done, failed, register, running_broker
from .conftest import Cloud, Dea
from .test_route_options import route
from .test_user_provided_services import instance, problem

GUARD = "https://guard.apps.localhost/check"
BINDINGS = "/v3/service_route_bindings"


def binding_of(route: str, instance: str, **values: Any) -> Any:
    """The body that lets requests of *route* go through *instance*."""
    guids = {"route": route, "service_instance": instance}
    return {"relationships": {k: {"data": {"guid": v}} for k, v in guids.items()}} | values


async def told(cloud: Cloud, routing: dict[str, Routing]) -> None:
    """Wait until the DEAs have been told this at last."""
    with trio.fail_after(5):
        while not cloud.updates or cloud.updates[-1].routing != routing:
            await trio.lowlevel.checkpoint()


async def test_a_bound_route_is_registered_with_its_service(cloud: Cloud, dea: Dea) -> None:
    """Binding, a new URL of the service, and unbinding reach the router by the app's DEAs."""
    app, made = await cloud.app(), await route(cloud, host="a")
    body = {"destinations": [{"app": {"guid": app}}]}
    await cloud.call("POST", f"/v3/routes/{made}/destinations", body, expect=200)
    guard = await instance(cloud, "guard", route_service_url=GUARD)

    bound = await cloud.call("POST", BINDINGS, binding_of(made, guard["guid"]), expect=201)
    await told(cloud, {"a.apps.localhost": Routing(route_service_url=GUARD)})
    changed = {"route_service_url": "https://other"}
    await cloud.call("PATCH", f"/v3/service_instances/{guard['guid']}", changed, expect=200)
    await told(cloud, {"a.apps.localhost": Routing(route_service_url="https://other")})
    await cloud.call("DELETE", f"{BINDINGS}/{bound['guid']}", expect=204)
    await told(cloud, {})

    assert bound["route_service_url"] == GUARD
    assert bound["relationships"]["route"] == {"data": {"guid": made}}
    assert bound["last_operation"]["state"] == "succeeded"


async def test_lists_are_those_that_the_cli_asks_for(cloud: Cloud) -> None:
    """``cf routes`` wants the instances of some routes, also when there are none."""
    one, two = await route(cloud, host="a"), await route(cloud, host="b")
    guard = await instance(cloud, "guard", route_service_url=GUARD)
    await cloud.call("POST", BINDINGS, binding_of(one, guard["guid"]), expect=201)

    query = "?include=service_instance,route&route_guids="
    found = await cloud.call("GET", f"{BINDINGS}{query}{one},{two}", expect=200)
    none = await cloud.call("GET", f"{BINDINGS}{query}{two}", expect=200)

    assert [each["relationships"]["route"]["data"]["guid"] for each in found["resources"]] == [one]
    assert [each["name"] for each in found["included"]["service_instances"]] == ["guard"]
    assert [each["guid"] for each in found["included"]["routes"]] == [one]
    assert none["resources"] == []


async def test_what_cannot_be_bound_is_refused(cloud: Cloud) -> None:
    """In Cloud Controller's words; the CLI knows the title of a binding that is there."""
    one = await route(cloud, host="a")
    guard = await instance(cloud, "guard", route_service_url=GUARD)
    other = await instance(cloud, "other", route_service_url=GUARD)
    plain = await instance(cloud, "plain")
    await cloud.call("POST", BINDINGS, binding_of(one, guard["guid"]), expect=201)

    again = await cloud.raw("POST", BINDINGS, binding_of(one, guard["guid"]))
    assert again.status == 422
    assert again.json()["errors"][0]["title"] == "CF-ServiceInstanceAlreadyBoundToSameRoute"
    for body, why in (
        (binding_of(one, other["guid"]), "only be bound to a single service instance"),
        (binding_of(one, plain["guid"]), "does not support route binding"),
        (binding_of("nothing", guard["guid"]), "The route could not be found: nothing"),
        (binding_of(one, "nothing"), "The service instance could not be found: nothing"),
        (binding_of(one, guard["guid"], parameters={}), "Binding parameters are not supported"),
    ):
        status, detail = await problem(cloud, "POST", BINDINGS, body)
        assert status == 422
        assert why in detail


@pytest.mark.parametrize("gone", ["route", "service", "url"])
async def test_a_binding_ends_with_what_it_binds(cloud: Cloud, gone: str) -> None:
    """The route, the service instance, or the URL that made it a route service."""
    made = await route(cloud, host="a")
    guard = await instance(cloud, "guard", route_service_url=GUARD)
    bound = await cloud.call("POST", BINDINGS, binding_of(made, guard["guid"]), expect=201)

    path = f"/v3/service_instances/{guard['guid']}"
    if gone == "route":
        job = await cloud.call("DELETE", f"/v3/routes/{made}", expect=202)
        with trio.fail_after(5):
            while (await cloud.call("GET", job))["state"] != "COMPLETE":
                await trio.lowlevel.checkpoint()
    elif gone == "service":
        await cloud.call("DELETE", path, expect=204)
    else:
        await cloud.call("PATCH", path, {"route_service_url": None}, expect=200)

    await cloud.call("GET", f"{BINDINGS}/{bound['guid']}", expect=404)


@pytest.fixture
async def broker(cloud: Cloud) -> AsyncIterator[FakeBroker]:
    """A broker of a service for routes."""
    async with running_broker(cloud) as made:
        made.catalog["services"][0]["requires"] = ["route_forwarding"]
        yield made


async def test_a_broker_names_the_service(cloud: Cloud, broker: FakeBroker) -> None:
    """Lists show route and instance; deleting the route tells the broker."""
    plan = (await register(cloud, broker))["small"]
    relations = {
        "space": {"data": {"guid": await cloud.space()}},
        "service_plan": {"data": {"guid": plan}},
    }
    body = {"type": "managed", "name": "filter", "relationships": relations}
    await done(cloud, "POST", "/v3/service_instances", body)
    [instance] = (await cloud.call("GET", "/v3/service_instances"))["resources"]
    through = await route(cloud, host="a")
    broker.says["bind"] = [
        (201, {"route_service_url": "http://filter"}),
        (201, {"route_service_url": GUARD}),
    ]

    wrong = await failed(cloud, "POST", BINDINGS, binding_of(through, instance["guid"]))
    await done(cloud, "POST", BINDINGS, binding_of(through, instance["guid"]))

    assert "route_service_url 'http://filter' must be https" in wrong
    assert broker.of("bind")[0].body["bind_resource"] == {"route": "a.apps.localhost"}
    page = await cloud.call(
        "GET", f"{BINDINGS}?include=route,service_instance&route_guids={through}", expect=200
    )
    [binding] = page["resources"]
    assert binding["route_service_url"] == GUARD
    assert [one["name"] for one in page["included"]["service_instances"]] == ["filter"]
    assert [one["url"] for one in page["included"]["routes"]] == ["a.apps.localhost"]
    parameters = await cloud.call("GET", f"{BINDINGS}/{binding['guid']}/parameters", expect=200)
    assert parameters == {"role": "r"}
    await done(cloud, "DELETE", f"/v3/routes/{through}")
    assert broker.of("unbind")[-1].params["binding"] == binding["guid"]
