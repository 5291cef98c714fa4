"""Logging in, targeting, and what a token must be."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from typing import Any

import pytest

from .cli import Cf, grant
from .reads import Organization, Space


def claims(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token, decoded by hand as a compact JWS."""
    assert "=" not in token
    head, body, signature = token.split(".")
    base64.urlsafe_b64decode(padded(signature))
    return json.loads(base64.urlsafe_b64decode(padded(head))), json.loads(
        base64.urlsafe_b64decode(padded(body))
    )


def padded(part: str) -> str:
    """*part* with the padding that Python wants and the CLI refuses."""
    return part + "=" * (-len(part) % 4)


# cf api, cf login, cf auth, cf target


def test_cf_api_finds_every_link(anonymous: Cf) -> None:
    """Absolute, without a path before log-cache's; what is not there is null."""
    links = anonymous.send("GET", "/", status=200).json["links"]

    base = anonymous.base
    for name in ("self", "login", "uaa", "log_cache"):
        assert links[name]["href"] == base, name
    assert links["cloud_controller_v3"]["href"] == f"{base}/v3"
    assert links["cloud_controller_v3"]["meta"]["version"] == "3.211.0"
    assert links["network_policy_v1"]["href"] == f"{base}/networking/v1/external"
    for name in ("cloud_controller_v2", "logging", "routing", "credhub", "network_policy_v0"):
        assert links[name] is None, name
    assert "app_ssh" in links


#: What the CLI of version 7 looks for in ``/v3``.
RESOURCES = (
    "apps", "audit_events", "buildpacks", "builds", "deployments", "domains", "droplets",
    "environment_variable_groups", "feature_flags", "isolation_segments", "organizations",
    "organization_quotas", "packages", "processes", "resource_matches", "roles", "routes",
    "security_groups", "service_brokers", "service_instances", "service_offerings",
    "service_plans", "space_quotas", "spaces", "stacks", "tasks", "users", "info",
    "service_credential_bindings", "service_route_bindings", "app_usage_events",
    "service_usage_events",
)  # fmt: skip


@pytest.mark.parametrize("path", ["/v3", "/v3/"])
def test_cf_7_finds_every_resource(anonymous: Cf, path: str) -> None:
    """It builds each URL from these."""

    links = anonymous.send("GET", path, status=200).json["links"]

    assert {name: links[name]["href"] for name in RESOURCES} == {
        name: f"{anonymous.base}/v3/{name}" for name in RESOURCES
    }


def test_information_needs_no_token(anonymous: Cf) -> None:
    """``/v3/info`` and log-cache's own, whose version must be 2 or more."""
    info = anonymous.send("GET", "/v3/info", status=200).json
    assert info["cli_version"] == {"minimum": "", "recommended": ""}
    assert info["links"]["self"]["href"] == f"{anonymous.base}/v3/info"
    cache = anonymous.send("GET", "/api/v1/info", status=200).json
    assert int(cache["version"].split(".")[0]) >= 2


def test_cf_login(anonymous: Cf) -> None:
    """``GET /``, ``GET /login``, a token, organizations, spaces of the one that was chosen."""
    assert anonymous.send("GET", "/", status=200).json["links"]
    prompts = anonymous.send("GET", "/login", status=200).json["prompts"]
    # A second text would be asked for; the passcode is for --sso alone.
    kinds = {name: kind for name, (kind, _) in prompts.items()}
    assert kinds == {"username": "text", "password": "password", "passcode": "password"}
    answer = grant(anonymous, grant_type="password", username="admin", password="admin")
    assert answer.status == 200
    assert answer.json["token_type"] == "bearer"

    cf = replace(anonymous, token=answer.json["access_token"])
    names = [one.name for one in cf.list("/v3/organizations?order_by=name", Organization)]
    assert names == sorted(names)
    [dev] = cf.list("/v3/organizations?names=dev&page=1&per_page=1", Organization)
    spaces = cf.list(f"/v3/spaces?order_by=name&organization_guids={dev.guid}", Space)
    assert "dev" in [one.name for one in spaces]
    query = f"names=dev&organization_guids={dev.guid}&page=1&per_page=1"
    assert cf.one(f"/v3/spaces?{query}", Space).relationships.organization.guid == dev.guid


# The token


