"""UAA: what clients log in with, what they get, and whom it lets in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from .conftest import Cloud, zipped
from .people import account, person, token_of

LOGIN = {"grant_type": "password", "username": "admin", "password": "admin"}
CF = "Basic Y2Y6"  # client "cf" with the empty secret


def basic(name: str, password: str) -> str:
    """A header."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


async def grant(cloud: Cloud, login: str = CF, **form: str) -> Any:
    """The bare answer to a form, without a bearer token."""
    bare = replace(cloud, token="")
    query = "&".join(f"{key}={quote(value)}" for key, value in form.items())
    headers = {"Authorization": login} if login else {}
    return await bare.raw("POST", f"/oauth/token?{query}", None, **headers)


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, as the CLI reads them: base64url without padding."""
    assert "=" not in token
    head, body, _ = token.split(".")
    return tuple(  # type: ignore[return-value]
        json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in (head, body)
    )


async def test_a_users_token_has_what_the_cli_crashes_without(cloud: Cloud) -> None:
    """Name, id and origin together, a classic algorithm, and an hour to live."""
    answer = await grant(cloud, grant_type="password", username="admin", password="admin")
    given = answer.json()
    header, claims = parts(given["access_token"])

    assert given["token_type"] == "bearer"
    assert given["expires_in"] > 3000
    assert header["alg"] in ("HS256", "RS256", "ES256")
    assert all(isinstance(claims[name], str) for name in ("user_name", "user_id", "origin"))
    assert claims["exp"] - claims["iat"] >= 3600
    assert "revocable" not in claims
    assert "cloud_controller.admin" in claims["scope"]
    assert given["scope"].split() == claims["scope"]


async def test_a_clients_token_names_no_user(cloud: Cloud) -> None:
    """The CLI takes its ``client_id`` for its name."""
    body = {
        "client_id": "ci",
        "client_secret": "s3cret",
        "authorities": ["cloud_controller.admin"],
    }
    await cloud.call("POST", "/oauth/clients", body, expect=201)

    answer = await grant(
        cloud, "", grant_type="client_credentials", client_id="ci", client_secret="s3cret"
    )
    _, claims = parts(answer.json()["access_token"])

    assert "user_name" not in claims
    assert claims["client_id"] == "ci"
    ci = replace(cloud, token=answer.json()["access_token"])
    await ci.call("POST", "/v3/organizations", {"name": "made-by-ci"}, expect=201)


#: Login of the client, form, status and error.
REFUSALS: list[tuple[str, dict[str, str], int, str]] = [
    (CF, LOGIN | {"password": "no"}, 401, "unauthorized"),
    (CF, LOGIN | {"username": "ghost"}, 401, "unauthorized"),
    (CF, LOGIN | {"login_hint": '{"origin":"ldap"}'}, 401, "unauthorized"),
    (CF, LOGIN | {"login_hint": "nonsense"}, 401, "unauthorized"),
    (CF, {"grant_type": "password"}, 401, "unauthorized"),
    (CF, {"grant_type": "password", "passcode": "guess"}, 401, "unauthorized"),
    (CF, {"grant_type": "refresh_token", "refresh_token": "x"}, 401, "invalid_token"),
    (CF, {"grant_type": "client_credentials"}, 401, "unauthorized_client"),
    (CF, {"grant_type": "magic"}, 400, "unsupported_grant_type"),
    (CF, {}, 400, "invalid_request"),
    ("Basic Y2Y6eA==", {"grant_type": "password"}, 401, "invalid_client"),
    ("Basic !", {"grant_type": "client_credentials"}, 401, "invalid_client"),
    ("", {"grant_type": "client_credentials", "client_id": "registry"}, 401, "invalid_client"),
    (CF, LOGIN | {"scope": "no.pe"}, 400, "invalid_scope"),
]


async def test_refusals_are_uaas_own(cloud: Cloud) -> None:
    """Clients tell them apart by ``error``."""
    for login, form, status, error in REFUSALS:
        answer = await grant(cloud, login, **form)

        assert (answer.status, answer.json()["error"]) == (status, error), (login, form)
        assert answer.json()["error_description"]


async def test_a_scope_narrows_a_token(cloud: Cloud) -> None:
    """An empty one, as Python's client sends it, means all."""
    narrow = (await grant(cloud, **LOGIN, scope="cloud_controller.read openid")).json()
    hint = '{"origin":"uaa"}'
    wide = (await grant(cloud, **LOGIN, scope="", login_hint=hint)).json()

    assert set(narrow["scope"].split()) == {"cloud_controller.read", "openid"}
    assert "cloud_controller.admin" in wide["scope"]
    weak = replace(cloud, token=narrow["access_token"])
    assert (await weak.raw("POST", "/v3/organizations", {"name": "x"})).status == 403


