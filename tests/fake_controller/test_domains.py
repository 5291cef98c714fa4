"""Domains: whose they are, who may use them, and what they may not be called."""

from __future__ import annotations

from typing import Any

from .conftest import Cloud
from .people import give, organization, person
from .test_roles import detail


def owned_by(guid: str, *shared_with: str) -> dict[str, Any]:
    """Relationships."""
    owner = {"organization": {"data": {"guid": guid}}}
    others = {"shared_organizations": {"data": [{"guid": one} for one in shared_with]}}
    return {"relationships": owner | (others if shared_with else {})}


async def domain(cloud: Cloud, name: str, **more: Any) -> str:
    """The guid of a new domain."""
    return str((await cloud.call("POST", "/v3/domains", {"name": name} | more, expect=201))["guid"])


async def new_organization(cloud: Cloud, name: str) -> str:
    """The guid of a new organization."""
    return str((await cloud.call("POST", "/v3/organizations", {"name": name}, expect=201))["guid"])


async def route(cloud: Cloud, domain_guid: str, host: str, space: str) -> Any:
    """The bare answer to a new route."""
    relations = {"space": {"data": {"guid": space}}, "domain": {"data": {"guid": domain_guid}}}
    return await cloud.raw("POST", "/v3/routes", {"host": host, "relationships": relations})


BAD_NAMES = [
    ("a", "Name is too short (minimum is 3 characters)"),
    ("localhost", 'Name must contain at least one "."'),
    ("exa mple.com", "Name must consist of alphanumeric characters and hyphens"),
    ("a..com", "Name does not comply with RFC 1035 standards"),
    ("-a.com", "Name does not comply with RFC 1035 standards"),
    ("x" * 64 + ".com", "Name subdomains must each be at most 63 characters"),
    ("x." * 130 + "com", "Name is too long (maximum is 253 characters)"),
    ("APPS.localhost", 'The domain name "APPS.localhost" is already in use'),
]


async def test_bad_names_are_refused(cloud: Cloud) -> None:
    """Each with its rule."""
    for name, text in BAD_NAMES:
        assert await detail(cloud, "POST", "/v3/domains", {"name": name}) == (422, text)


async def test_nobody_takes_a_name_in_the_domain_of_another(cloud: Cloud) -> None:
    """Neither below it nor above it, nor one that a route has."""
    org, other = await organization(cloud), await new_organization(cloud, "o2")
    await domain(cloud, "corp.test", **owned_by(org))
    await domain(cloud, "a.deep.test", **owned_by(org))
    shared = await domain(cloud, "shared.test")
    await route(cloud, shared, "www", await cloud.space())

    async def said(name: str) -> str:
        status, text = await detail(cloud, "POST", "/v3/domains", {"name": name} | owned_by(other))
        assert status == 422
        return text.partition("because ")[2]

    assert await said("sub.corp.test") == '"corp.test" is already reserved by another domain'
    assert await said("x.sub.corp.test") == '"corp.test" is already reserved by another domain'
    assert await said("deep.test") == '"a.deep.test" is already reserved by another domain'
    assert await said("www.shared.test") == '"www.shared.test" is already reserved by a route'
    await domain(cloud, "sub.corp.test", **owned_by(org))
    await domain(cloud, "own.shared.test", **owned_by(other))


async def test_internal_domains_are_nobodys(cloud: Cloud) -> None:
    """And nothing here has router groups."""
    org = await organization(cloud)
    body = {"name": "apps.internal", "internal": True}

    owned = await detail(cloud, "POST", "/v3/domains", body | owned_by(org))
    grouped = await detail(cloud, "POST", "/v3/domains", body | {"router_group": {"guid": "g"}})
    tcp = await detail(
        cloud, "POST", "/v3/domains", {"name": "tcp.test", "router_group": {"guid": "g"}}
    )
    made = await cloud.call("POST", "/v3/domains", body, expect=201)

    assert owned[1] == "Cannot associate an internal domain with an organization"
    assert grouped[1] == "Internal domains cannot be associated to a router group."
    assert tcp == (503, "The Routing API is disabled.")
    assert made["internal"] is True


async def test_a_private_domain_is_its_organizations(cloud: Cloud) -> None:
    """Its members see it, its managers make and delete it, its spaces alone have routes in it."""
    org, space = await organization(cloud), await cloud.space()
    other = await new_organization(cloud, "o2")
    boss = await person(cloud, "boss", "organization_manager")
    developer = await person(cloud, "dev", "space_developer")
    eve = await person(cloud, "eve")

    private = await domain(boss, "corp.test", **owned_by(org))
    body = {"name": "far", "relationships": {"organization": {"data": {"guid": other}}}}
    far = (await cloud.call("POST", "/v3/spaces", body, expect=201))["guid"]

    assert (await developer.raw("GET", f"/v3/domains/{private}")).status == 200
    assert (await eve.raw("GET", f"/v3/domains/{private}")).status == 404
    assert (await developer.raw("DELETE", f"/v3/domains/{private}")).status == 403
    assert (await developer.raw("POST", "/v3/domains", {"name": "x.test"})).status == 403
    assert (await route(developer, private, "a", space)).status == 201
    assert (await route(developer, private, "", space)).status == 201
    refused = await route(cloud, private, "b", far)
    assert refused.json()["errors"][0]["detail"] == (
        "Invalid domain. Domain 'corp.test' is not available in organization 'o2'."
    )
    in_other = await cloud.call("GET", f"/v3/organizations/{other}/domains", expect=200)
    assert [one["name"] for one in in_other["resources"]] == ["apps.localhost"]

    job = await boss.call("DELETE", f"/v3/domains/{private}", expect=202)
    assert (await cloud.call("GET", job))["state"] == "COMPLETE"
    assert (await cloud.call("GET", "/v3/routes"))["resources"] == []


