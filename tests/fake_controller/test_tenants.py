"""Organizations and spaces: named once, changed by their managers, deleted with all they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import Cloud, Dea, Stager
from .people import organization, person
from .test_roles import detail


def in_org(guid: str) -> dict[str, Any]:
    """Relationships."""
    return {"organization": {"data": {"guid": guid}}}


async def route_to(cloud: Cloud, app: str | None, host: str) -> str:
    """The guid of a route, which leads to *app*."""
    domain = (await cloud.call("GET", "/v3/domains"))["resources"][0]["guid"]
    relations = {
        "space": {"data": {"guid": await cloud.space()}},
        "domain": {"data": {"guid": domain}},
    }
    made = await cloud.call("POST", "/v3/routes", {"host": host, "relationships": relations})
    if app:
        to = {"destinations": [{"app": {"guid": app}}]}
        await cloud.call("POST", f"/v3/routes/{made['guid']}/destinations", to, expect=200)
    return str(made["guid"])


BAD_NAMES = [
    ("POST", "/v3/organizations", {"name": "Dev"}, "Organization 'Dev' already exists."),
    ("POST", "/v3/organizations", {"name": " "}, "Name can't be blank"),
    ("POST", "/v3/organizations", {"name": "x" * 256}, "Name is too long (maximum is 255"),
    ("POST", "/v3/organizations", {"name": "a\tb"}, "must not contain escaped characters"),
    ("PATCH", "/v3/organizations/ORG", {"name": "DEV2"}, "'DEV2' is already taken."),
    ("POST", "/v3/spaces", {"name": "DEV"}, "Name must be unique per organization"),
    ("PATCH", "/v3/spaces/SPACE", {"name": "S2"}, "already contains a space with name 'S2'."),
]


async def test_names_are_unique_and_sound(cloud: Cloud) -> None:
    """Whatever the case of their letters."""
    org, space = await organization(cloud), await cloud.space()
    await cloud.call("POST", "/v3/organizations", {"name": "dev2"}, expect=201)
    await cloud.call("POST", "/v3/spaces", {"name": "s2", "relationships": in_org(org)}, expect=201)

    for method, path, body, text in BAD_NAMES:
        asked = body | ({"relationships": in_org(org)} if path == "/v3/spaces" else {})
        there = path.replace("ORG", org).replace("SPACE", space)
        status, said = await detail(cloud, method, there, asked)
        assert (status, text in said) == (422, True), said


async def test_the_same_space_name_exists_in_another_organization(cloud: Cloud) -> None:
    """Names of spaces are their organization's."""
    other = await cloud.call("POST", "/v3/organizations", {"name": "o2"}, expect=201)
    body = {"name": "dev", "relationships": in_org(other["guid"])}

    made = await cloud.call("POST", "/v3/spaces", body, expect=201)
    page = await cloud.call("GET", f"/v3/spaces?organization_guids={other['guid']}")

    assert [one["guid"] for one in page["resources"]] == [made["guid"]]


async def test_managers_rename_and_label(cloud: Cloud) -> None:
    """An organization's manager does so with its spaces, too; only admins suspend."""
    org, space = await organization(cloud), await cloud.space()
    bob = await person(cloud, "bob", "organization_manager")

    renamed = await bob.call("PATCH", f"/v3/organizations/{org}", {"name": "Prod"}, expect=200)
    labelled = await bob.call(
        "PATCH", f"/v3/spaces/{space}", {"metadata": {"labels": {"a": "b"}}}, expect=200
    )
    suspending = await bob.raw("PATCH", f"/v3/organizations/{org}", {"suspended": True})
    deleting = await bob.raw("DELETE", f"/v3/organizations/{org}")

    assert renamed["name"] == "Prod"
    assert labelled["metadata"]["labels"] == {"a": "b"}
    assert (suspending.status, deleting.status) == (403, 403)


async def test_who_may_found_an_organization_manages_it(cloud: Cloud) -> None:
    """Users may when the flag is on."""
    bob = await person(cloud, "bob")
    assert (await bob.raw("POST", "/v3/organizations", {"name": "mine"})).status == 403

    await cloud.call("PATCH", "/v3/feature_flags/user_org_creation", {"enabled": True})
    made = await bob.call("POST", "/v3/organizations", {"name": "mine"}, expect=201)
    roles = await bob.call("GET", f"/v3/roles?organization_guids={made['guid']}", expect=200)

    assert [role["type"] for role in roles["resources"]] == [
        "organization_user",
        "organization_manager",
    ]
    body = {"name": "s", "relationships": in_org(made["guid"])}
    await bob.call("POST", "/v3/spaces", body, expect=201)


