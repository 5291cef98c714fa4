"""Roles: who has them, and that each lets its holder do so much and no more."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from .conftest import Cloud, Dea, Stager
from .people import account, give, organization, person, token_of
from .test_fuzz import RESOURCE, furnished, known_guids

HAS_ROLE = "User 'bob' already has 'organization_user' role in organization 'dev'."
NO_MEMBER = (
    "Users cannot be assigned roles in a space if they do not have a role in that space's "
    "organization."
)


def role(type_: str, where: str, **who: str) -> dict[str, Any]:
    """A body."""
    kind = "space" if type_.startswith("space") else "organization"
    return {
        "type": type_,
        "relationships": {kind: {"data": {"guid": where}}, "user": {"data": who}},
    }


async def detail(cloud: Cloud, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """Status and text of a refusal."""
    answer = await cloud.raw(method, path, body)
    return answer.status, answer.json()["errors"][0]["detail"]


async def test_a_role_is_given_once(cloud: Cloud) -> None:
    """The second time has the text that the CLI takes for success, whatever the case."""
    await account(cloud, "bob")
    org = await organization(cloud)

    made = await cloud.call(
        "POST", "/v3/roles", role("organization_user", org, username="BOB"), expect=201
    )
    again = await detail(
        cloud, "POST", "/v3/roles", role("organization_user", org, username="bob", origin="uaa")
    )

    assert made["relationships"]["organization"] == {"data": {"guid": org}}
    assert made["relationships"]["space"] == {"data": None}
    assert again == (422, HAS_ROLE)


async def test_a_space_role_needs_one_in_the_organization(cloud: Cloud) -> None:
    """And a member with space roles cannot be put out of the organization."""
    bob = await account(cloud, "bob")
    org, space = await organization(cloud), await cloud.space()
    wanted = role("space_developer", space, guid=bob)
    assert await detail(cloud, "POST", "/v3/roles", wanted) == (422, NO_MEMBER)

    member = await give(cloud, "bob", "organization_user", org)
    developer = await give(cloud, "bob", "space_developer", space)
    refused = await detail(cloud, "DELETE", f"/v3/roles/{member}")
    job = await cloud.call("DELETE", f"/v3/roles/{developer}", expect=202)
    done = await cloud.call("GET", job, expect=200)
    await cloud.call("DELETE", f"/v3/roles/{member}", expect=202)

    assert refused[0] == 422
    assert refused[1].startswith("Cannot delete organization_user role")
    assert (done["operation"], done["state"]) == ("role.delete", "COMPLETE")
    assert (await cloud.call("GET", "/v3/roles?user_guids=" + bob))["resources"] == []


UNCLEAR: list[tuple[dict[str, str], str]] = [
    ({"username": "nobody", "origin": "uaa"}, "username 'nobody' and origin 'uaa'."),
    ({"username": "nobody"}, "No user exists with the username 'nobody'."),
    ({"origin": "uaa"}, "User origin cannot be specified without specifying the username"),
    ({"guid": "a", "username": "b"}, "cannot be specified when identifying user by guid"),
    ({}, "User must have a username or guid specified"),
]


async def test_who_and_what_is_meant_must_be_clear(cloud: Cloud) -> None:
    """Unknown and contradictory users are named, and the types that there are."""
    org = await organization(cloud)

    for who, text in UNCLEAR:
        wanted = role("organization_auditor", org, **who)
        status, said = await detail(cloud, "POST", "/v3/roles", wanted)
        assert (status, text in said) == (422, True), said
    for type_ in ("space_king", "", "organization_developer"):
        wanted = role("organization_user", org, username="admin") | {"type": type_}
        status, said = await detail(cloud, "POST", "/v3/roles", wanted)
        assert status == 422
        assert said.startswith('Type must be one of the allowed types ["organization_user", ')


async def test_roles_come_with_users_spaces_and_organizations(cloud: Cloud) -> None:
    """As ``cf space-users`` asks for them; users are shown by name."""
    await person(cloud, "bob", "space_developer")
    space = await cloud.space()

    page = await cloud.call(
        "GET", f"/v3/roles?include=user,space,organization&space_guids={space}", expect=200
    )
    members = await cloud.call("GET", f"/v3/spaces/{space}/users", expect=200)
    partial = await cloud.call("GET", "/v3/users?partial_usernames=BO,x", expect=200)

    assert [one["type"] for one in page["resources"]] == ["space_developer"]
    assert page["included"]["users"][0]["presentation_name"] == "bob"
    assert page["included"]["spaces"][0]["guid"] == space
    assert page["included"]["organizations"] == []
    assert [user["username"] for user in members["resources"]] == ["bob"]
    assert [user["username"] for user in partial["resources"]] == ["bob"]


async def test_a_stranger_sees_nothing(cloud: Cloud) -> None:
    """Lists are empty, and what exists is not found."""
    app = await cloud.app()
    stranger = await person(cloud, "eve")

    for kind in ("apps", "spaces", "organizations", "routes", "processes", "packages", "roles"):
        page = await stranger.call("GET", f"/v3/{kind}", expect=200)
        assert page["resources"] == [], kind
    assert await detail(stranger, "GET", f"/v3/apps/{app}") == (404, "App not found")
    assert await detail(stranger, "DELETE", f"/v3/apps/{app}") == (404, "App not found")
    users = await stranger.call("GET", "/v3/users", expect=200)
    assert [user["username"] for user in users["resources"]] == ["eve"]


#: Lists that are everybody's, by what follows /v3/; a user sees themselves, and public plans.
PUBLIC = {
    "buildpacks",
    "domains",
    "feature_flags",
    "service_offerings",
    "service_plans",
    "stacks",
    "users",
}


async def test_what_a_stranger_is_shown_by_any_list_is_everybodys(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """Of whatever kind; an auditor of everything sees what the administrator sees."""
    await furnished(cloud, tmp_path)
    await person(cloud, "bob", "space_developer")
    stranger = await person(cloud, "eve")
    auditor = await auditor_of_everything(cloud)
    document = await cloud.call("GET", "/openapi.json", expect=200)
    shown, hidden = set(), set()
    for path, methods in document["paths"].items():
        if "{" in path or "get" not in methods or not path.startswith("/v3/"):
            continue
        page = await cloud.call("GET", path)
        if not page.get("resources"):
            continue
        mine = (await stranger.call("GET", path)).get("resources")
        (shown if mine else hidden).add(path.removeprefix("/v3/"))
        seen = await auditor.call("GET", path, expect=200)
        assert seen["pagination"]["total_results"] == page["pagination"]["total_results"], path

    assert shown <= PUBLIC
    assert hidden >= {"apps", "audit_events", "builds", "deployments", "droplets", "organizations",
                      "packages", "processes", "roles", "routes", "spaces", "tasks"}  # fmt: skip


async def test_an_auditor_changes_nothing(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """Of all that is there: every change and deletion is refused, and everything is left."""
    await furnished(cloud, tmp_path)
    auditors = [await person(cloud, "bob", "space_auditor"), await auditor_of_everything(cloud)]
    guids = await known_guids(cloud)
    document = await cloud.call("GET", "/openapi.json", expect=200)
    asked = 0
    for path, methods in document["paths"].items():
        there = RESOURCE.match(path)
        if not there or not guids.get(there[1]):
            continue
        own = re.sub(r"\{.*?\}", guids[there[1]][0], path)
        for method in sorted(set(methods) & {"patch", "delete", "put"}):
            for auditor in auditors:
                answer = await auditor.raw(method.upper(), own, {})
                asked += 1
                # What is missing in a body, or below a path, is told before who may change it.
                assert answer.status in (400, 403, 404, 422), (method, own, answer.body)
                assert answer.status in (403, 404) or path != there[0], (own, answer.body)

    assert asked > 50
    assert await known_guids(cloud) == guids


async def auditor_of_everything(cloud: Cloud) -> Cloud:
    """The same cloud, asked by somebody in the group of global auditors."""
    guid = await account(cloud, "auditor")
    group = "/Groups/cloud_controller.global_auditor/members"
    await cloud.call("POST", group, {"value": guid}, expect=201)
    return replace(cloud, token=await token_of(cloud, "auditor", "secret"))


#: Role: whether it may create an app, start one, map a route, give roles, see variables.
MAY = {
    "space_developer": (201, 200, 201, 403, 200),
    "space_supporter": (403, 200, 201, 403, 403),
    "space_manager": (403, 403, 403, 201, 403),
    "space_auditor": (403, 403, 403, 403, 403),
    "organization_manager": (403, 403, 403, 201, 403),
    "organization_user": (422, 404, 422, 422, 404),
    "organization_auditor": (422, 404, 422, 422, 404),
    "organization_billing_manager": (422, 404, 422, 422, 404),
}


async def test_each_role_lets_do_so_much_and_no_more(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """What a role sees and may not do is 403; what it does not see is not there."""
    app, space = await cloud.app(), await cloud.space()
    droplet = {"data": {"guid": await cloud.staged(app, tmp_path)}}
    await cloud.call("PATCH", f"/v3/apps/{app}/relationships/current_droplet", droplet)
    domain = (await cloud.call("GET", "/v3/domains"))["resources"][0]["guid"]
    in_space = {"space": {"data": {"guid": space}}}

    for type_, allowed in MAY.items():
        await person(cloud, f"friend-{type_}", "organization_user")
        bob = await person(cloud, f"bob-{type_}", type_)
        to_domain = {"domain": {"data": {"guid": domain}}}
        route = {"host": type_, "relationships": in_space | to_domain}
        given = role("space_auditor", space, username=f"friend-{type_}")
        answers = [
            await bob.raw("POST", "/v3/apps", {"name": type_, "relationships": in_space}),
            await bob.raw("POST", f"/v3/apps/{app}/actions/start"),
            await bob.raw("POST", "/v3/routes", route),
            await bob.raw("POST", "/v3/roles", given),
            await bob.raw("GET", f"/v3/apps/{app}/env"),
        ]
        assert tuple(answer.status for answer in answers) == allowed, type_


async def test_changes_of_roles_count_at_once(cloud: Cloud) -> None:
    """A token that was given before sees what its user may see now."""
    app = await cloud.app()
    bob = await person(cloud, "bob", "organization_user")
    assert (await bob.raw("GET", f"/v3/apps/{app}")).status == 404

    given = await give(cloud, "bob", "space_auditor", await cloud.space())
    assert (await bob.raw("GET", f"/v3/apps/{app}")).status == 200

    await cloud.call("DELETE", f"/v3/roles/{given}", expect=202)
    assert (await bob.raw("GET", f"/v3/apps/{app}")).status == 404


async def test_giving_and_taking_roles_is_audited(cloud: Cloud) -> None:
    """The event is about the user, and belongs to the space."""
    bob = await person(cloud, "bob", "space_developer")
    assert bob.token
    events = await cloud.call("GET", "/v3/audit_events?types=audit.user.space_developer_add")

    assert [(e["target"]["name"], e["space"]["guid"]) for e in events["resources"]] == [
        ("bob", await cloud.space())
    ]


async def test_a_deleted_user_has_no_roles(cloud: Cloud) -> None:
    """As ``cf delete-user``: first the controller forgets, then UAA."""
    guid = await account(cloud, "bob")
    await give(cloud, "bob", "organization_user", await organization(cloud))

    await cloud.call("DELETE", f"/v3/users/{guid}", expect=202)
    gone = await cloud.call("DELETE", f"/Users/{guid}", expect=200)

    assert (gone["id"], gone["origin"]) == (guid, "uaa")
    assert await detail(cloud, "GET", f"/v3/users/{guid}") == (404, "User not found")
    assert (await cloud.call("GET", f"/v3/roles?user_guids={guid}"))["resources"] == []


async def test_users_are_made_once(cloud: Cloud) -> None:
    """By the guid of an account, or by name for those who log in elsewhere."""
    bob = await account(cloud, "bob")
    by_name = {"username": "kate", "origin": "ldap"}
    kate = await cloud.call("POST", "/v3/users", by_name, expect=201)

    assert (kate["username"], kate["presentation_name"], kate["origin"]) == ("kate", "kate", "ldap")
    assert await detail(cloud, "POST", "/v3/users", by_name) == (
        422,
        "User with username 'kate' and origin 'ldap' already exists.",
    )
    assert await detail(cloud, "POST", "/v3/users", {"guid": bob}) == (
        422,
        f"User with guid '{bob}' already exists.",
    )
    status, _ = await detail(cloud, "POST", "/v3/users", {"username": "u", "origin": "uaa"})
    assert status == 422
