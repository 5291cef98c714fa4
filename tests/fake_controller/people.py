"""Users other than admin, for tests of who may do what."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

from .conftest import Cloud


async def token_of(cloud: Cloud, username: str, password: str) -> str:
    """What a password grant gives."""
    answer = await cloud.raw(
        "POST",
        f"/oauth/token?grant_type=password&username={quote(username)}&password={quote(password)}",
    )
    assert answer.status == 200, answer.body
    return str(answer.json()["access_token"])


async def account(cloud: Cloud, name: str, password: str = "secret") -> str:
    """The guid of a new account, known to the controller, too; as ``cf create-user`` does it."""
    body = {"userName": name, "password": password, "origin": "", "emails": [{"value": name}]}
    guid = str((await cloud.call("POST", "/Users", body, expect=201))["id"])
    await cloud.call("POST", "/v3/users", {"guid": guid}, expect=201)
    return guid


async def give(cloud: Cloud, name: str, type_: str, where: str) -> str:
    """Give the user a role, as ``cf set-space-role`` does; its guid."""
    kind = "space" if type_.startswith("space") else "organization"
    relations = {kind: {"data": {"guid": where}}, "user": {"data": {"username": name}}}
    body = {"type": type_, "relationships": relations}
    return str((await cloud.call("POST", "/v3/roles", body, expect=201))["guid"])


async def organization(cloud: Cloud, name: str = "dev") -> str:
    """The guid of an organization."""
    page = await cloud.call("GET", f"/v3/organizations?names={name}", expect=200)
    return str(page["resources"][0]["guid"])


async def person(cloud: Cloud, name: str, *roles: str) -> Cloud:
    """The same cloud, asked by a new user who has *roles* in organization and space dev."""
    await account(cloud, name)
    org, space = await organization(cloud), await cloud.space()
    if any(role.startswith("space") for role in roles):
        roles = ("organization_user", *roles)
    for role in dict.fromkeys(roles):
        await give(cloud, name, role, space if role.startswith("space") else org)
    return replace(cloud, token=await token_of(cloud, name, "secret"))