def test_the_token_of_a_user_is_a_jwt_that_the_cli_parses(anonymous: Cf) -> None:
    """No padding, a classic algorithm, a minute to live; the names are there and are strings."""
    answer = grant(anonymous, grant_type="password", username="admin", password="admin").json

    head, body = claims(answer["access_token"])

    assert head["alg"] in ("HS256", "RS256")
    assert body["exp"] >= time.time() + 60
    for name in ("user_name", "user_id", "origin", "sub", "jti", "client_id", "email"):
        assert isinstance(body[name], str), name
        assert body[name], name
    assert (body["user_name"], body["origin"]) == ("admin", "uaa")
    assert not body.get("revocable")
    assert answer["expires_in"] > 60
    assert answer["scope"].split() == body["scope"]
    assert answer["jti"] == body["jti"]


def test_the_token_of_a_client_has_no_user(cf: Cf) -> None:
    """The secret comes in the body, without a Basic header."""
    body = {
        "client_id": f"client-{cf.name}",
        "client_secret": "s",
        "authorized_grant_types": ["client_credentials"],
        "authorities": ["cloud_controller.read"],
    }
    cf.send("POST", "/oauth/clients", body, status=201)
    form = {"client_id": body["client_id"], "client_secret": "s"}
    answer = grant(cf, basic=False, grant_type="client_credentials", **form)

    _, body = claims(answer.json["access_token"])

    assert "user_name" not in body
    assert body["client_id"] == f"client-{cf.name}"


def test_an_old_refresh_token_serves_a_second_process(anonymous: Cf) -> None:
    """Two that refresh with the same one both get a token that is good."""
    first = grant(anonymous, grant_type="password", username="admin", password="admin").json

    for _ in range(2):
        form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
        again = grant(anonymous, **form).json
        assert again["refresh_token"]
        known = replace(anonymous, token=again["access_token"])
        assert known.list("/v3/organizations?order_by=name", Organization)


REFUSED = [
    (
        {"grant_type": "password", "username": "admin", "password": "no"},
        401,
        {"error": "unauthorized", "error_description": "Bad credentials"},
    ),
    ({"grant_type": "password", "username": "nobody", "password": "no"}, 401, "unauthorized"),
    ({"grant_type": "password", "passcode": "used"}, 401, "unauthorized"),
    ({"grant_type": "refresh_token", "refresh_token": "x"}, 401, "invalid_token"),
    ({"grant_type": "client_credentials"}, 401, "unauthorized_client"),  # cf's own client
    ({"grant_type": "magic"}, 400, "unsupported_grant_type"),
    ({}, 400, "invalid_request"),
]


@pytest.mark.parametrize(("form", "status", "error"), REFUSED)
def test_grants_are_refused_as_uaa_does(
    anonymous: Cf, form: dict[str, str], status: int, error: str | dict[str, str]
) -> None:
    """The CLI tells them apart by ``error``."""
    answer = grant(anonymous, **form)

    assert answer.status == status, answer.body
    shown = answer.json
    assert shown == error if isinstance(error, dict) else shown["error"] == error
    assert shown["error_description"]


@pytest.mark.parametrize(
    ("header", "code", "title", "detail"),
    [
        (None, 10002, "CF-NotAuthenticated", "Authentication error"),
        ("bearer opaque", 1000, "CF-InvalidAuthToken", "Invalid Auth Token"),
        ("bearer a.b.c", 1000, "CF-InvalidAuthToken", "Invalid Auth Token"),
        ("Basic Y2Y6", 1000, "CF-InvalidAuthToken", "Invalid Auth Token"),
    ],
)
def test_a_missing_token_and_a_bad_one_are_told_apart(
    admin: Cf, header: str | None, code: int, title: str, detail: str
) -> None:
    """Other clients refresh on exactly the second."""
    headers = {"Authorization": header} if header else {}
    answer = admin.wire.send("GET", "/v3/apps", headers, b"")

    assert answer.status == 401
    assert answer.json == {"errors": [{"code": code, "title": title, "detail": detail}]}


@pytest.mark.parametrize("scheme", ["bearer", "Bearer", "BEARER"])
def test_the_scheme_of_a_token_may_be_written_in_any_case(admin: Cf, scheme: str) -> None:
    """cf writes it small, others do not."""
    headers = {"Authorization": f"{scheme} {admin.token}"}
    assert admin.wire.send("GET", "/v3/apps", headers, b"").status == 200
