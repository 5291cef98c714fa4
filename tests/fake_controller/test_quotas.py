"""Quotas refuse what is more than they allow, with Cloud Controller's own words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from fake_controller.model import OrganizationQuota, SpaceQuota
from fake_controller.quota import (
    Bound,
    Usage,
    limits_anything,
    process_problems,
    route_problem,
    task_problems,
)

from .conftest import Cloud, Dea, Stager
from .people import organization, person
from .test_roles import detail

NOTHING = Usage(
    started_instances=0,
    memory_in_mb=0,
    log_rate=0,
    unlimited_log_rate=False,
    tasks=0,
    routes=0,
    reserved_ports=0,
    service_instances=0,
    service_keys=0,
    domains=0,
)


def of_organization(usage: dict[str, Any], **limits: int) -> Bound:
    """An organization's quota and what is used of it."""
    quota = OrganizationQuota(guid="q", created_at=0, updated_at=0, name="q", **limits)
    return Bound(quota, "o", replace(NOTHING, **usage))


def of_space(usage: dict[str, Any], **limits: int) -> Bound:
    """A space's quota and what is used of it."""
    quota = SpaceQuota(
        guid="q", created_at=0, updated_at=0, name="q", organization_guid="o", **limits
    )
    return Bound(quota, "s", replace(NOTHING, **usage))


@pytest.mark.parametrize(
    ("usage", "limits", "said"),
    [
        ({"memory_in_mb": 10}, {"total_memory_in_mb": 10}, []),
        ({"memory_in_mb": 11}, {"total_memory_in_mb": 10}, ["memory {}quota_exceeded"]),
        ({}, {"per_process_memory_in_mb": 64}, []),
        ({}, {"per_process_memory_in_mb": 63}, ["memory {}instance_memory_limit_exceeded"]),
        ({"started_instances": 2}, {"total_instances": 2}, []),
        (
            {"started_instances": 3},
            {"total_instances": 2},
            ["app_instance_limit {}app_instance_limit_exceeded"],
        ),
    ],
)
def test_a_process_is_within_or_over(
    usage: dict[str, Any], limits: dict[str, int], said: list[str]
) -> None:
    """The limit itself is allowed; spaces say that they are spaces."""
    in_org = list(process_problems(of_organization(usage, **limits), 64))
    in_space = list(process_problems(of_space(usage, **limits), 64))

    assert in_org == [text.format("") for text in said]
    assert in_space == [text.format("space_") for text in said]


def test_a_log_rate_must_be_limited_where_there_is_a_limit() -> None:
    """No limit is more than any."""
    limit = {"log_rate_limit_in_bytes_per_second": 100}

    assert list(process_problems(of_space({"log_rate": 100}, **limit), 1)) == []
    assert list(process_problems(of_space({"log_rate": 101}, **limit), 1)) == [
        "log_rate_limit exceeds space log rate quota"
    ]
    assert list(task_problems(of_organization({"unlimited_log_rate": True}, **limit), 1)) == [
        "log_rate_limit cannot be unlimited in organization 'o'."
    ]


def test_tasks_and_routes_are_counted() -> None:
    """Ports only of routes that have one."""
    assert list(task_problems(of_space({"tasks": 2}, per_app_tasks=1), 1)) == [
        "app_task_limit quota exceeded"
    ]
    assert route_problem(of_space({"routes": 1}, total_routes=1), port=False) is None
    assert (
        route_problem(of_space({"routes": 2}, total_routes=1), port=False)
        == "Routes quota exceeded for space 's'."
    )
    ports = of_organization({"reserved_ports": 1}, total_reserved_ports=0)
    assert route_problem(ports, port=False) is None
    assert (
        route_problem(ports, port=True)
        == "Reserved route ports quota exceeded for organization 'o'."
    )


async def started(cloud: Cloud, tmp_path: Path) -> str:
    """An app that runs: 1 instance of 256 MB."""
    app = await cloud.app()
    droplet = {"data": {"guid": await cloud.staged(app, tmp_path)}}
    await cloud.call("PATCH", f"/v3/apps/{app}/relationships/current_droplet", droplet)
    await cloud.call("POST", f"/v3/apps/{app}/actions/start", expect=200)
    return app


async def limit_organization(cloud: Cloud, **limits: dict[str, int]) -> str:
    """A quota that is applied to organization dev."""
    relations = {"organizations": {"data": [{"guid": await organization(cloud)}]}}
    body = {"name": "tight", "relationships": relations} | limits
    return str((await cloud.call("POST", "/v3/organization_quotas", body, expect=201))["guid"])


