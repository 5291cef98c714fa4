"""Sidecars: made, changed and removed, within the memory of their processes, and started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance.dea.messages import Sidecar

from .conftest import Cloud, Dea, Stager

ONE = {"name": "auth", "command": "./auth", "process_types": ["web", "worker"], "memory_in_mb": 64}


async def create(cloud: Cloud, app: str, **changes: Any) -> Any:
    """A sidecar of *app*."""
    return await cloud.call("POST", f"/v3/apps/{app}/sidecars", ONE | changes, expect=201)


async def names(cloud: Cloud, path: str) -> list[str]:
    """The names in a list of sidecars."""
    return [one["name"] for one in (await cloud.call("GET", path, expect=200))["resources"]]


async def refusal(cloud: Cloud, method: str, path: str, body: Any) -> str:
    """Why a request is refused with 422."""
    answer = await cloud.raw(method, path, body)
    assert answer.status == 422, answer.body
    return str(answer.json()["errors"][0]["detail"])


async def test_a_sidecar_is_shown_where_it_belongs(cloud: Cloud) -> None:
    """With its app, and beside the processes of its types only."""
    app = await cloud.app()

    made = await create(cloud, app)
    await create(cloud, app, name="other", process_types=["worker"])

    assert {key: made[key] for key in ONE} == ONE
    assert made["origin"] == "user"
    assert made["relationships"] == {"app": {"data": {"guid": app}}}
    assert await names(cloud, f"/v3/apps/{app}/sidecars") == ["auth", "other"]
    assert await names(cloud, f"/v3/processes/{app}/sidecars") == ["auth"]
    assert await cloud.call("GET", f"/v3/sidecars/{made['guid']}", expect=200) == made


async def test_a_change_leaves_what_it_does_not_name(cloud: Cloud) -> None:
    """A null takes the memory away."""
    path = f"/v3/sidecars/{(await create(cloud, await cloud.app()))['guid']}"

    changed = await cloud.call("PATCH", path, {"command": "./other"}, expect=200)
    without = await cloud.call("PATCH", path, {"memory_in_mb": None}, expect=200)

    assert (changed["command"], changed["memory_in_mb"]) == ("./other", 64)
    assert (without["command"], without["memory_in_mb"]) == ("./other", None)
    await cloud.call("DELETE", path, expect=204)
    await cloud.call("GET", path, expect=404)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": " "}, "Name can't be blank"),
    ({"command": ""}, "Command can't be blank"),
    ({"command": "x" * 4097}, "Command is too long (maximum is 4096 characters)"),
    ({"process_types": []}, "Process types must have at least 1 process_type"),
    ({"memory_in_mb": 0}, "Memory in mb must be greater than 0"),
    (
        {"memory_in_mb": 256},
        'The memory allocation defined is too large to run with the dependent "web" process',
    ),
]


async def test_a_sidecar_that_cannot_be_is_refused(cloud: Cloud) -> None:
    """When it is made, and when one becomes it."""
    app = await cloud.app()
    made = await create(cloud, app, name="first", memory_in_mb=None)
    for changes, why in WRONG:
        assert await refusal(cloud, "POST", f"/v3/apps/{app}/sidecars", ONE | changes) == why
        assert await refusal(cloud, "PATCH", f"/v3/sidecars/{made['guid']}", changes) == why


async def test_a_name_is_used_once_in_an_app(cloud: Cloud) -> None:
    """Another app may have it, too."""
    app = await cloud.app()
    await create(cloud, app)
    await create(cloud, await cloud.app("other"))

    why = await refusal(cloud, "POST", f"/v3/apps/{app}/sidecars", ONE)

    assert why == "Sidecar with name 'auth' already exists for given app"


async def test_a_process_keeps_the_memory_of_its_sidecars(cloud: Cloud) -> None:
    """All of them together must leave something for the process itself."""
    app = await cloud.app()
    await create(cloud, app)
    await create(cloud, app, name="two")

    why = await refusal(cloud, "POST", f"/v3/processes/{app}/actions/scale", {"memory_in_mb": 128})

    assert why == (
        "The requested memory allocation is not large enough to run all of your sidecar processes"
    )
    await cloud.call("POST", f"/v3/processes/{app}/actions/scale", {"memory_in_mb": 129},
                     expect=202)  # fmt: skip


async def test_a_start_order_names_the_sidecars_of_its_process(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """Those of another process type are none of its own; they go with the app."""
    app = await cloud.app()
    made = await create(cloud, app)
    await create(cloud, app, name="other", process_types=["worker"])
    droplet = {"data": {"guid": await cloud.staged(app, tmp_path)}}
    await cloud.call("PATCH", f"/v3/apps/{app}/relationships/current_droplet", droplet, expect=200)

    await cloud.call("POST", f"/v3/apps/{app}/actions/start", expect=200)
    await cloud.until_states(app, "RUNNING")

    assert dea.starts[0].sidecars == [Sidecar(name="auth", command="./auth", memory=64)]
    await cloud.call("DELETE", f"/v3/apps/{app}")
    await cloud.call("GET", f"/v3/sidecars/{made['guid']}", expect=404)