async def test_a_suspended_organization_is_read_only(cloud: Cloud) -> None:
    """For all but administrators, until it is not suspended any more."""
    org, app = await organization(cloud), await cloud.app()
    bob = await person(cloud, "bob", "space_developer")
    await cloud.call("PATCH", f"/v3/organizations/{org}", {"suspended": True}, expect=200)

    assert (await bob.raw("GET", f"/v3/apps/{app}")).status == 200
    assert (await bob.raw("GET", f"/v3/apps/{app}/env")).status == 200
    refused = await bob.raw("PATCH", f"/v3/apps/{app}", {"name": "b"})
    assert refused.json()["errors"][0] == {
        "code": 10017,
        "title": "CF-OrgSuspended",
        "detail": "The organization is suspended",
    }
    assert (await cloud.raw("PATCH", f"/v3/apps/{app}", {"name": "c"})).status == 200

    await cloud.call("PATCH", f"/v3/organizations/{org}", {"suspended": False}, expect=200)
    assert (await bob.raw("PATCH", f"/v3/apps/{app}", {"name": "b"})).status == 200


async def test_usage_is_summed(cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path) -> None:
    """What runs, and what there is."""
    app, space = await cloud.app(), await cloud.space()
    await route_to(cloud, app, "a")
    droplet = {"data": {"guid": await cloud.staged(app, tmp_path)}}
    await cloud.call("PATCH", f"/v3/apps/{app}/relationships/current_droplet", droplet)
    await cloud.call("POST", f"/v3/apps/{app}/processes/web/actions/scale", {"instances": 3})
    idle = await cloud.call("GET", f"/v3/spaces/{space}/usage_summary", expect=200)

    await cloud.call("POST", f"/v3/apps/{app}/actions/start", expect=200)
    of_space = await cloud.call("GET", f"/v3/spaces/{space}/usage_summary", expect=200)
    of_org = await cloud.call(
        "GET", f"/v3/organizations/{await organization(cloud)}/usage_summary", expect=200
    )

    assert idle["usage_summary"]["started_instances"] == 0
    assert of_space["usage_summary"] == {
        "started_instances": 3,
        "memory_in_mb": 3 * 256,
        "routes": 1,
        "service_instances": 0,
        "reserved_ports": 0,
        "domains": 0,
        "per_app_tasks": 0,
        "service_keys": 0,
    }
    assert of_org["usage_summary"] == of_space["usage_summary"]
    assert of_org["links"]["organization"]["href"].startswith(cloud.url)


async def test_only_unmapped_routes_are_deleted(cloud: Cloud) -> None:
    """As ``cf delete-orphaned-routes`` asks for it; anything else is refused."""
    space, app = await cloud.space(), await cloud.app()
    mapped = await route_to(cloud, app, "mapped")
    await route_to(cloud, None, "loose")
    auditor = await person(cloud, "bob", "space_auditor")

    for query in ("", "?unmapped=false", "?unmapped=x"):
        assert (await cloud.raw("DELETE", f"/v3/spaces/{space}/routes{query}")).status == 422
    forbidden = await auditor.raw("DELETE", f"/v3/spaces/{space}/routes?unmapped=true")
    job = await cloud.call("DELETE", f"/v3/spaces/{space}/routes?unmapped=true", expect=202)
    left = await cloud.call("GET", "/v3/routes", expect=200)

    assert forbidden.status == 403
    done = await cloud.call("GET", job)
    assert (done["operation"], done["state"]) == ("space.delete_unmapped_routes", "COMPLETE")
    assert [route["guid"] for route in left["resources"]] == [mapped]


@pytest.mark.parametrize("kind", ["organizations", "spaces"])
async def test_deleting_takes_everything_along(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path, kind: str
) -> None:
    """Apps stop, their droplets leave the archivers, names become free."""
    app, space, org = await cloud.app(), await cloud.space(), await organization(cloud)
    await person(cloud, "bob", "space_developer")
    await route_to(cloud, app, "a")
    droplet = {"data": {"guid": await cloud.staged(app, tmp_path)}}
    await cloud.call("PATCH", f"/v3/apps/{app}/relationships/current_droplet", droplet)
    await cloud.call("POST", f"/v3/apps/{app}/actions/start", expect=200)
    await cloud.until_states(app, "RUNNING")
    assert cloud.stored

    guid = space if kind == "spaces" else org
    job = await cloud.call("DELETE", f"/v3/{kind}/{guid}", expect=202)
    done = await cloud.call("GET", job, expect=200)

    assert (done["state"], done["errors"]) == ("COMPLETE", [])
    for path in ("apps", "routes", "processes", "droplets", "spaces", f"roles?space_guids={space}"):
        assert (await cloud.call("GET", f"/v3/{path}", expect=200))["resources"] == [], path
    assert cloud.stored == {}
    left = [one["guid"] for one in (await cloud.call("GET", "/v3/organizations"))["resources"]]
    assert left == ([org] if kind == "spaces" else [])
    assert (await cloud.raw("GET", f"/v3/{kind}/{guid}")).status == 404
