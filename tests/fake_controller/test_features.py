"""Switches of apps and spaces."""

from __future__ import annotations

from pathlib import Path

from .conftest import Cloud, Dea, Stager


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


async def test_services_are_told_in_one_way(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """As files by either feature, not by both; the environment says where."""
    app = await cloud.app()
    features = f"/v3/apps/{app}/features"
    await cloud.call("PATCH", f"{features}/service-binding-k8s", {"enabled": True}, expect=200)
    both = await cloud.raw("PATCH", f"{features}/file-based-vcap-services", {"enabled": True})
    env = await cloud.call("GET", f"/v3/apps/{app}/env", expect=200)
    droplet = {"data": {"guid": await cloud.staged(app, tmp_path)}}
    await cloud.call("PATCH", f"/v3/apps/{app}/relationships/current_droplet", droplet, expect=200)

    await cloud.call("POST", f"/v3/apps/{app}/actions/start", expect=200)
    await cloud.until_states(app, "RUNNING")

    assert both.status == 422
    assert both.json()["errors"][0]["detail"] == (
        "'file-based-vcap-services' and 'service-binding-k8s' features cannot be enabled at the "
        "same time."
    )
    assert env["system_env_json"] == {"SERVICE_BINDING_ROOT": "/home/vcap/service-bindings"}
    assert dea.starts[0].services_as == "folders"