async def test_sharing_lends_a_domain(cloud: Cloud) -> None:
    """Until either side ends it, which needs that no route uses it any more."""
    org, other = await organization(cloud), await new_organization(cloud, "o2")
    private = await domain(cloud, "corp.test", **owned_by(org))
    body = {"name": "far", "relationships": {"organization": {"data": {"guid": other}}}}
    far = (await cloud.call("POST", "/v3/spaces", body, expect=201))["guid"]
    path = f"/v3/domains/{private}/relationships/shared_organizations"

    shared = await cloud.call("POST", path, {"data": [{"guid": other}]}, expect=200)
    listed = await cloud.call("GET", f"/v3/organizations/{other}/domains", expect=200)
    made = await route(cloud, private, "a", far)
    in_use = await detail(cloud, "DELETE", f"{path}/{other}")
    deleting = await detail(cloud, "DELETE", f"/v3/domains/{private}")
    await cloud.call("DELETE", f"/v3/routes/{made.json()['guid']}", expect=202)
    await cloud.call("DELETE", f"{path}/{other}", expect=204)

    assert shared == {"data": [{"guid": other}]}
    assert "corp.test" in [one["name"] for one in listed["resources"]]
    assert made.status == 201
    assert in_use[1].startswith("This domain has associated routes in this organization.")
    assert deleting[1].startswith("This domain is shared with other organizations.")
    assert (await detail(cloud, "DELETE", f"{path}/{other}"))[1].startswith(
        "Unable to unshare domain from organization with name 'o2'."
    )


async def test_managers_share_only_with_what_they_manage(cloud: Cloud) -> None:
    """And never with the owner, or a domain of nobody."""
    org, other = await organization(cloud), await new_organization(cloud, "o2")
    boss = await person(cloud, "boss", "organization_manager")
    private = await domain(boss, "corp.test", **owned_by(org))
    path = f"/v3/domains/{private}/relationships/shared_organizations"
    with_other = {"data": [{"guid": other}]}

    unseen = await detail(boss, "POST", path, with_other)
    await give(cloud, "boss", "organization_user", other)
    weak = await detail(boss, "POST", path, with_other)
    await give(cloud, "boss", "organization_manager", other)
    await boss.call("POST", path, with_other, expect=200)
    owner = await detail(boss, "POST", path, {"data": [{"guid": org}]})
    shared = (await cloud.call("GET", "/v3/domains?names=apps.localhost"))["resources"][0]["guid"]
    nobodys = await detail(
        cloud, "POST", f"/v3/domains/{shared}/relationships/shared_organizations", with_other
    )

    assert unseen[1].endswith("does not exist, or you do not have access to it.")
    assert weak[1] == (
        "You do not have sufficient permissions for organization 'o2' to share domain."
    )
    assert owner[1] == "Domain cannot be shared with owning organization."
    assert nobodys[1].startswith("Domains cannot be shared with other organizations unless")


async def test_an_organization_with_a_lent_domain_is_not_deleted(cloud: Cloud) -> None:
    """The job says which domain it is."""
    other = await new_organization(cloud, "o2")
    await domain(cloud, "corp.test", **owned_by(other, await organization(cloud)))

    job = await cloud.call("DELETE", f"/v3/organizations/{other}", expect=202)
    failed = await cloud.call("GET", job, expect=200)

    assert failed["state"] == "FAILED"
    assert failed["errors"][0]["title"] == "CF-OrganizationDeletionFailed"
    assert "Domain 'corp.test' is shared" in failed["errors"][0]["detail"]


async def test_reservations_tell_whether_a_route_is_there(cloud: Cloud) -> None:
    """Whoever may use the domain learns that, and nothing of whose it is."""
    shared = (await cloud.call("GET", "/v3/domains"))["resources"][0]["guid"]
    await route(cloud, shared, "taken", await cloud.space())
    eve = await person(cloud, "eve")
    path = f"/v3/domains/{shared}/route_reservations"

    for query, there in (("?host=taken", True), ("?host=free", False), ("", False)):
        assert await eve.call("GET", path + query, expect=200) == {"matching_route": there}
    assert await eve.call("GET", f"{path}?host=taken&path=/p") == {"matching_route": False}
    assert (await eve.raw("GET", f"{path}?colour=red")).status == 400
