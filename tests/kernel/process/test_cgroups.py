"""Control groups: found where they are, kept to their limits, gone afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from appliance.kernel.process.cgroups import LEAF, Join, Tree, places, remove, settings
from appliance.kernel.process.profile import MIB, Limits
from appliance.kernel.process.spawner import Child, Spawner, open_spawner
from appliance.kernel.process.sweep import sweep
from appliance.kernel.process.usage import read_process

pytestmark = pytest.mark.other_users


TREE = Path(__file__).parents[3]
ENV = {"PATH": "/usr/bin:/bin"}
PATIENCE = 20.0  # seconds


@pytest.fixture
async def spawner() -> AsyncIterator[Spawner]:
    """One that has control groups."""
    async with open_spawner("off") as spawner:
        if spawner.groups is None:
            pytest.skip("no control group may be made here")
        yield spawner


def having(spawner: Spawner, controller: str) -> Tree:
    """The tree with *controller*."""
    assert spawner.groups is not None
    for tree in spawner.groups.trees:
        if controller in tree.controllers or (controller == "kill" and tree.version == 2):
            return tree
    pytest.skip(f"no controller {controller} here")


async def start(spawner: Spawner, script: str, limits: Limits = Limits()) -> Child:  # noqa: B008
    """*script* in groups with *limits*, where it begins, once it has printed a line."""
    assert spawner.groups is not None
    words = [Join(limits), sys.executable, "-c", JOINED % names(spawner) + script]
    child = await spawner.spawn(words, env=ENV, stderr="null")
    assert child.stdout is not None
    with trio.fail_after(PATIENCE):
        await child.stdout.receive_some(1)
    return child


def names(spawner: Spawner) -> list[str]:
    """The hierarchies of our groups as /proc/PID/cgroup calls them; "" is version 2."""
    assert spawner.groups is not None
    trees = spawner.groups.trees
    return ["" if tree.version == 2 else next(iter(tree.controllers)) for tree in trees]


def alive(pid: int) -> bool:
    process = read_process(pid)
    return process is not None and process.state != "Z"


async def gone(*pids: int) -> None:
    with trio.fail_after(PATIENCE):
        while any(map(alive, pids)):  # noqa: ASYNC110 (the kernel does it)
            await trio.sleep(0.01)


#: The program begins when it is in the last of its groups.
JOINED = """
import time
def names():
    return {line.split(":")[1]: "/appliance-" in line for line in open("/proc/self/cgroup")}
while not all(inside for name, inside in names().items() if name in %r):
    time.sleep(0.005)
"""

WAITS = "import signal; print('r', flush=True); signal.pause()"

#: A daemon that has left parents and session and has emptied its environment.
HIDES = """
import os, signal, sys
if os.fork():
    signal.pause()
os.setsid()
if os.fork():
    os._exit(0)
os.execve("/bin/sh", ["sh", "-c", "trap '' TERM; echo $$ > %s; echo r; while :; do sleep 9; done"],
          {"PATH": "/usr/bin:/bin"})
"""

V2 = "34 25 0:29 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"""
CONTAINER = "34 25 0:29 /docker/c0ffee /sys/fs/cgroup ro - cgroup2 cgroup rw"
MEMORY, PIDS, NONE = frozenset({"memory"}), frozenset({"pids"}), frozenset[str]()


@pytest.mark.parametrize(
    ("mounts", "own", "found"),
    [
        (V2, "0::/user.slice/u.scope", [("/sys/fs/cgroup/user.slice/u.scope", 2, NONE)]),
        (
            HYBRID,
            "8:pids:/\n4:memory:/a/b\n1:name=systemd:/\n0::/",
            [
                ("/sys/fs/cgroup/memory/a/b", 1, MEMORY),
                ("/sys/fs/cgroup/pids", 1, PIDS),
                ("/sys/fs/cgroup/unified", 2, NONE),
            ],
        ),
        (CONTAINER, "0::/docker/c0ffee/x", [("/sys/fs/cgroup/x", 2, NONE)]),
        (CONTAINER, "0::/", [("/sys/fs/cgroup", 2, NONE)]),
        (V2, "0::/a b", []),  # it would not go through a shell
        (V2, "0::/a/$(reboot)", []),
        ("", "", []),
    ],
)
def test_finds_our_own_group_in_each_tree(
    mounts: str, own: str, found: list[tuple[str, int, frozenset[str]]]
) -> None:
    """By what the kernel says of mounts and of us; in containers, too."""
    assert [(str(path), version, names) for path, version, names in places(mounts, own)] == found


