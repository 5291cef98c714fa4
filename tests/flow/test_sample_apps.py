"""Every folder in sample_apps is pushed through a whole appliance and does what it promises."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import trio

from .conftest import Desk

SAMPLES = sorted(path.parent for path in Path("sample_apps").glob("*/expect.toml"))


def expectations(sample: Path) -> dict[str, Any]:
    """What *sample* promises; skips the test when this machine lacks what it needs."""
    expected = tomllib.loads((sample / "expect.toml").read_text())
    lacking = [name for name in expected.get("needs", []) if shutil.which(name) is None]
    lacking += [name for name in expected.get("gems", []) if not has_gem(name)]
    if lacking:
        pytest.skip(f"{sample.name} needs {', '.join(lacking)}")
    return expected


def has_gem(name: str) -> bool:
    """Whether the system's Ruby has the gem *name*."""
    asked = subprocess.run(["gem", "list", "-ei", name], capture_output=True, check=False)
    return asked.returncode == 0


def options(push: dict[str, Any]) -> list[str]:
    """The flags of ``push`` that *push* asks for."""
    flags = {"memory": "-m", "disk": "-k", "instances": "-i", "command": "-c", "timeout": "-t",
             "health_check": "--health-check"}  # fmt: skip
    words = [word for key, flag in flags.items() if key in push for word in (flag, str(push[key]))]
    words += ["--no-route"] if push.get("no_route") else []
    for name, value in push.get("env", {}).items():
        words += ["--env", f"{name}={value}"]
    return words


def test_there_are_samples() -> None:
    """An empty list would make the tests below pass by doing nothing."""
    names = {sample.name for sample in SAMPLES}
    runs = {"python", "flask", "node", "sinatra", "php", "go"}
    assert {f"{language}-hello" for language in runs} <= names
    assert {"static-site", "procfile-shell", "worker"} <= names
    assert sum(name.startswith("broken-") for name in names) >= 4


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])
async def test_sample(desk: Desk, sample: Path) -> None:
    """A push ends as the sample's expect.toml says, in words and in exit code."""
    expected = expectations(sample)
    words = options(expected.get("push", {}))

    pushed = await desk.cli("push", sample.name, sample, *words, "--output", "json")

    if failure := expected.get("failure"):
        assert pushed.status == failure["exit_code"], pushed
        error = pushed.json["error"]
        assert error["phase"] == failure["phase"]
        assert error["code"] == failure.get("code", error["code"])
        assert failure.get("message", "") in error["message"]
        assert failure.get("hint", "") in (error["hint"] or "")
        return

    if pushed.status and expected.get("network") and "index cannot be asked" in pushed.out:
        pytest.skip(f"{sample.name} needs a package index, and none can be reached")
    assert pushed.status == 0, pushed
    wanted = expected["expect"]
    assert pushed.json["detected"] == wanted["detected"]
    if "body" in wanted:
        answer = await desk.get(f"{sample.name}.apps.localhost", wanted.get("path", "/"))
        assert answer.status == wanted.get("status", 200)
        assert wanted["body"] in answer.text
    if "log" in wanted:
        with trio.fail_after(20):
            while wanted["log"] not in (await desk.cli("logs", sample.name, "--recent")).out:
                await trio.lowlevel.checkpoint()
