"""Users, their roles, and codes for ssh."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from .cli import Cf, grant
from .reads import Installed, Role, User
from .steps import organization, space, to

ORG_USER = "organization_user"


def create_user(cf: Cf, name: str) -> str:
    """``cf create-user``; the guid."""
    known = f'/Users?filter=userName eq "{name}" and origin eq "uaa"'
    assert cf.send("GET", known, status=200).json["resources"] == []
    body = {
        "userName": name,
        "password": "p",
        "origin": "",
        "name": {"familyName": name, "givenName": name},
        "emails": [{"value": name, "primary": True}],
    }
    made = cf.post("/Users", body, Installed)
    assert made.origin == "uaa"
    user = cf.post("/v3/users", {"guid": made.id}, User)
    assert (user.guid, user.username, user.presentation_name) == (made.id, name, name)
    [found] = cf.send("GET", known, status=200).json["resources"]
    assert (found["id"], found["origin"]) == (made.id, "uaa")
    return made.id


def role(cf: Cf, type_: str, **user: str) -> dict[str, Any]:
    """The body that gives somebody a role in the targeted organization or space."""
    where = {"space": to(cf.space)} if type_.startswith("space") else {"organization": to(cf.org)}
    return {"type": type_, "relationships": {**where, "user": {"data": user}}}


def test_a_user_is_created_and_deleted(cf: Cf) -> None:
    """``cf create-user``, again, and ``cf delete-user``."""
    name = f"u-{cf.name}"
    guid = create_user(cf, name)

    again = {"userName": name, "password": "p", "origin": ""}
    assert cf.send("POST", "/Users", again).status == 409

    [found] = cf.send("GET", f'/Users?filter=userName eq "{name}"', status=200).json["resources"]
    assert found["id"] == guid
    cf.deleted(f"/v3/users/{guid}", "user.delete")
    gone = cf.send("DELETE", f"/Users/{guid}", status=200).json
    assert (gone["id"], gone["origin"]) == (guid, "uaa")


def test_people_change_their_own_password(cf: Cf) -> None:
    """``cf passwd``: with the old one."""
    name = f"u-{cf.name}"
    guid = create_user(cf, name)
    login = {"grant_type": "password", "username": name}
    own = replace(cf, token=grant(cf, **login, password="p").json["access_token"])

    body = {"oldPassword": "p", "password": "q"}
    own.send("PUT", f"/Users/{guid}/password", body, status=200)

    assert grant(cf, **login, password="p").status == 401
    assert grant(cf, **login, password="q").status == 200


def test_create_space_gives_its_maker_roles(cf: Cf) -> None:
    """Four calls; the third is the first again, and is refused in the words that end nothing."""
    admin = {"username": "admin", "origin": "uaa"}

    for type_ in (ORG_USER, "space_manager"):
        assert cf.post("/v3/roles", role(cf, type_, **admin), Role).type == type_
    twice = cf.refused("POST", "/v3/roles", role(cf, ORG_USER, **admin))
    cf.post("/v3/roles", role(cf, "space_developer", **admin), Role)

    assert twice == (
        f"User 'admin' already has 'organization_user' role in organization '{cf.name}'."
    )


def test_set_and_unset_space_role(cf: Cf) -> None:
    """The user is named without an origin; the role is found by user, type and space."""
    name = f"u-{cf.name}"
    guid = create_user(cf, name)
    organization(cf, cf.name)
    space(cf)
    cf.post("/v3/roles", role(cf, ORG_USER, username=name), Role)
    made = cf.post("/v3/roles", role(cf, "space_developer", username=name), Role)
    assert made.relationships.space.guid == cf.space
    assert made.relationships.organization.data is None
    twice = cf.refused("POST", "/v3/roles", role(cf, "space_developer", username=name))
    assert twice == f"User '{name}' already has 'space_developer' role in space 's'."

    assert cf.one(f"/v3/users?usernames={name}", User).guid == guid
    query = f"space_guids={cf.space}&types=space_developer&user_guids={guid}&page=1&per_page=1"
    found = cf.one(f"/v3/roles?{query}", Role)
    cf.deleted(f"/v3/roles/{found.guid}", "role.delete")

    assert cf.list(f"/v3/roles?{query}", Role) == []


@pytest.mark.parametrize("where", ["organization_guids", "space_guids"])
def test_users_are_listed_with_their_roles(cf: Cf, where: str) -> None:
    """``cf org-users`` and ``cf space-users`` take the names from what is included."""
    name = f"u-{cf.name}"
    create_user(cf, name)
    for type_ in (ORG_USER, "organization_manager", "space_developer"):
        cf.post("/v3/roles", role(cf, type_, username=name), Role)

    target = cf.org if where == "organization_guids" else cf.space
    shown = cf.send("GET", f"/v3/roles?include=user&{where}={target}", status=200).json

    named = {user["guid"]: user["presentation_name"] for user in shown["included"]["users"]}
    who = {named[one["relationships"]["user"]["data"]["guid"]] for one in shown["resources"]}
    types = {one["type"] for one in shown["resources"]}
    wanted = {ORG_USER, "organization_manager"}
    assert (who, types) == ({name}, wanted if target == cf.org else {"space_developer"})


@pytest.mark.parametrize(
    ("type_", "user", "detail"),
    [
        (ORG_USER, {"username": "nobody"}, "No user exists with the username 'nobody'."),
        (
            ORG_USER,
            {"username": "nobody", "origin": "uaa"},
            "No user exists with the username 'nobody' and origin 'uaa'.",
        ),
        (
            "space_developer",
            {"username": "u-NAME"},
            "Users cannot be assigned roles in a space if they do not have a role in that "
            "space's organization.",
        ),
    ],
)
def test_roles_are_refused_in_known_words(
    cf: Cf, type_: str, user: dict[str, str], detail: str
) -> None:
    """The CLI shows them as they are."""
    create_user(cf, f"u-{cf.name}")
    user = {key: value.replace("NAME", cf.name) for key, value in user.items()}

    assert cf.refused("POST", "/v3/roles", role(cf, type_, **user)) == detail


def test_an_ssh_code_comes_by_redirect(admin: Cf) -> None:
    """The CLI does not follow it, it takes the code; each is another."""
    codes = set()
    for _ in range(2):
        answer = admin.send("GET", "/oauth/authorize?client_id=ssh-proxy&response_type=code")
        assert answer.status == 302
        [code] = parse_qs(urlsplit(answer.location).query)["code"]
        codes.add(code)
    assert len(codes) == 2


def test_an_ssh_code_needs_a_token(anonymous: Cf) -> None:
    """Refused as UAA does."""
    answer = anonymous.send("GET", "/oauth/authorize?client_id=ssh-proxy&response_type=code")

    assert answer.status == 401
    assert answer.json["error"]
    assert answer.json["error_description"]
