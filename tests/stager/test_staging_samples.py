"""Every sample goes through the real stager, and its droplet is started as a DEA would."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.config import PackageCacheConfig, StagerConfig
from appliance.package_cache import service as package_cache
from appliance.stager.build import SYSTEM_PATH
from tests.stager.conftest import (
    SAMPLES,
    Bench,
    expectation,
    running_bench,
    staging_info_of,
    started,
)


def need(expected: dict[str, Any]) -> None:
    """Skip when this machine lacks what the sample says it needs."""
    for program in expected.get("needs", []):
        if not shutil.which(program, path=SYSTEM_PATH):
            pytest.skip(f"{program} is not installed")
    for gem in expected.get("gems", []):
        if subprocess.run(["gem", "list", "-ei", gem], capture_output=True).returncode:
            pytest.skip(f"the gem {gem} is not installed")


STAGED = sorted(
    path.parent.name
    for path in SAMPLES.glob("*/expect.toml")
    if expectation(path.parent.name).get("failure", {}).get("phase") not in ("detect", "build")
    and not expectation(path.parent.name).get("network")
)
NETWORKED = sorted(
    path.parent.name
    for path in SAMPLES.glob("*/expect.toml")
    if expectation(path.parent.name).get("network")
)
REFUSED = sorted(
    path.parent.name
    for path in SAMPLES.glob("*/expect.toml")
    if expectation(path.parent.name).get("failure", {}).get("phase") in ("detect", "build")
)


@pytest.mark.parametrize("name", STAGED)
async def test_a_sample_becomes_a_droplet_that_answers(
    bench: Bench, folder: Path, name: str
) -> None:
    """Staged, unpacked, started by its own script: it does what its expect.toml says."""
    wanted = expectation(name)
    need(wanted)
    bench.push(SAMPLES / name)
    reply = await bench.stage()
    assert reply.error is None, reply.task_log
    [droplet] = bench.droplets
    assert droplet.filename == "droplet.tgz"
    members = droplet.members()
    assert list(members)[:3] == ["staging_info.yml", "startup", "stop"]
    assert {"app", "deps", "profile.d", "logs", "tmp"} <= set(members)
    assert members["startup"].mode == members["stop"].mode == 0o500
    assert reply.process_types == staging_info_of(droplet)["process_types"]
    if "failure" in wanted:
        return  # it fails later, when it runs
    expected = wanted["expect"]
    assert reply.detected == expected["detected"]
    async with started(bench.kit, droplet, folder / "instance") as app:
        if "path" in expected:
            answer = await app.get(bench.kit, expected["path"])
            assert answer.status == expected["status"]
            assert expected["body"] in answer.text
        if "log" in expected:
            await app.says(expected["log"])


@pytest.mark.parametrize("name", REFUSED)
async def test_a_broken_sample_fails_in_its_phase(bench: Bench, name: str) -> None:
    """Phase, code, exit code, sentence and hint are those that its expect.toml promises."""
    wanted = expectation(name)
    need(wanted)
    bench.push(SAMPLES / name)
    reply = await bench.stage()
    failure = wanted["failure"]
    assert (reply.phase, reply.error_code, reply.exit_code) == (
        failure["phase"],
        failure["code"],
        failure["exit_code"],
    )
    assert reply.error is not None
    assert reply.error.startswith("Staging task failed:\n ")
    assert failure["message"] in reply.error
    assert failure["hint"] in (reply.hint or "")
    assert not bench.droplets


@pytest.mark.parametrize("name", NETWORKED)
async def test_a_sample_with_packages_of_the_real_index(folder: Path, name: str) -> None:
    """What is configured on this machine provides them; without it there is nothing to test."""
    wanted = expectation(name)
    need(wanted)
    caching = PackageCacheConfig(bind="127.0.0.1:0", root=folder / "packages")
    async with (
        running_bench(folder, StagerConfig(root=folder / "idle")) as idle,
        trio.open_nursery() as nursery,
    ):
        kit = idle.kit.named("package_cache")
        url = await nursery.start(partial(package_cache.serve, caching, kit))
        config = StagerConfig(root=folder / "stager", package_cache=url)
        async with running_bench(folder, config) as bench:
            bench.push(SAMPLES / name)
            reply = await bench.stage()
            idle.kit.stopping.set()
            if "index cannot be asked" in (reply.error or ""):
                pytest.skip(f"no index can be reached: {reply.error}")
            assert reply.error is None, reply.task_log
            async with started(bench.kit, bench.droplets[0], folder / "instance") as app:
                answer = await app.get(bench.kit, wanted["expect"]["path"])
                assert wanted["expect"]["body"] in answer.text
                await app.says(wanted["expect"]["log"])
