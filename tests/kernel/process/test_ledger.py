"""The ledger: read by those who come after its owner, and by nobody else before."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
import trio

from appliance.kernel.process.folders import our_ledger, private_folder
from appliance.kernel.process.ledger import (
    NAME,
    SLOT,
    SUFFIX,
    Found,
    abandoned,
    hold,
    journal,
    ourselves,
    read,
    runtime_folder,
)
from appliance.kernel.process.sweep import clear_up, erase, hold_state, mounts_below, sweep
from appliance.kernel.process.usage import read_process
from appliance.kernel.store.errors import StateBusy, StateReadOnly

TREE = Path(__file__).parents[3]
PATIENCE = 10.0  # seconds


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's runtime folder, for this test."""
    (tmp_path / "runtime").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    return runtime_folder()


def on_disk(path: Path) -> Found | None:
    with path.open("rb") as file:
        return read(file.fileno())


@contextmanager
def another(script: str, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A process that runs *script*, and has printed its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=TREE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def alive(pid: int) -> bool:
    process = read_process(pid)
    return process is not None and process.state != "Z"


async def gone(*pids: int) -> None:
    with trio.fail_after(PATIENCE):
        while any(map(alive, pids)):  # noqa: ASYNC110 (the kernel does it)
            await trio.sleep(0.01)


HOLDS = """
import sys, signal
from pathlib import Path
from appliance.kernel.process.sweep import hold_state
ledger = hold_state(Path(sys.argv[1]))
print(ledger.run, flush=True)
signal.pause()
"""

#: Makes a folder with a file in it and a child that ignores signals, in a session of its own.
WORKS = """
import os, signal, sys, trio
from appliance.kernel.process.folders import private_folder
from appliance.kernel.process.spawner import MARK, open_spawner
async def main():
    async with open_spawner("off") as spawner, private_folder("test") as folder:
        (folder / "file").touch()
        script = "trap '' TERM HUP; echo r; while :; do sleep 1; done"
        env = {"PATH": "/usr/bin:/bin"} | ({MARK: ""} if sys.argv[1] == "marked" else {})
        child = await spawner.spawn(["sh", "-c", script], env=env)
        await child.stdout.receive_some(2)
        print(folder, child.pid, flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


def test_notes_are_read_back_and_taken_back(folder: Path) -> None:
    """A place that has become free is used again: the file does not grow for ever."""
    ledger = journal()
    notes = [ledger.folder(Path(f"/tmp/{number}")) for number in range(3)]
    ledger.child(os.getpid())
    ledger.group(Path("/sys/fs/cgroup/a"))
    ledger.forget(notes[1])
    found = on_disk(ledger.path)
    assert found is not None
    assert found.owner.run == ledger.run
    assert set(found.folders) == {Path("/tmp/0"), Path("/tmp/2")}
    assert found.groups == (Path("/sys/fs/cgroup/a"),)
    process = read_process(os.getpid())
    assert process is not None
    assert found.children == ((os.getpid(), process.born),)
    size = ledger.path.stat().st_size
    for _ in range(100):
        ledger.forget(ledger.folder(Path("/tmp/again")))
    assert ledger.path.stat().st_size == size
    ledger.close()
    assert not list(folder.iterdir())


def test_a_folder_of_any_name_is_noted_or_refused(folder: Path) -> None:
    """Blanks, newlines, and bytes that are no text; what does not fit is said beforehand."""
    ledger = journal()
    odd = Path(os.fsdecode(b"/tmp/a b\n\xff\xe4"))
    ledger.folder(odd)
    found = on_disk(ledger.path)
    assert found is not None
    assert found.folders == (odd,)
    with pytest.raises(StateReadOnly, match="too long"):
        ledger.folder(Path("/tmp") / ("x" * SLOT))
    ledger.close()


def test_what_is_no_entry_is_passed_over(tmp_path: Path) -> None:
    """A damaged ledger still tells what can be read of it."""
    path = tmp_path / "ledger"
    owner = asdict(ourselves())
    lines = [
        b"\xff\x00",
        b"[]",
        json.dumps({"owner": owner}).encode(),
        b'{"child": "x"}',
        b'{"folder": "/tmp/a"}',
        b'{"folder"',
    ]
    path.write_bytes(b"\n".join(lines))
    found = on_disk(path)
    assert found is not None
    assert found.folders == (Path("/tmp/a"),)
    path.write_bytes(b"")
    assert on_disk(path) is None


def test_a_second_appliance_is_told_who_holds_the_state(tmp_path: Path) -> None:
    """With pid and command; when the first is gone, the folder is free."""
    state = tmp_path / "state"
    with another(HOLDS, state) as first:
        assert line_of(first)
        with pytest.raises(StateBusy, match=rf"in use by pid {first.pid} \(.*python"):
            hold_state(state)
        first.send_signal(signal.SIGKILL)
        first.wait()
        hold_state(state).close()


def test_a_state_folder_is_free_again_when_its_owner_says_so(tmp_path: Path) -> None:
    """Within one process, too; the empty file stays, since somebody may be waiting at it."""
    ledger = hold_state(tmp_path)
    with pytest.raises(StateBusy):
        hold_state(tmp_path)
    ledger.close()
    assert (tmp_path / NAME).read_bytes() == b""
    hold_state(tmp_path).close()


def test_a_state_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A file in its place, for one."""
    (tmp_path / "state").touch()
    with pytest.raises(StateReadOnly, match="state cannot be used"):
        hold_state(tmp_path / "state")


def test_clearing_up_comes_before_the_state_is_ours(tmp_path: Path) -> None:
    """Killed while clearing up, we leave the notes for the next one."""
    ledger = hold_state(tmp_path)
    ledger.folder(Path("/tmp/left"))
    left = (tmp_path / NAME).read_bytes()
    ledger.close()
    (tmp_path / NAME).write_bytes(left)

    def killed(found: Found) -> None:
        assert found.folders == (Path("/tmp/left"),)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hold(tmp_path, killed)
    assert (tmp_path / NAME).read_bytes() == left


@pytest.mark.parametrize("how", ["marked", "unmarked"])
async def test_what_a_killed_process_leaves_is_cleared_up(folder: Path, how: str) -> None:
    """Its children, found by mark or by pid and birth; its folders; its ledger."""
    with another(WORKS, how) as victim:
        made, pid = line_of(victim).split()
        await trio.to_thread.run_sync(sweep)
        assert alive(int(pid)), "of a living appliance nothing is touched"
        assert Path(made, "file").exists()
        victim.kill()
        victim.wait()
        assert alive(int(pid))
        await trio.to_thread.run_sync(sweep)
    await gone(int(pid))
    assert not Path(made).exists()
    assert not list(folder.iterdir())


async def test_marks_find_what_left_its_parents_and_session(folder: Path) -> None:
    """A daemon is nobody's child, and its session is its own."""
    script = WORKS.replace(
        "trap '' TERM HUP;", "setsid sh -c 'sleep 600 & echo $! > $0/pid' $NOTE & wait;"
    ).replace('"PATH"', '"NOTE": str(folder), "PATH"')
    with another(script, "marked") as victim:
        made = Path(line_of(victim).split()[0])
        pid = int((made / "pid").read_text())
        victim.kill()
    assert alive(pid)
    await trio.to_thread.run_sync(sweep)
    await gone(pid)


@pytest.mark.parametrize("difference", ["boot", "pidns", "born"])
async def test_a_pid_alone_is_no_reason_to_kill(folder: Path, difference: str) -> None:
    """After a restart, in another container, or later, the pid is another process."""
    with another("import signal; print(flush=True); signal.pause()") as innocent:
        line_of(innocent)
        ledger = journal()
        ledger.child(innocent.pid)
        text = ledger.path.read_text()
        old = json.loads(text.splitlines()[0])["owner"]
        process = read_process(innocent.pid)
        assert process is not None
        now = process.born if difference == "born" else old[difference]
        other = "elsewhere" if difference == "boot" else now + 1
        changed = text.replace(json.dumps(now), json.dumps(other))
        assert changed != text
        ledger.path.write_text(changed)
        found = on_disk(ledger.path)
        assert found is not None
        clear_up(found)
        ledger.close()
        assert alive(innocent.pid)


def test_folders_of_a_former_boot_are_removed_all_the_same(folder: Path, tmp_path: Path) -> None:
    """Temporary folders may outlive a restart of the machine."""
    left = tmp_path / "left"
    (left / "deep").mkdir(parents=True)
    ledger = journal()
    ledger.folder(left)
    boot = json.loads(ledger.path.read_text().splitlines()[0])["owner"]["boot"]
    saved = ledger.path.read_text().replace(boot, "former")
    ledger.close()
    (folder / f"former{SUFFIX}").write_text(saved)
    sweep()
    assert not left.exists()
    assert not list(folder.iterdir())


def test_erase_leaves_alone_what_is_not_ours(tmp_path: Path) -> None:
    """A link is not followed, a file is not a folder, somebody else's is not ours."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").touch()
    (tmp_path / "link").symlink_to("real")
    erase(tmp_path / "link")
    erase(tmp_path / "real" / "file")
    erase(tmp_path / "none")
    assert (tmp_path / "link" / "file").exists()
    if os.getuid() == 0:
        os.chown(tmp_path / "real", 31009, 31009)
        erase(tmp_path / "real")
        assert (tmp_path / "real" / "file").exists()


def test_erase_removes_any_depth_and_mode(tmp_path: Path) -> None:
    """1,100 folders in each other, and one that is closed."""
    top = tmp_path / "top"
    top.mkdir()
    script = "import os\nfor _ in range(1100): os.mkdir('deeper'); os.chdir('deeper')"
    subprocess.run([sys.executable, "-c", script], cwd=top, check=True)
    (top / "closed" / "inner").mkdir(parents=True)
    (top / "closed").chmod(0)
    erase(top)
    assert not top.exists()


def test_erase_unmounts_and_does_not_cross(tmp_path: Path) -> None:
    """What is mounted in the folder is let go, not emptied."""
    if os.getuid() != 0:
        pytest.skip("only root can mount")
    source, top = tmp_path / "source", tmp_path / "to p"
    source.mkdir()
    (source / "kept").touch()
    (top / "mount").mkdir(parents=True)
    if subprocess.run(["mount", "--bind", source, top / "mount"], check=False).returncode:
        pytest.skip("mounting is forbidden here")
    assert mounts_below(top) == [str(top / "mount")]
    erase(top)
    assert not top.exists()
    assert (source / "kept").exists()
    assert not mounts_below(tmp_path)


async def test_a_private_folder_goes_with_all_in_it(folder: Path) -> None:
    """Also when the block is left by an error or cancelled; its parent is the temporary folder."""
    with trio.CancelScope() as scope:
        async with private_folder("test") as made, private_folder("test") as other:
            assert made != other
            assert made.stat().st_mode & 0o777 == 0o700
            assert "appliance-test-" in made.name
            (made / "file").touch()
            scope.cancel()
            await trio.sleep_forever()
    assert not made.exists()
    assert not other.exists()
    assert not list(folder.iterdir())


def test_one_process_has_one_ledger(folder: Path) -> None:
    """However many need it; it goes with the last."""
    with our_ledger() as outer:
        with our_ledger() as inner:
            assert inner is outer
        assert outer.path.exists()
    assert not list(folder.iterdir())


def test_two_who_sweep_share_the_work(folder: Path) -> None:
    """What one has taken the other does not see."""
    for name in ("a", "b"):
        (folder / f"{name}{SUFFIX}").write_text(json.dumps({"owner": asdict(ourselves())}))
    with abandoned(folder) as mine, abandoned(folder) as others:
        assert (len(mine), len(others)) == (2, 0)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("fault", ["link", "open to all"])
def test_a_runtime_folder_that_others_can_change_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Whoever can write there could have us kill and remove what is not ours."""
    (tmp_path / "other").mkdir(mode=0o700)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    bad = tmp_path / f"appliance-{os.getuid()}"
    if fault == "link":
        bad.symlink_to("other")
    else:
        bad.mkdir()
        bad.chmod(0o777)
    with pytest.raises(StateReadOnly, match="cannot be used"):
        runtime_folder({})
    (tmp_path / "other" / "appliance").mkdir(mode=0o700)
    assert runtime_folder({"XDG_RUNTIME_DIR": str(tmp_path / "other")}).parent.name == "other"


def test_a_note_costs_far_less_than_a_start(folder: Path) -> None:
    """Half a millisecond would be noticed beside the five of a start; it is some microseconds."""
    ledger = journal()
    costs = []
    for _ in range(200):
        began = time.perf_counter()
        ledger.forget(ledger.child(os.getpid()))
        costs.append(time.perf_counter() - began)
    ledger.close()
    assert statistics.median(costs) < 0.0005