def test_limits_are_the_files_of_each_version() -> None:
    """Memory is limited only when it is asked for; processes with room for the sandbox's own."""
    limits = Limits(total=64 * MIB, processes=100)
    both = frozenset({"memory", "pids"})
    assert settings(Tree(Path(), 2, both), limits) == [
        ("memory.max", "67108864"),
        ("memory.swap.max", "0"),
        ("memory.oom.group", "1"),
        ("pids.max", "108"),
    ]
    assert settings(Tree(Path(), 1, MEMORY), limits) == [
        ("memory.limit_in_bytes", "67108864"),
        ("memory.memsw.limit_in_bytes", "67108864"),
    ]
    assert settings(Tree(Path(), 2, MEMORY), Limits()) == []
    assert settings(Tree(Path(), 2, NONE), limits) == []


async def test_a_child_has_groups_of_its_own(spawner: Spawner) -> None:
    """It is put there while it runs already; they go with it."""
    assert spawner.groups is not None
    bases = [tree.base for tree in spawner.groups.trees]
    child = await start(spawner, WAITS)
    for base in bases:
        (group,) = [one for one in base.iterdir() if one.is_dir()]
        assert (group / "cgroup.procs").read_text().split() == [str(child.pid)]
    await child.aclose()
    left = [one for base in bases for one in base.iterdir() if one.is_dir()]
    with trio.fail_after(PATIENCE):
        while any(one.exists() for one in left):
            await (await start(spawner, WAITS)).aclose()  # the next one sees to the last


async def test_memory_counts_for_all_together(spawner: Spawner) -> None:
    """Shared memory, too, which no limit of a process sees; it is said why it was killed."""
    having(spawner, "memory")
    hoards = (
        "import mmap, os, signal\n"
        "print('r', flush=True)\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n"
        "        hoard = mmap.mmap(-1, 40 << 20)\n"
        "        hoard.write(bytes(40 << 20))\n"
        "        signal.pause()\n"
        "os.wait()\n"
    )
    child = await start(spawner, hoards, Limits(memory=512 * MIB, total=96 * MIB))
    with trio.fail_after(PATIENCE):
        await child.wait()
    assert child.out_of_memory
    await child.aclose()
    child = await start(spawner, WAITS, Limits(total=96 * MIB))
    await child.aclose()
    assert not child.out_of_memory


async def test_processes_count_for_all_together(spawner: Spawner) -> None:
    """A fork beyond the limit is an error for the program, and harmless for others."""
    having(spawner, "pids")
    forks = (
        "import os, signal, sys\n"
        "for n in range(100):\n"
        "    try:\n"
        "        if os.fork() == 0: signal.pause()\n"
        "    except BlockingIOError:\n"
        "        print('r', flush=True)\n"
        "        sys.exit(n)\n"
    )
    child = await start(spawner, forks, Limits(processes=20))
    with trio.fail_after(PATIENCE):
        assert 20 <= await child.wait() < 30
    await child.aclose()


async def test_killing_finds_who_hides(spawner: Spawner, tmp_path: Path) -> None:
    """Neither its parents nor its session nor its environment tell whose it is."""
    note = tmp_path / "pid"
    child = await start(spawner, HIDES % note)
    pid = int(note.read_text())
    assert alive(pid)
    child.kill()
    await child.wait()
    await gone(pid)
    await child.aclose()


