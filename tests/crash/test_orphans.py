"""An appliance is killed: nothing of it is left, at the latest when the next one starts.

`collecting_orphans` makes this process the parent of whoever loses its own, so that a process
that has outlived its appliance cannot hide, whatever it has done to its session or environment.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.orphans_rig import (
    PATIENCE,
    TREE,
    Appliance,
    Place,
    beginning,
    closed,
    collect,
    collecting_orphans,
    described,
    place,
    strays,
    until,
)

EARLY = 0.012  # seconds in which a sandbox comes up, and bwrap's own death signal is not yet set

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not Path("/proc/self/task").exists(),
    reason="looks into /proc",
)

USERS = ("root", "ordinary")
WAYS = {"own-pidns": (), "no-own-pidns": ("--no-own-pidns",)}


@pytest.fixture(autouse=True)
def orphans() -> Iterator[None]:
    with collecting_orphans():
        yield
        for pid in strays():  # of a test that has failed
            os.kill(pid, signal.SIGKILL)


def rounds(quick: int, thorough: int) -> list[object]:
    """How often, in CI and in the soak run."""
    return [quick, pytest.param(thorough, marks=pytest.mark.soak)]


@pytest.mark.parametrize("kills", rounds(5, 300))
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("user", USERS)
def test_killed_while_instances_start(user: str, way: str, kills: int) -> None:
    """Within 12 ms of the first sandbox of four; the state folder is kept."""
    dice = random.Random(kills)
    with place(user, *WAYS[way], keep=True) as here:
        with here.up() as appliance:
            appliance.login()
            app = appliance.push("stubborn", instances=4)
            appliance.stop()
        for _ in range(kills):
            with here.up() as appliance:
                nothing_is_left(here, appliance)
                appliance.login()
                chain = appliance.chain()
                starter = threading.Thread(target=start, args=(appliance, app), daemon=True)
                starter.start()
                deadline = time.monotonic() + PATIENCE
                while not beginning(chain[-1]):
                    assert time.monotonic() < deadline, "no instance starts"
                time.sleep(dice.uniform(0, EARLY))
                kill(here, appliance, dice.choice(chain))
                starter.join(PATIENCE)
        finish(here)


@pytest.mark.parametrize("kills", rounds(5, 100))
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("user", USERS)
def test_killed_at_any_time_under_load(user: str, way: str, kills: int) -> None:
    """While apps are pushed and run; everything is in memory and in private folders.

    The last time all of them run.
    """
    dice = random.Random(kills)
    with place(user, *WAYS[way], keep=False) as here:
        for turn in range(kills):
            with here.up() as appliance:
                nothing_is_left(here, appliance)
                appliance.login()
                chain = appliance.chain()
                pushers = [
                    threading.Thread(target=push, args=(appliance, name), daemon=True)
                    for name in ("one", "two")
                ]
                for pusher in pushers:
                    pusher.start()
                time.sleep(dice.uniform(0, 2.0))
                if turn == kills - 1:
                    until(lambda: instances(appliance) == 4, "the apps do not run")
                kill(here, appliance, dice.choice(chain))
                for pusher in pushers:
                    pusher.join(PATIENCE)
        finish(here)


#: The least that starts a sandbox: without the appliance around it, a kill takes 0.2 s.
STARTS = """
import sys, trio
from pathlib import Path
from appliance.kernel.process.sandbox import Profile
from appliance.kernel.process.spawner import open_spawner
async def main():
    async with open_spawner() as spawner:
        home = Path(sys.argv[1])
        print(spawner.sandbox.kind, flush=True)
        profile = Profile(name="app", home=home, cwd="/home/vcap")
        command = spawner.sandbox.command(profile, ["bash", "-c", sys.argv[2]])
        sys.stdin.readline()
        child = await spawner.spawn(command.argv, env=command.env, cwd=command.cwd)
        await child.wait()
trio.run(main)
"""


@pytest.mark.parametrize("kills", rounds(20, 300))
@pytest.mark.parametrize("user", USERS)
def test_the_gate_keeps_a_half_made_sandbox_from_living_on(user: str, kills: int) -> None:
    """Nobody clears up here: the sandbox itself finds that its appliance is gone."""
    dice = random.Random(kills)
    with place(user, keep=False) as here:
        home = here.temporary / "home"
        home.mkdir(mode=0o777)
        home.chmod(0o777)
        for _ in range(kills):
            process = subprocess.Popen(
                [*here.become, sys.executable, "-c", STARTS, home, "sleep 905"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=here.environ(),
                cwd=TREE,
                text=True,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            if process.stdout.readline().strip() != "bubblewrap":
                process.kill()
                process.communicate()
                pytest.skip("no bubblewrap here: there is no gate")
            process.stdin.write("\n")
            process.stdin.flush()
            while not beginning(process.pid):
                pass
            time.sleep(dice.uniform(0, EARLY))
            process.kill()
            process.communicate()
            gone()


def start(appliance: Appliance, app: str) -> None:
    """Ask for a start; the answer may never come."""
    try:
        appliance.call("POST", f"/v3/apps/{app}/actions/start")
    except (OSError, EOFError, ValueError, AssertionError):
        return


def push(appliance: Appliance, name: str) -> None:
    """Push and start one app, as far as we get."""
    try:
        start(appliance, appliance.push(name, instances=2))
    except (OSError, EOFError, ValueError, AssertionError):
        return


def instances(appliance: Appliance) -> int:
    """How many instances of any app run."""
    apps = appliance.call("GET", "/v3/apps")["resources"]
    return sum(appliance.running(app["guid"]) for app in apps)


def kill(here: Place, appliance: Appliance, victim: int) -> None:
    """Kill, and look at what must be true before anybody clears up."""
    confined = len(appliance.chain()) == 3
    ports = appliance.ports()
    assert ports
    appliance.kill(victim)
    if confined:
        gone()
    until(lambda: all(map(closed, ports)), f"somebody still listens on one of {ports}")


def gone() -> None:
    """Nobody is left, very soon."""
    until(lambda: not strays(), f"left: {described(strays())}", patience=5.0)
    collect()


def nothing_is_left(here: Place, now: Appliance) -> None:
    """Once the next appliance is ready, all that can be seen is its own."""
    collect(keep=now.pid)
    left = strays(but_of=now.pid)
    assert not left, described(left)
    assert not here.mounts()
    noted = "".join(path.read_text() for path in here.ledgers())
    assert all(f"/{name}" in noted for name in here.folders()), here.folders()
    assert len(here.ledgers()) <= 1  # with a state folder it is there


def finish(here: Place) -> None:
    """One more start and a stop in good order: then nothing at all is left."""
    with here.up() as appliance:
        nothing_is_left(here, appliance)
        appliance.stop()
    gone()
    assert not here.folders()
    assert not here.ledgers()
    assert not here.mounts()
    if here.state:
        instances = [*here.state.glob("dea*/apps/*")]
        assert not instances
