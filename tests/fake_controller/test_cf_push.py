"""The recorded calls of ``cf push``: each is answered, and done at the first look."""

from __future__ import annotations

import gzip
from pathlib import Path

from .cf import Cf
from .conftest import Cloud, Dea, Stager

FILES = {"app.py": "print('hi')", "Procfile": "web: python3 app.py"}
AT_ONCE = {"job": 1, "build": 1, "stats": 1}


async def test_a_first_push_never_waits(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """With a manifest file; every polled thing has settled when the CLI first looks."""
    cf = Cf(cloud, tmp_path)
    manifest = {"name": "shop", "memory": "64M", "path": ".", "env": {"A": 1}}

    app = await cf.push(manifest, FILES, with_file=True)

    assert cf.looks == AT_ONCE
    assert dea.starts[0].uris == ["shop.apps.localhost"]
    assert (dea.starts[0].limits.mem, "A=1" in dea.starts[0].env) == (64, True)
    page = await cloud.call("GET", f"/v3/apps/{app}/processes")
    assert {one["type"]: one["instances"] for one in page["resources"]} == {"web": 1, "worker": 0}


async def test_a_second_push_sends_no_file_again(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """The app keeps its guid and its route; the instance is of the new droplet."""
    cf = Cf(cloud, tmp_path)
    first = await cf.push({"name": "shop"}, FILES)

    again = await cf.push({"name": "shop", "instances": 2}, FILES)

    assert again == first
    assert cf.looks == AT_ONCE
    await cloud.until_states(first, "RUNNING", "RUNNING")
    assert len({start.version for start in dea.live.values()}) == 1


async def test_a_rolling_push_ends_deployed(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """The new process answers for its stats from birth, and the options travel with it."""
    cf = Cf(cloud, tmp_path)
    app = await cf.push({"name": "shop", "instances": 2}, FILES)

    await cf.push_rolling({"name": "shop"}, FILES | {"app.py": "print()"}, max_in_flight=2)

    web = await cloud.call("GET", f"/v3/apps/{app}/processes/web", expect=200)
    assert (await cloud.states(web["guid"]), web["instances"]) == (["RUNNING"] * 2, 2)


async def test_a_push_of_a_droplet_stages_nothing(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """Its bytes go to an archiver as they are."""
    cf = Cf(cloud, tmp_path)

    await cf.push_droplet({"name": "shop"}, gzip.compress(b"x"))

    assert (stager.requests, len(cloud.held)) == ([], 1)
    assert cf.looks == {"job": 1, "stats": 1}


async def test_a_push_without_a_start_leaves_a_stopped_app(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """``--no-start`` stops what runs, and stages nothing; the package waits."""
    cf = Cf(cloud, tmp_path)
    app = await cf.push({"name": "shop"}, FILES)

    again = await cf.applied({"name": "shop"})
    stopped = await cloud.call("POST", f"/v3/apps/{again}/actions/stop", expect=200)

    assert (again, stopped["state"]) == (app, "STOPPED")
    assert await cloud.states(app) == ["DOWN"]
    await cf.summary(app)
