"""Children: started, fed, listened to, signalled, timed out, and never left behind."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.kernel.process.spawner import (
    MARK,
    Child,
    Data,
    Spawner,
    SpawnFailed,
    open_spawner,
)
from appliance.kernel.process.usage import read_process

ENV = {"PATH": "/usr/bin:/bin"}
PATIENCE = 10.0  # seconds; far above what anything here takes


@pytest.fixture
async def spawner() -> AsyncIterator[Spawner]:
    async with open_spawner("off") as spawner:
        yield spawner


async def until(true: Callable[[], bool]) -> None:
    """Wait until *true*, or fail."""
    with trio.fail_after(PATIENCE):
        while not true():  # noqa: ASYNC110 (what is waited for happens outside of trio)
            await trio.sleep(0.005)


async def line_of(child: Child) -> str:
    """The first line that *child* prints."""
    assert child.stdout is not None
    text = b""
    with trio.fail_after(PATIENCE):
        while not text.endswith(b"\n"):
            text += await child.stdout.receive_some(1)
    return text.decode().strip()


def alive(pid: int) -> bool:
    """Whether *pid* runs. A zombie that its new parent has not collected yet does not."""
    process = read_process(pid)
    return process is not None and process.state != "Z"


async def test_returns_status_and_both_outputs(spawner: Spawner) -> None:
    """`run` feeds the input and tells everything the program said."""
    done = await spawner.run(
        ["sh", "-c", "cat; echo problem >&2; exit 3"], env=ENV, timeout=PATIENCE, input=b"in\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, b"in\n", b"problem\n")
    assert not done.timed_out


async def test_the_environment_is_exactly_what_was_given(
    spawner: Spawner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the appliance's own environment reaches a child."""
    monkeypatch.setenv("SECRET", "of the appliance")
    done = await spawner.run(["/usr/bin/env"], env={"A": "1"}, timeout=PATIENCE)
    assert done.stdout == b"A=1\n"


async def test_a_child_leads_a_session_of_its_own(spawner: Spawner) -> None:
    """So a terminal's signals do not reach it, and its group can be killed."""
    script = "import os; print(os.getpid(), os.getsid(0), os.getpgrp())"
    done = await spawner.run([sys.executable, "-c", script], env=ENV, timeout=PATIENCE)
    pid, session, group = done.stdout.split()
    assert pid == session == group


async def test_no_descriptor_leaks_into_a_child(spawner: Spawner) -> None:
    """Only the three standard streams, and what was passed on purpose."""
    reading, writing = os.pipe()
    try:
        os.set_inheritable(reading, True)
        script = f"import os; print(sorted(map(int, os.listdir('/proc/self/fd'))), {writing})"
        child = await spawner.spawn(
            [sys.executable, "-I", "-S", "-c", script], env=ENV, pass_fds=[writing]
        )
        assert await line_of(child) == f"[0, 1, 2, 3, {writing}] {writing}"
        await child.aclose()
    finally:
        os.close(reading)
        os.close(writing)


async def test_data_is_read_from_a_descriptor(spawner: Spawner) -> None:
    """`Data` reaches the program though it is neither argument nor file; fresh every time."""
    word = Data("note", b"for your eyes only")
    script = "import os, sys; print(os.read(int(sys.argv[1]), 99).decode(), end='')"
    for _ in range(2):
        done = await spawner.run(
            [sys.executable, "-I", "-S", "-c", script, word], env=ENV, timeout=PATIENCE
        )
        assert done.stdout == b"for your eyes only", done.stderr
    assert word == "<note>"


