"""Switches of apps and spaces."""

from __future__ import annotations

from .conftest import Cloud


async def test_a_switch_stays_as_it_was_left(cloud: Cloud) -> None:
    """A feature has its default until it is moved, and then what it was moved to."""
    path = f"/v3/apps/{await cloud.app()}/features/ssh"
    before = await cloud.call("GET", path, expect=200)

    await cloud.call("PATCH", path, {"enabled": False}, expect=200)

    assert before["enabled"] is True
    assert (await cloud.call("GET", path, expect=200))["enabled"] is False


async def test_a_space_has_features_too(cloud: Cloud) -> None:
    """The same routes serve both."""
    path = f"/v3/spaces/{await cloud.space()}/features"

    names = [one["name"] for one in (await cloud.call("GET", path, expect=200))["resources"]]

    assert names == ["ssh"]


async def test_an_unknown_feature_is_not_found(cloud: Cloud) -> None:
    """Neither looked at nor switched."""
    path = f"/v3/apps/{await cloud.app()}/features/wings"

    for method, body in (("GET", None), ("PATCH", {"enabled": True})):
        answer = await cloud.raw(method, path, body)
        assert (answer.status, answer.json()["errors"][0]["detail"]) == (404, "Feature not found")