async def test_a_token_is_good_for_its_scopes_alone(cloud: Cloud, tmp_path: Path) -> None:
    """One that only reads changes nothing, not even by an upload; one of a client reads nothing."""
    app = await cloud.app()
    bob = await person(cloud, "bob", "space_developer")
    login = {"grant_type": "password", "username": "bob", "password": "secret"}
    reading = (await grant(cloud, **login, scope="cloud_controller.read")).json()
    relations = {"app": {"data": {"guid": app}}}
    package = await bob.call("POST", "/v3/packages", {"relationships": relations}, expect=201)
    bits = tmp_path / "bits.zip"
    bits.write_bytes(zipped({"a": "1"}))
    weak = replace(cloud, token=reading["access_token"])

    assert (await weak.raw("GET", f"/v3/apps/{app}")).status == 200
    assert (await weak.raw("PATCH", f"/v3/apps/{app}", {"name": "b"})).status == 403
    assert (await weak.upload(package["guid"], bits)).status == 403
    await cloud.call("POST", "/oauth/clients", {"client_id": "c", "client_secret": "c"})
    none = await grant(cloud, basic("c", "c"), grant_type="client_credentials")
    client = replace(cloud, token=none.json()["access_token"])
    assert (await client.raw("GET", "/v3/apps")).status == 403


async def test_refresh_tokens_rotate_and_end_with_the_password(cloud: Cloud) -> None:
    """An older one stays good for a second process, until the password changes."""
    guid = await account(cloud, "bob")
    first = (await grant(cloud, grant_type="password", username="bob", password="secret")).json()
    old = first["refresh_token"]
    second = (await grant(cloud, grant_type="refresh_token", refresh_token=old)).json()
    third = await grant(cloud, grant_type="refresh_token", refresh_token=old)

    assert second["refresh_token"] != old
    assert third.status == 200
    bob = replace(cloud, token=second["access_token"])
    assert (await bob.raw("GET", "/v3/apps")).status == 200

    new = {"oldPassword": "secret", "password": "better"}
    await bob.call("PUT", f"/Users/{guid}/password", new, expect=200)
    ended = await grant(cloud, grant_type="refresh_token", refresh_token=second["refresh_token"])
    assert (ended.status, ended.json()["error"]) == (401, "invalid_token")


async def test_passwords_are_changed_by_those_who_know_them(cloud: Cloud) -> None:
    """And by administrators; others are refused, and the same one is no change."""
    guid = await account(cloud, "bob")
    bob = replace(cloud, token=await token_of(cloud, "bob", "secret"))
    eve = await person(cloud, "eve")
    path = f"/Users/{guid}/password"

    wrong = await bob.raw("PUT", path, {"oldPassword": "x", "password": "y"})
    same = await bob.raw("PUT", path, {"oldPassword": "secret", "password": "secret"})
    foreign = await eve.raw("PUT", path, {"oldPassword": "secret", "password": "y"})
    empty = await bob.raw("PUT", path, {"oldPassword": "secret", "password": ""})
    await cloud.call("PUT", path, {"password": "reset"}, expect=200)

    assert (wrong.status, same.status, foreign.status, empty.status) == (401, 422, 403, 400)
    assert await token_of(cloud, "bob", "reset")


async def test_a_passcode_logs_in_once(cloud: Cloud) -> None:
    """Whoever is logged in gets one, by password or by token."""
    by_password = await cloud.raw("GET", "/passcode", Authorization=basic("admin", "admin"))
    by_token = await cloud.raw("GET", "/passcode", Accept="application/json")
    nobody = await replace(cloud, token="").raw("GET", "/passcode")
    wrong = await cloud.raw("GET", "/passcode", Authorization=basic("admin", "x"))

    for code in (by_password.body.decode().strip(), by_token.json()):
        first = await grant(cloud, grant_type="password", passcode=code)
        again = await grant(cloud, grant_type="password", passcode=code)
        assert parts(first.json()["access_token"])[1]["user_name"] == "admin"
        assert again.status == 401
    assert (nobody.status, wrong.status) == (401, 401)
    assert nobody.headers["www-authenticate"].startswith("Basic")