async def test_a_missing_program_is_an_error_for_people(spawner: Spawner) -> None:
    """The sentence names program and reason; no descriptor stays open."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(SpawnFailed, match=r"^Cannot start /nowhere/app: No such file"):
        await spawner.spawn(["/nowhere/app"], env={}, stdin="pipe")
    with pytest.raises(SpawnFailed, match="/not/a/folder"):
        await spawner.spawn(["/bin/true"], env={}, cwd=Path("/not/a/folder"))
    with pytest.raises(SpawnFailed, match="null byte"):
        await spawner.spawn(["/bin/true", "a\0b"], env={})
    assert len(os.listdir("/proc/self/fd")) == before


async def test_lines_arrive_while_the_program_runs(spawner: Spawner, tmp_path: Path) -> None:
    """The second line is only printed once the first has been told."""
    gate, seen = tmp_path / "gate", list[tuple[str, bool]]()

    def told(line: str, is_stderr: bool) -> None:
        seen.append((line, is_stderr))
        gate.touch()

    script = f"echo first; until test -e {gate}; do sleep 0.01; done; echo second >&2"
    done = await spawner.run(["sh", "-c", script], env=ENV, timeout=PATIENCE, on_line=told)
    assert not done.timed_out
    assert seen == [("first", False), ("second", True)]


async def test_output_is_bounded(spawner: Spawner) -> None:
    """A program may print without end; its beginning and end are kept."""
    script = "echo start; head -c 5000000 /dev/zero; echo end"
    done = await spawner.run(["sh", "-c", script], env=ENV, timeout=PATIENCE, limit=1000)
    assert done.stdout.startswith(b"start\n")
    assert done.stdout.endswith(b"end\n")
    assert b"bytes left out" in done.stdout
    assert len(done.stdout) < 1100


async def test_input_may_stay_unread(spawner: Spawner) -> None:
    """A program that ends without reading is no error."""
    done = await spawner.run(["true"], env=ENV, timeout=PATIENCE, input=b"x" * 1_000_000)
    assert done.returncode == 0


async def test_a_timeout_kills_the_whole_tree(spawner: Spawner, tmp_path: Path) -> None:
    """Also those who ignore signals, and those who left for a session of their own."""
    note = tmp_path / "pids"
    script = f"""
    trap '' TERM HUP INT
    setsid sh -c 'trap "" TERM; echo $$ >> {note}; sleep 600' &
    sleep 600 &
    echo $! $$ >> {note}
    wait
    """
    done = await spawner.run(["sh", "-c", script], env=ENV, timeout=0.5)
    assert done.timed_out
    assert done.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in note.read_text().split()]
    assert len(pids) == 3
    await until(lambda: not any(map(alive, pids)))


async def test_cancellation_kills_the_whole_tree(spawner: Spawner, tmp_path: Path) -> None:
    """`run` ends only after its program has."""
    note = tmp_path / "pid"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: spawner.run(
                ["sh", "-c", f"echo $$ > {note}.new; mv {note}.new {note}; sleep 600"],
                env=ENV,
                timeout=600,
            )
        )
        await until(note.exists)
        nursery.cancel_scope.cancel()
    assert not alive(int(note.read_text()))


async def test_what_stays_in_the_background_ends_with_the_program(spawner: Spawner) -> None:
    """A forgotten background job does not outlive its script, and does not hold it up."""
    with trio.fail_after(PATIENCE):
        done = await spawner.run(["sh", "-c", "sleep 600 & echo $!"], env=ENV, timeout=600)
    await until(lambda: not alive(int(done.stdout)))


async def test_a_marked_daemon_is_found_outside_its_tree(spawner: Spawner, tmp_path: Path) -> None:
    """Double fork and setsid leave tree and session; the mark in the environment stays."""
    note = tmp_path / "pid"
    daemon = f"setsid sh -c 'sleep 600 & echo $! > {note}.new; mv {note}.new {note}' & wait; exit"
    child = await spawner.spawn(
        ["sh", "-c", f"({daemon}) ; echo ready; sleep 600"], env=ENV | {MARK: ""}
    )
    assert await line_of(child) == "ready"
    await until(note.exists)
    pid = int(note.read_text())
    assert alive(pid)
    child.kill()
    await child.wait()
    await until(lambda: not alive(pid))
    await child.aclose()


async def test_a_signal_reaches_the_whole_group(spawner: Spawner) -> None:
    """A shell that only waits does not swallow what is meant for its job."""
    script = "sh -c 'trap \"echo job; exit\" TERM; echo ready; while :; do sleep 0.05; done' & wait"
    child = await spawner.spawn(["sh", "-c", f"trap 'wait; exit 5' TERM; {script}"], env=ENV)
    assert await line_of(child) == "ready"
    child.send_signal(signal.SIGTERM)
    assert await line_of(child) == "job"
    assert await child.wait() == 5
    child.send_signal(signal.SIGTERM)  # too late, and no error
    child.kill()
    await child.aclose()


async def test_several_tasks_wait_for_one_child(spawner: Spawner) -> None:
    """Each gets the status; a signal shows as a negative number."""
    child = await spawner.spawn(["sleep", "600"], env=ENV)
    seen: list[int] = []

    async def wait() -> None:
        seen.append(await child.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        child.kill()
    assert seen == [-signal.SIGKILL] * 2
    await child.aclose()


async def test_leaves_no_zombies(spawner: Spawner) -> None:
    """A child is collected when it ends, though nobody waits for it."""
    children = [await spawner.spawn(["true"], env=ENV) for _ in range(20)]
    await until(lambda: not spawner.children)
    assert not any(read_process(child.pid) for child in children)
    for child in children:
        await child.aclose()


async def test_leaving_the_block_kills_what_is_left() -> None:
    """Nothing outlives the spawner, even if the block is left by an error, which stays itself."""
    pids: list[int] = []

    async def failing() -> None:
        async with open_spawner("off") as spawner:
            for _ in range(3):
                child = await spawner.spawn(["sleep", "600"], env=ENV, stdout="null", stderr="null")
                pids.append(child.pid)
            raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        await failing()
    assert not any(map(alive, pids))


async def test_a_closed_spawner_starts_nothing() -> None:
    """A room that is late in stopping gets an error, not a child that nobody looks after."""
    async with open_spawner("off") as spawner:
        pass
    with pytest.raises(SpawnFailed, match="stopping"):
        await spawner.spawn(["true"], env=ENV)


async def test_waits_without_pidfds_too(spawner: Spawner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old kernels have none; a thread per child waits instead."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    done = await spawner.run(["sh", "-c", "exit 4"], env=ENV, timeout=PATIENCE)
    assert done.returncode == 4


@pytest.mark.soak
async def test_a_child_with_a_death_signal_outlives_ten_idle_seconds(spawner: Spawner) -> None:
    """The signal is tied to the thread that made the child: a worker thread ends after 10 s."""
    child = await spawner.spawn(["setpriv", "--pdeathsig", "KILL", "sleep", "600"], env=ENV)
    await trio.sleep(11.5)
    assert child.returncode is None
    await child.aclose()
