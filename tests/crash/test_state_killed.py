"""SIGKILL at any moment of a push, then a start on the same state folder."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.kernel.http.client import Client
from tests.person import Person
from tests.real_up import Up, up

HELLO = Path("sample_apps/python-hello")
LONGEST = 0.9  # seconds: a push of the sample takes less


async def push(running: Up, folder: Path, home: Path) -> int:
    """The exit status of ``appliance push``."""
    argv = [sys.executable, "-m", "appliance", "--api", running.endpoints["api"],
            "push", "hello", str(folder)]  # fmt: skip
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}
    done = await trio.run_process(
        argv, check=False, capture_stdout=True, capture_stderr=True, env=env
    )
    return done.returncode


async def answers(running: Up, http: Client) -> str:
    """What the app says, once it runs again."""
    with trio.fail_after(30):
        while True:
            answer = await http.request(
                "GET", running.endpoints["apps"], headers={"Host": "hello.apps.localhost"}
            )
            if answer.status == 200:
                return answer.text
            await trio.sleep(0.05)


async def holdings(running: Up, http: Client) -> dict[str, Any]:
    """What must not be lost: guids of tenants, apps and routes, and the current droplet."""
    person = Person(running.endpoints["api"], http)
    await person.login()
    kept: dict[str, Any] = {}
    for kind in ("organizations", "spaces", "apps", "routes", "users"):
        listed = await person.call("GET", f"/v3/{kind}")
        kept[kind] = sorted(one["guid"] for one in listed["resources"])
    builds = await person.call("GET", "/v3/builds?states=STAGING")
    kept["staging"] = [one["guid"] for one in builds["resources"]]
    return kept


async def kill_in_a_push(tmp_path: Path, kills: int, seed: int) -> None:
    """Push, kill, start, look, push: *kills* times on one state folder."""
    moments = random.Random(seed)
    state, app = tmp_path / "state", tmp_path / "app"
    shutil.copytree(HELLO, app)
    (source,) = app.glob("*.py")
    text = source.read_text()
    http = Client()
    async with up(tmp_path / "first", "--state", state) as running:
        assert await push(running, app, tmp_path) == 0
        before = await holdings(running, http)
        os.kill(running.endpoints["pid"], signal.SIGKILL)
        await running.ended(10)
    for number in range(kills):
        source.write_text(text.replace("Hello from", f"Hello {number} from"))
        async with up(tmp_path / f"run-{number}", "--state", state) as running:
            assert "Hello" in await answers(running, http), number
            assert await holdings(running, http) == before, number
            async with trio.open_nursery() as nursery:
                nursery.start_soon(push, running, app, tmp_path)
                await trio.sleep(moments.uniform(0, LONGEST))
                os.kill(running.endpoints["pid"], signal.SIGKILL)
                await running.ended(10)
    async with up(tmp_path / "last", "--state", state) as running:
        assert await push(running, app, tmp_path) == 0
        assert f"Hello {kills - 1}" in await answers(running, http)
        assert await holdings(running, http) == before
    await http.aclose()


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> None:
    """Each start writes its files into a folder of its own."""
    for name in ("first", "last", *(f"run-{number}" for number in range(100))):
        (tmp_path / name / "run").mkdir(parents=True)


async def test_a_killed_appliance_has_lost_nothing(tmp_path: Path) -> None:
    """The same tenants, apps and routes, the app runs, and the push can be repeated."""
    await kill_in_a_push(tmp_path, kills=3, seed=1)


@pytest.mark.soak
async def test_a_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    """The same, a hundred times on one state folder."""
    await kill_in_a_push(tmp_path, kills=100, seed=2)
