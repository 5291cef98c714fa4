"""A stager that is killed in the middle of a build costs the build nothing but time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.stager.messages import StagingRequest, TaskQuestion, TaskState

from .conftest import Cloud, Stager


@dataclass
class Mortal(Stager):
    """Takes one request, says that it works on it, and is gone."""

    took: StagingRequest | None = None

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        kit = self.cloud.kit.named("stager")
        async with (
            kit.subscribe(StagingRequest, queue="staging") as inbox,
            kit.subscribe(TaskQuestion) as questions,
        ):
            task_status.started()
            self.took = (await inbox.__anext__()).body
            kit.respond(await questions.__anext__(), TaskState(state="running"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become moments."""
    monkeypatch.setattr("fake_controller.asking.CHECK_EVERY", 0.05)
    monkeypatch.setattr("fake_controller.asking.CHECK_TIMEOUT", 0.05)


async def test_another_stager_is_asked(cloud: Cloud, tmp_path: Path) -> None:
    """With another handle: what the first one may still deliver belongs to nobody."""
    cloud.folder = tmp_path
    mortal = Mortal(cloud)
    await cloud.nursery.start(mortal.run)
    package = await cloud.package(await cloud.app(), {"app.py": "1"}, tmp_path)
    build = await cloud.call("POST", "/v3/builds", {"package": {"guid": package}}, expect=201)
    with trio.fail_after(10):
        while mortal.took is None:
            await trio.lowlevel.checkpoint()
    heir = Stager(cloud)
    await cloud.nursery.start(heir.run)

    build = await _ended(cloud, build)

    assert build["state"] == "STAGED", build["error"]
    assert mortal.took is not None
    assert heir.requests[0].task_id == mortal.took.task_id
    assert heir.requests[0].upload_uri != mortal.took.upload_uri
    late = await heir.upload(mortal.took, b"late")
    assert late.status == 400
    assert [event.what for event in cloud.events if event.what == "stager.lost"] == ["stager.lost"]


async def test_nobody_left_is_a_sentence(cloud: Cloud, tmp_path: Path) -> None:
    """The build fails, and says that no stager is there any more."""
    mortal = Mortal(cloud)
    await cloud.nursery.start(mortal.run)
    package = await cloud.package(await cloud.app(), {"app.py": "1"}, tmp_path)

    build = await cloud.build(package)

    assert build["state"] == "FAILED"
    assert "No stager is there" in build["error"]


async def _ended(cloud: Cloud, build: Any) -> Any:
    with trio.fail_after(10):
        while build["state"] == "STAGING":
            build = await cloud.call("GET", f"/v3/builds/{build['guid']}", expect=200)
    return build
