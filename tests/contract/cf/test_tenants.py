"""Organizations, spaces, quotas, isolation segments, and what else belongs to nobody."""

from __future__ import annotations

import pytest

from .cli import Cf, Part
from .reads import (
    App,
    Buildpack,
    FeatureFlag,
    IsolationSegment,
    Organization,
    Quota,
    SecurityGroup,
    ServiceInstance,
    Space,
    Stack,
)
from .steps import new_app, organization, space, to, zipped


def test_create_org_twice(cf: Cf) -> None:
    """``cf create-org`` exits 0 by these words; names are the same in any case."""
    for name in (cf.name, cf.name.upper()):
        detail = cf.refused("POST", "/v3/organizations", {"name": name, "suspended": False})
        assert detail == f"Organization '{name}' already exists."


def test_create_space_twice(cf: Cf) -> None:
    """``cf create-space`` exits 0 by these words."""
    body = {"name": "s", "relationships": {"organization": to(cf.org)}}

    detail = cf.refused("POST", "/v3/spaces", body)

    assert "Name must be unique per organization" in detail


def test_rename_org_and_space(cf: Cf) -> None:
    """The CLI sends what it knows besides: empty metadata, and that it is not suspended."""
    body = {"metadata": {}, "name": f"{cf.name}-b", "suspended": False}
    assert cf.patch(f"/v3/organizations/{cf.org}", body, Organization).name == f"{cf.name}-b"
    assert cf.patch(f"/v3/spaces/{cf.space}", {"name": "z"}, Space).name == "z"


def test_orgs_and_spaces(cf: Cf) -> None:
    """By name."""
    names = [one.name for one in cf.list("/v3/organizations?order_by=name", Organization)]
    assert cf.name in names
    assert names == sorted(names)
    query = f"order_by=name&organization_guids={cf.org}"
    assert [one.name for one in cf.list(f"/v3/spaces?{query}", Space)] == ["s"]


def test_org(cf: Cf) -> None:
    """``cf org``: domains, quota, spaces, isolation segments; none is assigned."""
    found = organization(cf, cf.name)
    assert cf.send("GET", f"/v3/organizations/{cf.org}/domains", status=200).json["resources"]
    if found.relationships.quota.data:
        cf.get(f"/v3/organization_quotas/{found.relationships.quota.guid}", Quota)
    assert cf.list("/v3/organization_quotas", Quota)
    path = f"/v3/organizations/{cf.org}/relationships/default_isolation_segment"
    assert cf.send("GET", path, status=200).json["data"] is None
    path = f"/v3/isolation_segments?organization_guids={cf.org}"
    assert cf.list(path, IsolationSegment) == []


def test_space(cf: Cf) -> None:
    """``cf space``: apps, services, isolation segment, security groups."""
    new_app(cf)
    assert cf.get(f"/v3/organizations/{cf.org}", Organization).name == cf.name
    assert space(cf).guid == cf.space
    own = f"/v3/spaces/{cf.space}"

    assert [app.name for app in cf.list(f"/v3/apps?space_guids={cf.space}", App)] == ["a"]
    path = f"/v3/service_instances?space_guids={cf.space}"
    assert cf.list(path, ServiceInstance) == []
    path = f"{own}/relationships/isolation_segment"
    assert cf.send("GET", path, status=200).json["data"] is None
    for group in ("running", "staging"):
        cf.list(f"{own}/{group}_security_groups", SecurityGroup)


def test_delete_space_and_org(cf: Cf) -> None:
    """With what is in them."""
    app = new_app(cf)
    space(cf)
    cf.deleted(f"/v3/spaces/{cf.space}", "space.delete")
    assert cf.refused("GET", f"/v3/apps/{app.guid}", status=404) == "App not found"
    organization(cf, cf.name)
    cf.deleted(f"/v3/organizations/{cf.org}", "organization.delete")
    assert cf.refused("GET", f"/v3/spaces/{cf.space}", status=404) == "Space not found"


LIMITS = {
    "apps": {"total_memory_in_mb": 1024},
    "routes": {"total_reserved_ports": 0, "total_routes": 0},
    "services": {"paid_services_allowed": False, "total_service_instances": 0},
}


