"""Isolation segments and security groups, as administrators use them."""

from __future__ import annotations

from typing import Any

import pytest

from fake_controller.security_rules import problems

from .conftest import Cloud


async def organization(cloud: Cloud) -> str:
    """The guid of organization dev."""
    return str((await cloud.call("GET", "/v3/organizations"))["resources"][0]["guid"])


async def test_a_segment_is_entitled_assigned_and_given_back(cloud: Cloud) -> None:
    """An organization uses what it is entitled to; what is used cannot be taken away."""
    org, space = await organization(cloud), await cloud.space()
    made = await cloud.call("POST", "/v3/isolation_segments", {"name": "vault"}, expect=201)
    own = f"/v3/isolation_segments/{made['guid']}"
    default = f"/v3/organizations/{org}/relationships/default_isolation_segment"
    of_space = f"/v3/spaces/{space}/relationships/isolation_segment"
    to_segment = {"data": {"guid": made["guid"]}}
    early = await cloud.raw("PATCH", default, to_segment)
    assert early.status == 422
    assert "entitled to the organization" in early.json()["errors"][0]["detail"]

    entitlement = {"data": [{"guid": org}]}
    await cloud.call("POST", f"{own}/relationships/organizations", entitlement, expect=200)
    await cloud.call("PATCH", default, to_segment, expect=200)
    await cloud.call("PATCH", of_space, to_segment, expect=200)

    shown = await cloud.call("GET", of_space, expect=200)
    assert shown["data"] == {"guid": made["guid"]}
    spaces = await cloud.call("GET", f"{own}/relationships/spaces", expect=200)
    assert spaces["data"] == [{"guid": space}]
    found = await cloud.call("GET", f"/v3/isolation_segments?organization_guids={org}")
    assert [one["name"] for one in found["resources"]] == ["vault"]
    revoke = f"{own}/relationships/organizations/{org}"
    assert (await cloud.raw("DELETE", revoke)).status == 422
    assert (await cloud.raw("DELETE", own)).status == 422

    for path in (default, of_space):
        await cloud.call("PATCH", path, {"data": None}, expect=200)
    await cloud.call("DELETE", revoke, expect=204)
    await cloud.call("DELETE", own, expect=204)
    names = (await cloud.call("GET", "/v3/isolation_segments"))["resources"]
    assert [one["name"] for one in names] == ["shared"]


async def test_the_shared_segment_stays(cloud: Cloud) -> None:
    """It is neither renamed nor deleted, and its name is taken, in any case."""
    shared = (await cloud.call("GET", "/v3/isolation_segments"))["resources"][0]["guid"]
    path = f"/v3/isolation_segments/{shared}"

    for method, where, body in (
        ("PATCH", path, {"name": "x"}),
        ("DELETE", path, None),
        ("POST", "/v3/isolation_segments", {"name": "SHARED"}),
    ):
        assert (await cloud.raw(method, where, body)).status == 422


async def test_a_group_counts_where_it_is_bound(cloud: Cloud) -> None:
    """In a space, for one phase; or everywhere."""
    space = await cloud.space()
    rule = {"protocol": "tcp", "destination": "10.0.0.0/8", "ports": "443,8080-8090"}
    body = {
        "name": "inner",
        "rules": [rule],
        "relationships": {"running_spaces": {"data": [{"guid": space}]}},
    }
    made = await cloud.call("POST", "/v3/security_groups", body, expect=201)
    everywhere = {"name": "dns", "globally_enabled": {"staging": True}}
    await cloud.call("POST", "/v3/security_groups", everywhere, expect=201)

    async def names(phase: str) -> list[str]:
        found = await cloud.call("GET", f"/v3/spaces/{space}/{phase}_security_groups", expect=200)
        return [one["name"] for one in found["resources"]]

    assert made["relationships"]["running_spaces"]["data"] == [{"guid": space}]
    assert (await names("running"), await names("staging")) == (["inner"], ["dns"])
    for query in (f"running_space_guids={space}", "globally_enabled_staging=false"):
        found = await cloud.call("GET", f"/v3/security_groups?{query}", expect=200)
        assert [one["name"] for one in found["resources"]] == ["inner"]
    found = await cloud.call("GET", f"/v3/security_groups?staging_space_guids={space}")
    assert found["resources"] == []

    own = f"/v3/security_groups/{made['guid']}"
    await cloud.call("DELETE", f"{own}/relationships/running_spaces/{space}", expect=204)
    assert await names("running") == []
    again = await cloud.raw("DELETE", f"{own}/relationships/running_spaces/{space}")
    assert "Unable to unbind security group" in again.json()["errors"][0]["detail"]
    await cloud.call("DELETE", own, expect=202)
    assert (await cloud.raw("GET", own)).status == 404


async def test_a_group_has_a_name_of_its_own(cloud: Cloud) -> None:
    """A second one is refused in the words that the CLI looks for."""
    await cloud.call("POST", "/v3/security_groups", {"name": "g"}, expect=201)

    answer = await cloud.raw("POST", "/v3/security_groups", {"name": "g"})

    detail = answer.json()["errors"][0]["detail"]
    assert (answer.status, detail) == (422, "Security group with name 'g' already exists.")


@pytest.mark.parametrize(
    "rule",
    [
        {"protocol": "all", "destination": "0.0.0.0-9.255.255.255"},
        {"protocol": "udp", "destination": "10.1.1.1,10.2.0.0/16", "ports": "53"},
        {"protocol": "icmp", "destination": "::/0", "type": 8, "code": -1, "description": "ping"},
    ],
)
def test_a_right_rule_has_no_problem(rule: dict[str, Any]) -> None:
    """Addresses, networks, ranges; ports, lists and ranges of them."""
    assert problems([rule]) == []


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("all", "must be an object"),
        ({"protocol": "smoke", "destination": "::1"}, "protocol must be"),
        ({"protocol": "all", "destination": "home"}, "destination must contain"),
        ({"protocol": "all", "destination": "10.0.0.2-10.0.0.1"}, "destination must contain"),
        ({"protocol": "tcp", "destination": "::1"}, "ports are required"),
        ({"protocol": "tcp", "destination": "::1", "ports": "0"}, "ports must be a valid"),
        ({"protocol": "tcp", "destination": "::1", "ports": "9-8"}, "ports must be a valid"),
        ({"protocol": "tcp", "destination": "::1", "ports": "70000"}, "ports must be a valid"),
        ({"protocol": "all", "destination": "::1", "ports": "8"}, "ports are not allowed"),
        ({"protocol": "icmp", "destination": "::1", "type": 8}, "code must be an integer"),
        ({"protocol": "all", "destination": "::1", "port": 1}, "unknown field(s): ['port']"),
        ({"protocol": "all", "destination": "::1", "log": "yes"}, "log must be a boolean"),
    ],
)
def test_a_wrong_rule_is_told_by_its_number(rule: Any, text: str) -> None:
    """Which rule, and what is wrong with it."""
    right = {"protocol": "all", "destination": "::1"}

    assert [why for why in problems([right, rule]) if why.startswith("Rules[1]: ") and text in why]