async def test_scaling_over_the_quota_changes_nothing(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """What runs goes on as it was; scaling down is always allowed."""
    app = await started(cloud, tmp_path)
    await limit_organization(cloud, apps={"total_memory_in_mb": 600, "total_instances": 2})
    scale = f"/v3/apps/{app}/processes/web/actions/scale"

    assert (await cloud.raw("POST", scale, {"instances": 2})).status == 202
    assert await detail(cloud, "POST", scale, {"instances": 3}) == (
        422,
        "memory quota_exceeded, app_instance_limit app_instance_limit_exceeded",
    )
    process = await cloud.call("GET", f"/v3/apps/{app}/processes/web", expect=200)
    assert process["instances"] == 2
    assert (await cloud.raw("POST", scale, {"instances": 0})).status == 202


async def test_an_app_that_is_too_large_does_not_start(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """Stopped apps may be scaled as one likes; the start is refused."""
    app = await started(cloud, tmp_path)
    space = await cloud.space()
    relations = {
        "organization": {"data": {"guid": await organization(cloud)}},
        "spaces": {"data": [{"guid": space}]},
    }
    body = {"name": "q", "apps": {"per_process_memory_in_mb": 300}, "relationships": relations}
    quota = await cloud.call("POST", "/v3/space_quotas", body, expect=201)
    await cloud.call("POST", f"/v3/apps/{app}/actions/stop", expect=200)
    scale = f"/v3/apps/{app}/processes/web/actions/scale"
    await cloud.call("POST", scale, {"memory_in_mb": 301}, expect=202)

    refused = await detail(cloud, "POST", f"/v3/apps/{app}/actions/start")
    stays = await cloud.call("GET", f"/v3/apps/{app}", expect=200)
    own = f"/v3/space_quotas/{quota['guid']}/relationships/spaces"
    await cloud.call("DELETE", f"{own}/{space}", expect=204)

    assert refused == (422, "memory space_instance_memory_limit_exceeded")
    assert stays["state"] == "STOPPED"
    await cloud.call("POST", f"/v3/apps/{app}/actions/start", expect=200)
    again = await detail(cloud, "DELETE", f"{own}/{space}")
    assert again[1].startswith("Unable to remove quota from space with guid")


async def test_a_rolling_deployment_needs_room_for_both(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """The refused one leaves nothing; with room for one instance more it goes through."""
    app = await started(cloud, tmp_path)
    quota = await limit_organization(cloud, apps={"total_memory_in_mb": 511})
    relations = {"relationships": {"app": {"data": {"guid": app}}}}

    refused = await detail(cloud, "POST", "/v3/deployments", relations)
    left = await cloud.call("GET", f"/v3/apps/{app}/processes", expect=200)
    wider = {"apps": {"total_memory_in_mb": 512}}
    await cloud.call("PATCH", f"/v3/organization_quotas/{quota}", wider, expect=200)

    assert refused == (
        422,
        "memory quota_exceeded for organization dev. This organization's quota may not be large "
        "enough to support rolling deployments or your configured max-in-flight.",
    )
    assert [one["type"] for one in left["resources"]].count("web") == 1
    await cloud.call("POST", "/v3/deployments", relations, expect=201)


async def test_routes_and_tasks_are_refused(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """With the organization's name."""
    app = await started(cloud, tmp_path)
    await limit_organization(cloud, apps={"per_app_tasks": 0}, routes={"total_routes": 0})
    domain = (await cloud.call("GET", "/v3/domains"))["resources"][0]["guid"]
    relations = {
        "space": {"data": {"guid": await cloud.space()}},
        "domain": {"data": {"guid": domain}},
    }

    route = await detail(cloud, "POST", "/v3/routes", {"host": "a", "relationships": relations})
    task = await detail(cloud, "POST", f"/v3/apps/{app}/tasks", {"command": "true"})

    assert route == (422, "Routes quota exceeded for organization 'dev'.")
    assert task == (422, "app_task_limit quota exceeded")


async def test_a_log_rate_limit_is_not_put_on_apps_without_one(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """Neither by applying a quota, nor by changing one."""
    await cloud.app()
    org = await organization(cloud)
    limits = {"apps": {"log_rate_limit_in_bytes_per_second": 100}}
    tight = await cloud.call("POST", "/v3/organization_quotas", {"name": "t"} | limits, expect=201)
    used = await cloud.call("GET", f"/v3/organization_quotas?organization_guids={org}")
    quota = used["resources"][0]["guid"]

    applied = await detail(
        cloud,
        "POST",
        f"/v3/organization_quotas/{tight['guid']}/relationships/organizations",
        {"data": [{"guid": org}]},
    )
    changed = await detail(cloud, "PATCH", f"/v3/organization_quotas/{quota}", limits)

    assert applied[1].startswith("Current usage exceeds new quota values. The org(s) being")
    assert changed[1] == (
        "Current usage exceeds new quota values. This quota is applied to org 'dev' which "
        "contains apps running with an unlimited log rate limit."
    )


async def test_quotas_are_made_changed_and_deleted(cloud: Cloud) -> None:
    """Null lifts a limit; one in use is not deleted; names are unique."""
    quota = await limit_organization(cloud, apps={"total_memory_in_mb": 5, "per_app_tasks": 3})
    org = await organization(cloud)
    path = f"/v3/organization_quotas/{quota}"
    body = {
        "name": "wide",
        "apps": {"total_memory_in_mb": None},
        "services": {"paid_services_allowed": False, "total_service_keys": 7},
        "domains": {"total_domains": 2},
    }

    changed = await cloud.call("PATCH", path, body, expect=200)
    keys = {"services": {"total_service_keys": 8}}
    kept = await cloud.call("PATCH", path, keys, expect=200)
    shown = await cloud.call("GET", f"/v3/organizations/{org}", expect=200)
    taken = await detail(cloud, "POST", "/v3/organization_quotas", {"name": "WIDE"})
    in_use = await detail(cloud, "DELETE", path)
    default = (await cloud.call("GET", "/v3/organization_quotas?names=default"))["resources"][0]
    applied = f"/v3/organization_quotas/{default['guid']}/relationships/organizations"
    await cloud.call("POST", applied, {"data": [{"guid": org}]}, expect=200)
    await cloud.call("DELETE", path, expect=202)

    assert changed["name"] == "wide"
    assert changed["apps"]["total_memory_in_mb"] is None
    assert changed["apps"]["per_app_tasks"] == 3
    assert changed["services"] == {
        "paid_services_allowed": False,
        "total_service_instances": None,
        "total_service_keys": 7,
    }
    assert kept["services"] == changed["services"] | {"total_service_keys": 8}
    assert changed["domains"] == {"total_domains": 2}
    assert changed["relationships"]["organizations"] == {"data": [{"guid": org}]}
    assert shown["relationships"]["quota"] == {"data": {"guid": quota}}
    assert taken == (422, "Organization Quota 'WIDE' already exists.")
    assert in_use[1].startswith("This quota is applied to one or more organizations.")
    assert await detail(cloud, "GET", path) == (404, "Organization quota not found")


NONSENSE: list[tuple[dict[str, Any], str]] = [
    ({"apps": {"total_instances": -1}}, "must be greater than or equal to 0"),
    ({"routes": {"total_routes": 2**31}}, "must be less than or equal to 2147483647"),
    ({"services": {"total_service_keys": "many"}}, "total_service_keys"),
    ({"name": ""}, "Name is too short"),
]


async def test_nonsense_limits_are_named(cloud: Cloud) -> None:
    """Each with its rule."""
    for limits, text in NONSENSE:
        body = {"name": "n"} | limits
        status, said = await detail(cloud, "POST", "/v3/organization_quotas", body)
        assert (status, text in said) == (422, True), said


async def test_managers_limit_their_spaces_but_not_their_organization(cloud: Cloud) -> None:
    """And a space quota stays in its organization."""
    bob = await person(cloud, "bob", "organization_manager")
    org = await organization(cloud)
    other = (await cloud.call("POST", "/v3/organizations", {"name": "o2"}))["guid"]
    far = await cloud.call(
        "POST",
        "/v3/spaces",
        {"name": "far", "relationships": {"organization": {"data": {"guid": other}}}},
    )
    relations = {"organization": {"data": {"guid": org}}}

    own = await bob.call(
        "POST", "/v3/space_quotas", {"name": "mine", "relationships": relations}, expect=201
    )
    path = f"/v3/space_quotas/{own['guid']}"
    again = await detail(
        bob, "POST", "/v3/space_quotas", {"name": "Mine", "relationships": relations}
    )
    outside = await detail(
        cloud, "POST", f"{path}/relationships/spaces", {"data": [{"guid": far["guid"]}]}
    )

    assert (await bob.raw("POST", "/v3/organization_quotas", {"name": "x"})).status == 403
    assert again == (422, "Space Quota 'Mine' already exists.")
    assert outside[1] == "Space quotas cannot be applied outside of their owning organization."
    await bob.call("PATCH", path, {"routes": {"total_routes": 1}}, expect=200)
    await bob.call("DELETE", path, expect=202)


def test_a_quota_without_limits_counts_nothing() -> None:
    """So a start costs no sum over all apps, until somebody sets a limit."""
    assert not limits_anything(of_organization({}).quota)
    assert not limits_anything(of_space({}).quota)
    assert limits_anything(of_organization({}, total_domains=0).quota)
    assert limits_anything(of_space({}, log_rate_limit_in_bytes_per_second=0).quota)
    assert limits_anything(structs.replace(of_space({}).quota, paid_services_allowed=False))
