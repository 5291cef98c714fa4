"""The gate: a program begins once its appliance has proved to be alive, and not without it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from appliance.kernel.process import spawner as spawning
from appliance.kernel.process.bubblewrap import GATE
from appliance.kernel.process.sandbox import Profile, probe
from appliance.kernel.process.spawner import Spawner, SpawnFailed, Word, open_spawner
from appliance.kernel.process.start import Gate

PATIENCE = 10.0  # seconds
ENV = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
async def spawner() -> AsyncIterator[Spawner]:
    async with open_spawner("off") as spawner:
        yield spawner


def gated(*argv: str) -> list[Word]:
    return ["bash", "-p", "-c", GATE, "gate", Gate("gate"), *argv]


async def test_what_follows_is_as_without_it(spawner: Spawner) -> None:
    """Arguments, environment, descriptors and standard input are the program's own."""
    script = (
        "import json, os, sys\n"
        "print(json.dumps([sys.argv[1:], dict(os.environ), os.listdir('/proc/self/fd'),"
        " sys.stdin.read()]))"
    )
    env = ENV | {"with.dots": "1", "BASH_ENV": "/nowhere", "BASH_FUNC_f%%": "() { :; }"}
    done = await spawner.run(
        gated(sys.executable, "-I", "-S", "-c", script, "a b", "$c", ""),
        env=env,
        timeout=PATIENCE,
        input=b"first\nsecond\n",
    )
    argv, seen, fds, read = json.loads(done.stdout)
    assert argv == ["a b", "$c", ""]
    assert {name: seen[name] for name in env} == env
    assert set(seen) - set(env) <= {"PWD", "SHLVL", "LC_CTYPE", "_"}
    assert sorted(map(int, fds)) == [0, 1, 2, 3]  # the last is that of the listing
    assert read == "first\nsecond\n"


async def test_the_status_is_the_programs(spawner: Spawner) -> None:
    """The gate has become the program, so its pid and its status are the same."""
    child = await spawner.spawn(gated("sh", "-c", "echo $$; exit 7"), env=ENV)
    assert child.stdout is not None
    assert int(await child.stdout.receive_some(20)) == child.pid
    assert await child.wait() == 7
    await child.aclose()


@pytest.mark.parametrize("said", [b"", b"x"])
def test_without_the_appliance_nothing_begins(said: bytes) -> None:
    """The other end is closed, whole or in the middle of a word: the program is not run."""
    ours, theirs = socket.socketpair()
    with theirs:
        program = subprocess.Popen(
            ["bash", "-p", "-c", GATE, "gate", str(theirs.fileno()), "echo", "begun"],
            pass_fds=[theirs.fileno()],
            stdout=subprocess.PIPE,
        )
    with ours:
        assert ours.recv(1) == b"\n"
        ours.send(said)
    out, _ = program.communicate(timeout=PATIENCE)
    assert (program.returncode, out) == (1, b"")


async def test_a_program_that_ends_early_is_not_waited_for(spawner: Spawner) -> None:
    """A sandbox that cannot be made tells why on its stderr, as it does without a gate."""
    done = await spawner.run(
        ["sh", "-c", "echo no walls >&2; exit 3", "sh", Gate("gate")], env=ENV, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (3, b"no walls\n")


async def test_a_program_that_never_comes_to_the_gate_is_given_up(
    spawner: Spawner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed, and the start fails with a sentence; no descriptor stays open."""
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(spawning, "GATE", 0.1)
    with trio.fail_after(PATIENCE), pytest.raises(SpawnFailed, match="did not begin within"):
        await spawner.spawn(["sh", "-c", "sleep 600", Gate("gate")], env=ENV)
    assert not spawner.children
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_timeout_counts_from_the_start(spawner: Spawner) -> None:
    """`run` ends in time even if the gate is never reached."""
    script = "import time; time.sleep(600)"
    with trio.fail_after(PATIENCE):
        done = await spawner.run([sys.executable, "-c", script, Gate("gate")], env=ENV, timeout=0.1)
    assert done.timed_out
    assert done.returncode < 0


async def test_the_gate_is_there_only_where_something_could_live_on() -> None:
    """In a PID namespace of our own the kernel sees to that, and a start is cheaper."""
    async with open_spawner("off") as open_one, open_spawner("off", confined=True) as confined:
        for spawner, wanted in ((open_one, True), (confined, False)):
            sandbox = await probe(spawner)
            if not sandbox.isolated:
                pytest.skip(f"no bubblewrap here: {sandbox.reason}")
            words = sandbox.command(Profile(name="app", home=Path("/tmp")), ["true"]).argv
            assert any(isinstance(word, Gate) for word in words) is wanted