async def test_a_code_for_ssh_is_no_passcode(cloud: Cloud) -> None:
    """Each is for its own door."""
    answer = await cloud.raw("GET", "/oauth/authorize?response_type=code&client_id=ssh-proxy")
    code = answer.headers["location"].rpartition("code=")[2]

    assert (await grant(cloud, grant_type="password", passcode=code)).status == 401


async def test_the_shared_key_is_for_resource_servers_alone(cloud: Cloud) -> None:
    """Who has it can check tokens, and make them."""
    body = {"client_id": "rs", "client_secret": "rs", "authorities": ["uaa.resource"]}
    await cloud.call("POST", "/oauth/clients", body, expect=201)
    bare = replace(cloud, token="")

    answer = await bare.raw("GET", "/token_keys", None, Authorization=basic("rs", "rs"))
    [key] = answer.json()["keys"]
    one = (await bare.raw("GET", "/token_key", None, Authorization=basic("rs", "rs"))).json()
    signed, _, signature = cloud.token.rpartition(".")
    mark = hmac.new(key["value"].encode(), signed.encode(), hashlib.sha256).digest()

    assert base64.urlsafe_b64encode(mark).decode().rstrip("=") == signature
    assert (one, key["alg"]) == (key, parts(cloud.token)[0]["alg"])
    assert (await bare.raw("GET", "/token_key")).status == 401
    assert (await bare.raw("GET", "/token_key", None, Authorization=CF)).status == 403


async def test_resource_servers_ask_what_a_token_says(cloud: Cloud) -> None:
    """With a client of their own; ``cf`` may not."""
    body = {"client_id": "rs", "client_secret": "rs", "authorities": ["uaa.resource"]}
    await cloud.call("POST", "/oauth/clients", body, expect=201)
    path = f"/check_token?token={cloud.token}"

    said = await cloud.raw("POST", path, None, Authorization=basic("rs", "rs"))
    refused = await cloud.raw("POST", path, None, Authorization=CF)
    nonsense = await cloud.raw(
        "POST", "/check_token?token=x", None, Authorization=basic("rs", "rs")
    )
    me = await cloud.call("GET", "/userinfo", expect=200)

    assert said.json()["user_name"] == me["user_name"] == "admin"
    assert refused.status == 403
    assert (nonsense.status, nonsense.json()["error"]) == (400, "invalid_token")


async def test_a_revoked_token_does_not_count(cloud: Cloud) -> None:
    """Everybody ends their own, with its refresh token; others' only administrators."""
    await account(cloud, "bob")
    given = (await grant(cloud, grant_type="password", username="bob", password="secret")).json()
    bob = replace(cloud, token=given["access_token"])
    admins = parts(cloud.token)[1]["jti"]

    assert (await bob.raw("DELETE", f"/oauth/token/revoke/{admins}")).status == 403
    assert (await bob.raw("DELETE", f"/oauth/token/revoke/{given['jti']}")).status == 200

    assert (await bob.raw("GET", "/v3/apps")).status == 401
    refresh = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"]}
    assert (await grant(cloud, **refresh)).status == 401
    assert (await cloud.raw("GET", "/v3/apps")).status == 200


#: Filter: the names that it finds.
FILTERS = {
    'userName eq "BOB"': ["bob"],
    'userName eq "bob" and origin eq "uaa"': ["bob"],
    'userName eq "bob" and origin eq "ldap"': [],
    'username sw "b" or (origin eq "uaa" and user_name co "dmi")': ["admin", "bob"],
    'email eq "bob"': ["bob"],
    "active eq true": ["admin", "bob"],
    'userName eq "a\\"b"': [],
    "": ["admin", "bob"],
}
BROKEN = ("x", "userName eq", 'colour eq "red"', "(", 'id eq "a" and', '"', "(" * 2000)


