"""Feature flags stop everybody but administrators, with the administrators' own words."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cloud, zipped
from .people import account, organization, person


async def switch(cloud: Cloud, flag: str, enabled: bool, message: str | None = None) -> Any:
    """As ``cf disable-feature-flag`` does it."""
    body = {"enabled": enabled} | ({"custom_error_message": message} if message else {})
    return await cloud.call("PATCH", f"/v3/feature_flags/{flag}", body, expect=200)


async def test_all_flags_have_cloud_foundrys_defaults(cloud: Cloud) -> None:
    """Sorted by name; one that was never switched has no time."""
    page = await cloud.call("GET", "/v3/feature_flags", expect=200)
    flags = {flag["name"]: flag for flag in page["resources"]}

    assert list(flags) == sorted(flags)
    assert len(flags) == 19
    assert flags["app_scaling"]["enabled"] is True
    assert flags["user_org_creation"]["enabled"] is False
    assert flags["app_scaling"]["updated_at"] is None
    assert flags["app_scaling"]["links"]["self"]["href"].endswith("/v3/feature_flags/app_scaling")


async def test_a_switched_flag_shows_when_and_why(cloud: Cloud) -> None:
    """Switching is for administrators; unknown names are not found."""
    bob = await person(cloud, "bob")

    shown = await switch(cloud, "app_scaling", False, "Ask the operator.")
    refused = await bob.raw("PATCH", "/v3/feature_flags/app_scaling", {"enabled": True})
    unknown = await cloud.raw("PATCH", "/v3/feature_flags/nonsense", {"enabled": True})

    assert (shown["enabled"], shown["custom_error_message"]) == (False, "Ask the operator.")
    assert shown["updated_at"] is not None
    assert refused.status == 403
    assert unknown.json()["errors"][0]["detail"] == "Feature flag not found"


@pytest.mark.parametrize("flag", ["diego_docker", "diego_cnb"])
async def test_what_does_not_work_here_stays_off(cloud: Cloud, flag: str) -> None:
    """And an app that would need it is refused as Cloud Foundry does it."""
    answer = await cloud.raw("PATCH", f"/v3/feature_flags/{flag}", {"enabled": True})
    kind = flag.removeprefix("diego_")
    body = {
        "name": "a",
        "lifecycle": {"type": kind, "data": {}},
        "relationships": {"space": {"data": {"guid": await cloud.space()}}},
    }
    refused = await cloud.raw("POST", "/v3/apps", body)

    assert answer.status == 422
    assert (refused.status, refused.json()["errors"][0]["detail"]) == (
        403,
        f"Feature Disabled: {flag}",
    )


async def test_each_flag_stops_what_it_is_about(cloud: Cloud, tmp_path: Path) -> None:
    """Developers are refused; the administrator goes on."""
    app, space = await cloud.app(), await cloud.space()
    bob = await person(cloud, "bob", "space_developer", "organization_manager")
    joe = await account(cloud, "joe")
    assert joe
    domain = (await cloud.call("GET", "/v3/domains"))["resources"][0]["guid"]
    package = await cloud.call(
        "POST", "/v3/packages", {"relationships": {"app": {"data": {"guid": app}}}}
    )
    bits = tmp_path / "bits.zip"
    bits.write_bytes(zipped({"app.py": "1"}))
    in_space = {"space": {"data": {"guid": space}}}
    attempts: dict[str, tuple[str, str, Any]] = {
        "app_scaling": ("POST", f"/v3/apps/{app}/processes/web/actions/scale", {"instances": 1}),
        "route_creation": (
            "POST",
            "/v3/routes",
            {"host": "h", "relationships": in_space | {"domain": {"data": {"guid": domain}}}},
        ),
        "task_creation": ("POST", f"/v3/apps/{app}/tasks", {"command": "true"}),
        "env_var_visibility": ("GET", f"/v3/apps/{app}/env", None),
        "space_developer_env_var_visibility": (
            "GET",
            f"/v3/apps/{app}/environment_variables",
            None,
        ),
        "app_bits_upload": ("POST", "/v3/resource_matches", {"resources": []}),
        "service_instance_creation": (
            "POST",
            "/v3/service_instances",
            {"type": "user-provided", "name": "s", "relationships": in_space},
        ),
        "set_roles_by_username": (
            "POST",
            "/v3/roles",
            {
                "type": "organization_user",
                "relationships": {
                    "organization": {"data": {"guid": await organization(cloud)}},
                    "user": {"data": {"username": "joe"}},
                },
            },
        ),
    }

    for flag, (method, path, body) in attempts.items():
        await switch(cloud, flag, False, f"No {flag} today.")
        refused = await bob.raw(method, path, body)
        said = refused.json()["errors"][0]
        assert (refused.status, said["code"]) == (403, 330002), (flag, said)
        assert said["detail"] == f"Feature Disabled: No {flag} today."
        allowed = await cloud.raw(method, path, body)
        assert (allowed.status == 403) == (flag == "env_var_visibility"), (flag, allowed.body)
        await switch(cloud, flag, True)

    await switch(cloud, "app_bits_upload", False)
    upload = await bob.upload(package["guid"], bits)
    assert upload.status == 403


async def test_resource_matching_can_be_switched_off(cloud: Cloud, tmp_path: Path) -> None:
    """Then nothing is known, and everything is uploaded."""
    app = await cloud.app()
    text = "x" * 100
    await cloud.package(app, {"a.txt": text}, tmp_path)
    sha = hashlib.sha1(text.encode()).hexdigest()
    wanted = {"path": "a.txt", "checksum": {"value": sha}, "size_in_bytes": 100, "mode": "644"}
    body = {"resources": [wanted]}
    known = await cloud.call("POST", "/v3/resource_matches", body, expect=201)

    await switch(cloud, "resource_matching", False)

    assert len(known["resources"]) == 1
    unknown = await cloud.call("POST", "/v3/resource_matches", body, expect=201)
    assert unknown["resources"] == []