@pytest.mark.parametrize("confined", [False, True])
async def test_the_next_start_clears_up(
    spawner: Spawner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, confined: bool
) -> None:
    """After a SIGKILL the groups are still noted, with who hides in them."""
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    note = tmp_path / "pid"
    script = (
        "import sys, trio, json\n"
        "from appliance.kernel.process.cgroups import Join\n"
        "from appliance.kernel.process.profile import Limits\n"
        "from appliance.kernel.process.spawner import open_spawner\n"
        "async def main():\n"
        f"    async with open_spawner('off', confined={confined}) as s:\n"
        f"        script = {JOINED % names(spawner) + HIDES % note!r}\n"
        "        words = [Join(Limits()), sys.executable, '-c', script]\n"
        f"        child = await s.spawn(words, env={ENV!r})\n"
        "        await child.stdout.receive_some(1)\n"
        "        print(json.dumps([str(tree.base) for tree in s.groups.trees]), flush=True)\n"
        "        await trio.sleep_forever()\n"
        "trio.run(main)\n"
    )
    command = [sys.executable, "-c", script]
    victim = subprocess.Popen(command, cwd=TREE, stdout=subprocess.PIPE)  # noqa: ASYNC220
    assert victim.stdout is not None
    line = await trio.to_thread.run_sync(victim.stdout.readline)
    bases = list(map(Path, json.loads(line)))
    pid = int(note.read_text())
    victim.kill()
    victim.communicate()
    assert alive(pid)
    assert all(base.exists() for base in bases)
    await trio.to_thread.run_sync(sweep)
    await gone(pid)
    assert not any(base.exists() for base in bases)


async def test_nothing_is_left_of_a_spawner_that_had_groups() -> None:
    """Not even when children still run."""
    async with open_spawner("off") as spawner:
        if spawner.groups is None:
            pytest.skip("no control group may be made here")
        bases = [tree.base for tree in spawner.groups.trees]
        child = await start(spawner, WAITS)
    assert not alive(child.pid)
    assert not any(base.exists() for base in bases)
    await child.aclose()


async def test_what_ends_soon_goes_without(spawner: Spawner) -> None:
    """A group would cost twice the time that it runs."""
    assert spawner.groups is not None
    done = await spawner.run([Join(Limits()), "cat", "/proc/self/cgroup"], env=ENV, timeout=9)
    assert b"/appliance-" not in done.stdout
    assert not any(one.is_dir() for tree in spawner.groups.trees for one in tree.base.iterdir())


def test_alone_in_our_group_we_go_into_a_leaf(tmp_path: Path) -> None:
    """The kernel gives limits only to groups below one without processes."""
    mounts, own = (Path(f"/proc/self/{name}").read_text() for name in ("mountinfo", "cgroup"))
    base = next((path for path, version, _ in places(mounts, own) if version == 2), None)
    if base is None or os.getuid() != 0:
        pytest.skip("no control groups of version 2, or they are not ours")
    group = base / f"test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no control group may be made here")
    script = (
        "import subprocess, sys\n"
        "from pathlib import Path\n"
        "from appliance.kernel.process.cgroups import find, into_leaf\n"
        "if sys.argv[1] == 'company':\n"
        "    subprocess.Popen(['sleep', '600'], stdout=-3, stderr=-3)\n"
        "into_leaf()\n"
        "line = [one for one in open('/proc/self/cgroup') if one.startswith('0::')][0]\n"
        "made = [tree.base for tree in find('made', lambda _: 0, print) if tree.version == 2]\n"
        "print(line.strip().rpartition('/')[2], made[0].parent)\n"
    )
    join = f'echo 0 > {group}/cgroup.procs; exec "$@"'
    try:
        for how, leaf in (("alone", LEAF), ("company", group.name)):
            done = subprocess.run(
                ["sh", "-c", join, "sh", sys.executable, "-c", script, how],
                cwd=TREE,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.stdout.split()[-2:] == [leaf, str(group)], done.stderr
            remove(group / "made")
    finally:
        remove(group)
    assert not group.exists()


async def test_an_ordinary_user_goes_without() -> None:
    """Where nothing may be made nothing is, and programs start all the same."""
    if os.getuid() != 0:
        pytest.skip("we are an ordinary user, and may have been given a group")
    script = (
        "import trio\n"
        "from appliance.kernel.process.spawner import open_spawner\n"
        "async def main():\n"
        "    async with open_spawner('off') as spawner:\n"
        "        print(spawner.groups)\n"
        "        print((await spawner.run(['true'], env={}, timeout=9)).returncode)\n"
        "trio.run(main)\n"
    )
    become = ["setpriv", "--reuid=31008", "--regid=31008", "--clear-groups", sys.executable]
    done = await trio.run_process(
        [*become, "-c", script], capture_stdout=True, capture_stderr=True, check=False, cwd=TREE
    )
    if b"Permission denied" in done.stderr or b"No module" in done.stderr:
        pytest.skip("an ordinary user cannot read this source tree")
    assert done.stdout == b"None\n0\n", done.stderr