async def test_accounts_are_found_by_filters(cloud: Cloud) -> None:
    """As the CLI and UAA's own tool write them; broken ones are 400, never more."""
    await account(cloud, "bob")

    for wanted, found in FILTERS.items():
        page = await cloud.call("GET", f"/Users?filter={quote(wanted)}", expect=200)
        assert [user["userName"] for user in page["resources"]] == found, wanted
        assert page["totalResults"] == len(found)
    for wanted in BROKEN:
        answer = await cloud.raw("GET", f"/Users?filter={quote(wanted)}")
        assert (answer.status, answer.json()["error"]) == (400, "scim"), wanted[:20]


async def test_accounts_are_made_changed_and_removed(cloud: Cloud) -> None:
    """By those who may; names are taken whatever their case."""
    guid = await account(cloud, "bob")
    eve = await person(cloud, "eve")
    body = {"userName": "Bob", "password": "x"}

    taken = await cloud.raw("POST", "/Users", body)
    changed = await cloud.call(
        "PUT",
        f"/Users/{guid}",
        {"userName": "robert", "name": {"givenName": "R"}, "emails": [], "active": False},
        expect=200,
    )
    shut = await grant(cloud, grant_type="password", username="robert", password="secret")

    assert (taken.status, taken.json()["error"]) == (409, "scim_resource_already_exists")
    assert (changed["userName"], changed["meta"]["version"], changed["active"]) == (
        "robert",
        1,
        False,
    )
    assert shut.status == 401
    for method, path in (("GET", "/Users"), ("POST", "/Users"), ("DELETE", f"/Users/{guid}")):
        assert (await eve.raw(method, path, body)).status == 403
    await cloud.call("DELETE", f"/Users/{guid}", expect=200)
    gone = await cloud.raw("GET", f"/Users/{guid}")
    assert (gone.status, gone.json()["error"]) == (404, "scim_resource_not_found")
    assert (await cloud.raw("POST", "/Users", {"userName": "n"})).status == 400


@pytest.mark.parametrize(
    ("group", "sees_secrets", "writes"),
    [
        ("cloud_controller.admin", True, True),
        ("cloud_controller.admin_read_only", True, False),
        ("cloud_controller.global_auditor", False, False),
    ],
)
async def test_members_of_groups_see_and_do_more(
    cloud: Cloud, group: str, sees_secrets: bool, writes: bool
) -> None:
    """From their next login on; leaving a group works in the same way."""
    app, guid = await cloud.app(), await account(cloud, "bob")
    page = await cloud.call("GET", f"/Groups?filter={quote(f'displayName eq {json.dumps(group)}')}")
    [found] = page["resources"]
    members = f"/Groups/{found['id']}/members"
    await cloud.call("POST", members, {"origin": "uaa", "type": "USER", "value": guid}, expect=201)
    bob = replace(cloud, token=await token_of(cloud, "bob", "secret"))

    assert (await bob.raw("GET", f"/v3/apps/{app}")).status == 200
    assert ((await bob.raw("GET", f"/v3/apps/{app}/env")).status == 200) == sees_secrets
    assert ((await bob.raw("PATCH", f"/v3/apps/{app}", {"name": "b"})).status == 200) == writes

    assert guid in [one["value"] for one in await cloud.call("GET", members)]
    await cloud.call("DELETE", f"{members}/{guid}", expect=200)
    bob = replace(cloud, token=await token_of(cloud, "bob", "secret"))
    assert (await bob.raw("GET", f"/v3/apps/{app}")).status == 404


async def test_clients_are_added_and_removed(cloud: Cloud) -> None:
    """Those of the installation stay as they are."""
    body = {"client_id": "ci", "client_secret": "a"}
    await cloud.call("POST", "/oauth/clients", body, expect=201)
    again = await cloud.raw("POST", "/oauth/clients", body)
    await cloud.call("PUT", "/oauth/clients/ci/secret", {"secret": "b"}, expect=200)
    login = {"grant_type": "client_credentials", "client_id": "ci"}

    assert again.status == 409
    assert (await grant(cloud, "", **login, client_secret="a")).status == 401
    assert (await grant(cloud, "", **login, client_secret="b")).status == 200
    listed = await cloud.call("GET", "/oauth/clients", expect=200)
    assert [one["client_id"] for one in listed["resources"]] == ["cf", "ci", "registry"]
    assert (await cloud.raw("DELETE", "/oauth/clients/cf")).status == 403
    await cloud.call("DELETE", "/oauth/clients/ci", expect=200)
    assert (await grant(cloud, "", **login, client_secret="b")).status == 401