def test_org_quotas(cf: Cf) -> None:
    """Made, a second time, assigned, changed with empty groups, shown, deleted by a job."""
    body = {"name": f"q-{cf.name}"} | LIMITS
    made = cf.post("/v3/organization_quotas", body, Quota)
    assert made.apps.total_memory_in_mb == 1024
    detail = cf.refused("POST", "/v3/organization_quotas", body)
    assert detail == f"Organization Quota 'q-{cf.name}' already exists."

    organization(cf, cf.name)
    query = f"names=q-{cf.name}&page=1&per_page=1"
    found = cf.one(f"/v3/organization_quotas?{query}", Quota)
    path = f"/v3/organization_quotas/{found.guid}"
    assigned = cf.send(
        "POST", f"{path}/relationships/organizations", {"data": [{"guid": cf.org}]}, status=200
    )
    assert {"guid": cf.org} in assigned.json["data"]
    assert organization(cf, cf.name).relationships.quota.guid == made.guid
    more = {"apps": {"total_memory_in_mb": 2048}, "name": made.name, "routes": {}, "services": {}}
    changed = cf.patch(path, more, Quota)
    assert (changed.apps.total_memory_in_mb, changed.routes.total_routes) == (2048, 0)
    cf.deleted(f"/v3/organizations/{cf.org}", "organization.delete")
    cf.deleted(path, "organization_quota.delete")


def test_space_quotas(cf: Cf) -> None:
    """Of one organization; the assignment ends with 204."""
    body = {"name": "q", "relationships": {"organization": to(cf.org)}} | LIMITS
    cf.post("/v3/space_quotas", body, Quota)
    assert cf.refused("POST", "/v3/space_quotas", body) == "Space Quota 'q' already exists."
    assert [one.name for one in cf.list(f"/v3/space_quotas?organization_guids={cf.org}", Quota)]

    query = f"names=q&organization_guids={cf.org}&page=1&per_page=1"
    path = f"/v3/space_quotas/{cf.one(f'/v3/space_quotas?{query}', Quota).guid}"
    relations = f"{path}/relationships/spaces"
    cf.send("POST", relations, {"data": [{"guid": cf.space}]}, status=200)
    assert space(cf).relationships.quota.data is not None
    cf.gone(f"{relations}/{cf.space}")
    assert space(cf).relationships.quota.data is None
    cf.deleted(path, "space_quota.delete")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v3/buildpacks", Buildpack),
        ("/v3/stacks", Stack),
        ("/v3/feature_flags", FeatureFlag),
        ("/v3/security_groups", SecurityGroup),
        ("/v3/isolation_segments", IsolationSegment),
    ],
)
def test_lists_that_take_one_call(cf: Cf, path: str, kind: type[Stack]) -> None:
    """Present, even where there is nothing."""
    cf.list(path, kind)


def test_feature_flags(cf: Cf) -> None:
    """One by its name; one that is not known has its own words."""
    path = "/v3/feature_flags/task_creation"

    assert not cf.get("/v3/feature_flags/diego_docker", FeatureFlag).enabled
    assert not cf.patch(path, {"enabled": False}, FeatureFlag).enabled
    assert cf.patch(path, {"enabled": True}, FeatureFlag).enabled
    detail = cf.refused("GET", "/v3/feature_flags/nothing", status=404)
    assert detail == "Feature flag not found"


def test_buildpacks(cf: Cf) -> None:
    """Made, uploaded with a job, changed, deleted with a job."""
    name = f"bp-{cf.name}"
    body = {"name": name, "position": 1, "enabled": True}
    made = cf.post("/v3/buildpacks", body, Buildpack)
    bits = Part("bits", zipped({"bin/detect": "", "bin/compile": "", "bin/release": ""}), "b.zip")

    answer = cf.form(f"/v3/buildpacks/{made.guid}/upload", bits)
    assert answer.status == 202
    cf.done(answer, "buildpack.upload")
    found = cf.one(f"/v3/buildpacks?names={name}", Buildpack)
    assert (found.filename, found.state, found.position) == ("b.zip", "READY", 1)
    path = f"/v3/buildpacks/{found.guid}"
    assert not cf.patch(path, {"enabled": False}, Buildpack).enabled
    cf.deleted(path, "buildpack.delete")


def test_network_policies(cf: Cf) -> None:
    """``cf network-policies``: by the guids of all apps; then where they are."""
    one, two = new_app(cf, "one"), new_app(cf, "two")
    assert len(cf.list(f"/v3/apps?space_guids={cf.space}", App)) == 2

    answer = cf.send("GET", f"/networking/v1/external/policies?id={one.guid},{two.guid}")

    assert answer.json == {"total_policies": 0, "policies": []}
    assert cf.one(f"/v3/spaces?guids={cf.space}", Space).guid == cf.space
    assert cf.one(f"/v3/organizations?guids={cf.org}", Organization).guid == cf.org
