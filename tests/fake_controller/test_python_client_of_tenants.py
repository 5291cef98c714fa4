"""Python's own Cloud Foundry client administers tenants; it reads every field and link it gets."""

from __future__ import annotations

import warnings
from typing import Any

import trio

from .conftest import Cloud
from .people import account


def client_of(api: str) -> Any:
    """A client that is logged in as admin."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its dependencies' own
        from cloudfoundry_client.client import CloudFoundryClient

        client = CloudFoundryClient(api)
        client.init_with_user_credentials("admin", "admin")
        return client


def administer(api: str, bob: str) -> dict[str, Any]:
    """A tour through what an administrator does; what the client understood of it."""
    v3 = client_of(api).v3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cloudfoundry_client.v3.entities import ToManyRelationship, ToOneRelationship
        from cloudfoundry_client.v3.organization_quotas import AppsQuota
        from cloudfoundry_client.v3.security_groups import Rule, RuleProtocol
    org = v3.organizations.create("acme", suspended=False)
    space = v3.spaces.create("live", org["guid"])
    member = {"data": {"guid": bob}}
    relations = {"user": member, "organization": {"data": {"guid": org["guid"]}}}
    roles = v3.roles
    roles._create({"type": "organization_user", "relationships": relations})
    relations = {"user": member, "space": {"data": {"guid": space["guid"]}}}
    role = roles._create({"type": "space_developer", "relationships": relations})
    limits = AppsQuota(
        total_memory_in_mb=512,
        per_process_memory_in_mb=None,
        total_instances=2,
        per_app_tasks=None,
    )
    quota = v3.organization_quotas.create("small", apps_quota=limits)
    applied = v3.organization_quotas.apply_to_organizations(
        quota["guid"], ToManyRelationship(org["guid"])
    )
    other = v3.organizations.create("other", suspended=False)
    domain = v3.domains.create("acme.test", organization=ToOneRelationship(org["guid"]))
    shared = v3.domains.share_domain(domain["guid"], ToManyRelationship(other["guid"]))
    segment = v3.isolation_segments.create("apart")
    v3.isolation_segments.entitle_organizations(segment["guid"], org["guid"])
    group = v3.security_groups.create("web", [Rule(RuleProtocol.TCP, "10.0.0.0/8", ports="80")])
    flag = v3.feature_flags.update("app_scaling", False, "Ask first.")
    seen: dict[str, Any] = {
        "roles": [
            (one["type"], one.user()["username"], one.space()["name"])
            for one in v3.roles.list(space_guids=space["guid"])
        ],
        "applied": applied.guids,
        "quota": v3.organizations.get(org["guid"])["relationships"]["quota"]["data"]["guid"],
        "domains": [one["name"] for one in v3.organizations.list_domains(other["guid"])],
        "shared": shared.guids,
        "default": v3.organizations.get_default_domain(org["guid"])["name"],
        "used": v3.organizations.get_usage_summary(org["guid"])["usage_summary"]["domains"],
        "segment": v3.isolation_segments.list_entitled_organizations(segment["guid"]).guids,
        "rules": group["rules"][0]["destination"],
        "flag": (flag["enabled"], flag["custom_error_message"]),
        "events": [
            one["target"]["name"] for one in v3.audit_events.list(types="audit.space.create")
        ],
    }
    v3.domains.unshare_domain(domain["guid"], other["guid"])
    v3.roles.remove(role["guid"], asynchronous=False)
    v3.organizations.remove(org["guid"], asynchronous=False)
    seen |= {
        "left": [one["name"] for one in v3.organizations.list(order_by="name")],
        "expected": (org["guid"], other["guid"], quota["guid"]),
    }
    return seen


async def test_an_administrators_tour(cloud: Cloud) -> None:
    """Jobs included: the organization goes with its space, its domain and its roles."""
    bob = await account(cloud, "bob")

    seen = await trio.to_thread.run_sync(administer, cloud.url, bob)
    org, other, quota = seen.pop("expected")

    assert seen == {
        "roles": [("space_developer", "bob", "live")],
        "applied": [org],
        "quota": quota,
        "domains": ["apps.localhost", "acme.test"],
        "shared": [other],
        "default": "apps.localhost",
        "used": 1,
        "segment": [org],
        "rules": "10.0.0.0/8",
        "flag": (False, "Ask first."),
        "events": ["live"],
        "left": ["dev", "other"],
    }
