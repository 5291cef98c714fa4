"""Usage events, and the policies between apps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .conftest import Cloud, Dea, Stager


async def events(cloud: Cloud, query: str = "") -> list[dict[str, Any]]:
    """What was used, the oldest first."""
    found = await cloud.call("GET", f"/v3/app_usage_events{query}", expect=200)
    return list(found["resources"])


def told(event: dict[str, Any]) -> tuple[str, str, int | None, int]:
    """State before and after, instances before and after."""
    state, count = event["state"], event["instance_count"]
    return state["previous"], state["current"], count["previous"], count["current"]


async def test_each_change_of_what_runs_is_noted(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """Start, scale and delete; what changes while an app is stopped is no use of anything."""
    app = await cloud.app()
    droplet = await cloud.staged(app, tmp_path)
    current = f"/v3/apps/{app}/relationships/current_droplet"
    await cloud.call("PATCH", current, {"data": {"guid": droplet}}, expect=200)
    scale = f"/v3/processes/{app}/actions/scale"
    await cloud.call("POST", scale, {"instances": 2}, expect=202)
    assert await events(cloud) == []

    await cloud.call("POST", f"/v3/apps/{app}/actions/start", expect=200)
    await cloud.call("POST", scale, {"instances": 3}, expect=202)
    await cloud.call("DELETE", f"/v3/apps/{app}", expect=202)

    web = [told(one) for one in await events(cloud) if one["process"]["type"] == "web"]
    assert web == [
        ("STOPPED", "STARTED", 2, 2),
        ("STARTED", "STARTED", 2, 3),
        ("STARTED", "STOPPED", 3, 3),
    ]


async def test_who_counts_reads_on_from_where_they_were(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """After a guid come the later ones; a guid that is none is refused."""
    app = await cloud.app()
    droplet = await cloud.staged(app, tmp_path)
    body = {"droplet": {"guid": droplet}, "relationships": {"app": {"data": {"guid": app}}}}
    await cloud.call("POST", "/v3/deployments", body, expect=201)
    first, *others = await events(cloud)

    later = await events(cloud, f"?after_guid={first['guid']}")

    assert [one["guid"] for one in later] == [one["guid"] for one in others]
    refused = await cloud.raw("GET", "/v3/app_usage_events?after_guid=x")
    assert refused.status == 400
    assert "must be a valid app usage event guid" in refused.json()["errors"][0]["detail"]


async def test_counting_can_begin_anew(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """Everything is forgotten but what runs now."""
    app = await cloud.app()
    droplet = await cloud.staged(app, tmp_path)
    body = {"droplet": {"guid": droplet}, "relationships": {"app": {"data": {"guid": app}}}}
    await cloud.call("POST", "/v3/deployments", body, expect=201)
    await cloud.call("POST", f"/v3/processes/{app}/actions/scale", {"instances": 4}, expect=202)

    path = "/v3/app_usage_events/actions/destructively_purge_all_and_reseed"
    await cloud.call("POST", path, expect=200)

    web = [told(one) for one in await events(cloud) if one["process"]["type"] == "web"]
    assert web == [(None, "STARTED", None, 4)]


async def test_a_service_is_noted(cloud: Cloud) -> None:
    """It came, got another name, and went."""
    relations = {"space": {"data": {"guid": await cloud.space()}}}
    body = {"type": "user-provided", "name": "db", "relationships": relations}
    made = await cloud.call("POST", "/v3/service_instances", body, expect=201)
    own = f"/v3/service_instances/{made['guid']}"
    await cloud.call("PATCH", own, {"name": "base"}, expect=200)
    await cloud.call("DELETE", own, expect=204)

    found = (await cloud.call("GET", "/v3/service_usage_events", expect=200))["resources"]

    assert [(one["state"], one["service_instance"]["name"]) for one in found] == [
        ("CREATED", "db"),
        ("UPDATED", "base"),
        ("DELETED", "base"),
    ]


async def test_policies_between_apps_are_kept(cloud: Cloud) -> None:
    """Added once, however often; listed by either app; gone with one of them."""
    one, two = await cloud.app("one"), await cloud.app("two")
    path = "/networking/v1/external/policies"
    ports = {"start": 8080, "end": 8090}
    policy = {
        "source": {"id": one},
        "destination": {"id": two, "protocol": "tcp", "ports": ports},
    }
    for _ in range(2):
        await cloud.call("POST", path, {"policies": [policy]}, expect=200)

    found = await cloud.call("GET", f"{path}?id={two}", expect=200)
    assert found == {"total_policies": 1, "policies": [policy]}

    await cloud.call("DELETE", f"/v3/apps/{two}", expect=202)
    assert (await cloud.call("GET", path, expect=200))["total_policies"] == 0


async def test_a_policy_that_cannot_be_is_refused(cloud: Cloud) -> None:
    """Ports that are none, and apps that are not there."""
    app, path = await cloud.app(), "/networking/v1/external/policies"

    for target, start, status in ((app, 0, 400), (app, 70000, 400), ("x", 80, 403)):
        ports = {"start": start, "end": start}
        destination = {"id": target, "protocol": "tcp", "ports": ports}
        policy = {"source": {"id": app}, "destination": destination}
        answer = await cloud.raw("POST", path, {"policies": [policy]})
        assert answer.status == status
