"""A route's options: which are taken, how they change, and that the router hears of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.router.messages import RouteOptions, Routing
from fake_controller.errors import CloudError
from fake_controller.route_options import changed_options

from .conftest import Cloud, Dea, Stager

BY_TENANT = {"loadbalancing": "hash", "hash_header": "X-Tenant", "hash_balance": "1.5"}


@pytest.mark.parametrize(
    ("old", "wanted", "new"),
    [
        ({}, {}, {}),
        ({}, {"loadbalancing": "round-robin"}, {"loadbalancing": "round-robin"}),
        ({"loadbalancing": "round-robin"}, {"loadbalancing": None}, {}),
        ({"loadbalancing": "round-robin"}, {}, {"loadbalancing": "round-robin"}),
        ({}, {**BY_TENANT, "hash_balance": 1.46}, BY_TENANT),
        (BY_TENANT, {"hash_header": "Cookie"}, {**BY_TENANT, "hash_header": "Cookie"}),
        (BY_TENANT, {"loadbalancing": "least-connection"}, {"loadbalancing": "least-connection"}),
        (BY_TENANT, {"loadbalancing": None}, {}),
        (
            BY_TENANT,
            {"hash_balance": None},
            {"loadbalancing": "hash", "hash_header": "X-Tenant"},
        ),
        ({}, {"hash_balance": 0, **BY_TENANT}, BY_TENANT),
    ],
)
def test_options_change_one_by_one(
    old: dict[str, str], wanted: dict[str, Any], new: dict[str, str]
) -> None:
    """None takes one away; those of the hash go with it; a balance has one decimal."""
    assert changed_options(old, wanted) == new


@pytest.mark.parametrize(
    ("old", "wanted", "why"),
    [
        ({}, {"sticky": "yes"}, "Unknown field(s): 'sticky'"),
        ({}, {"loadbalancing": "random"}, "must be one of 'round-robin, least-connection, hash'"),
        ({}, {"loadbalancing": "hash"}, "Hash header must be present"),
        (BY_TENANT, {"hash_header": None}, "Hash header must be present"),
        ({}, {"loadbalancing": "hash", "hash_header": "x" * 129}, "at most 128 characters"),
        ({}, {**BY_TENANT, "hash_balance": "1.05"}, "between 1.1 and 10.0"),
        ({}, {**BY_TENANT, "hash_balance": "nan"}, "between 1.1 and 10.0"),
        ({}, {**BY_TENANT, "hash_balance": "much"}, "must be a numeric value"),
        ({}, {**BY_TENANT, "hash_balance": "1" * 17}, "at most 16 characters"),
        ({}, {"loadbalancing": "round-robin", "hash_header": "X"}, "Hash header can only be set"),
        ({}, {"loadbalancing": "x" * 2000}, "smaller than 1024 bytes"),
    ],
)
def test_bad_options_are_refused(old: dict[str, str], wanted: dict[str, Any], why: str) -> None:
    """In Cloud Controller's words."""
    with pytest.raises(CloudError) as refused:
        changed_options(old, wanted)

    assert why in str(refused.value)


async def route(cloud: Cloud, **more: Any) -> str:
    """The guid of a new route."""
    domain = (await cloud.call("GET", "/v3/domains"))["resources"][0]["guid"]
    places = {"space": await cloud.space(), "domain": domain}
    relations = {name: {"data": {"guid": guid}} for name, guid in places.items()}
    made = await cloud.call("POST", "/v3/routes", {"relationships": relations, **more}, expect=201)
    return str(made["guid"])


async def test_orders_carry_what_a_route_asks(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """The start of an instance has it by name, and a change is told to those that run."""
    app = await cloud.app()
    droplet = await cloud.staged(app, tmp_path)
    current = f"/v3/apps/{app}/relationships/current_droplet"
    await cloud.call("PATCH", current, {"data": {"guid": droplet}}, expect=200)
    plain, tenants = await route(cloud, host="a"), await route(cloud, host="b", options=BY_TENANT)
    for each in (plain, tenants):
        body = {"destinations": [{"app": {"guid": app}}]}
        await cloud.call("POST", f"/v3/routes/{each}/destinations", body, expect=200)

    await cloud.call("POST", f"/v3/apps/{app}/actions/start", expect=200)
    await cloud.until_states(app, "RUNNING")
    least = {"options": {"loadbalancing": "least-connection"}}
    shown = await cloud.call("PATCH", f"/v3/routes/{tenants}", least, expect=200)

    hashed = RouteOptions(loadbalancing="hash", hash_header="X-Tenant", hash_balance="1.5")
    assert dea.starts[0].uris == ["a.apps.localhost", "b.apps.localhost"]
    assert dea.starts[0].routing == {"b.apps.localhost": Routing(options=hashed)}
    asked = Routing(options=RouteOptions(loadbalancing="least-connection"))
    with trio.fail_after(5):
        while {"b.apps.localhost": asked} not in [told.routing for told in cloud.updates]:
            await trio.lowlevel.checkpoint()
    assert shown["options"] == {"loadbalancing": "least-connection"}


@pytest.mark.parametrize(
    ("destination", "why"),
    [
        ({"port": 9000}, "Destinations[0]: port must be 8080"),
        ({"protocol": "http2"}, "Destinations[0]: protocol must be 'http1'"),
        ({"weight": 5}, "Destinations[0]: weighted destinations"),
    ],
)
async def test_what_the_router_cannot_do_is_refused(
    cloud: Cloud, destination: dict[str, Any], why: str
) -> None:
    """A mapping that would answer something else than asked for is none."""
    app, made = await cloud.app(), await route(cloud, host="a")
    body = {"destinations": [{"app": {"guid": app}, **destination}]}

    refused = await cloud.raw("POST", f"/v3/routes/{made}/destinations", body)

    assert refused.status == 422
    assert why in refused.json()["errors"][0]["detail"]
