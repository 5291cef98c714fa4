"""One set of probes against every way of confining a program on this machine.

Each layer runs the same hostile program once; the tests then look at what it got away with.
Run as root, the whole set runs a second time as an ordinary user.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.kernel.process.output import Completed
from appliance.kernel.process.sandbox import (
    MIB,
    Limits,
    Profile,
    Sandbox,
    SandboxRefused,
    probe,
)
from appliance.kernel.process.spawner import Child, Spawner, open_spawner
from appliance.kernel.process.usage import read_process, usage_of

PYTHON = "/usr/bin/python3"
PATIENCE = 20.0  # seconds; far above what anything here takes
LAYERS = ("bubblewrap", "landlock", "plain")
ORDINARY = 31007  # a user that nobody is

pytestmark = [
    pytest.mark.other_users,
    pytest.mark.skipif(
        not sys.platform.startswith("linux") or not Path(PYTHON).exists(),
        reason=f"sandboxes are for Linux, and the probes need {PYTHON}",
    ),
]

#: The hostile program. Prints, as JSON, for each probe "open" or why it was refused.
HOSTILE = r"""
import ctypes, errno, json, os, socket, struct, sys
asked = json.load(open('asked.json'))  # not an argument, which lists of processes show
libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = {
    "x86_64": dict(ptrace=101, bpf=321, keyctl=250, io_uring_setup=425, clone=56, clone3=435),
    "aarch64": dict(ptrace=117, bpf=280, keyctl=219, io_uring_setup=425, clone=220, clone3=435),
}.get(os.uname().machine)
said = {}

def trial(name, act):
    try:
        said[name] = act() or "open"
    except OSError as error:
        said[name] = errno.errorcode.get(error.errno, str(error))
    except MemoryError:
        said[name] = "MemoryError"

def call(function, *arguments):
    if function(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")

def system_call(name, *arguments):
    call(libc.syscall, NUMBERS[name], *arguments)

def connect(family, address, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as one:
        one.settimeout(3)
        one.connect(address)

def own_loopback():
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect(socket.AF_INET, server.getsockname())

def host_processes():
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if asked["token"].encode() in open(f"/proc/{name}/cmdline", "rb").read():
                    if name != str(os.getpid()):
                        return "open"
            except OSError:
                pass
    return "absent"

def fill(path, size):
    try:
        with open(path, "wb") as file:
            for _ in range(size >> 20):
                file.write(bytes(1 << 20))
    finally:
        try:
            os.unlink(path)
        except OSError:
            pass

def new_namespace_by_clone():
    pid = libc.syscall(NUMBERS["clone"], 0x10000000 | 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "")
    os.waitpid(pid, 0)

def fork_many():
    children, wanted = [], asked["processes"] + 50
    try:
        for _ in range(wanted):
            pid = os.fork()
            if pid == 0:
                import signal
                signal.pause()
                os._exit(0)
            children.append(pid)
    finally:
        for pid in children:
            os.kill(pid, 9)
            os.waitpid(pid, 0)

trial("read another home", lambda: open(asked["secret"]).read() and None)
trial("write another home", lambda: open(asked["secret"], "a").close())
trial("write /usr", lambda: open("/usr/intruder", "w").close())
trial("write /", lambda: open("/intruder", "w").close())
trial("write /dev", lambda: open("/dev/intruder", "w").close())
trial("write /etc/passwd", lambda: open("/etc/passwd", "a").close())
trial("write own home", lambda: open(asked["home"] + "/mine", "w").close())
trial("write a read-only file", lambda: open(asked["extra"], "a").close())
trial("read a read-only file", lambda: open(asked["extra"]).read() and None)
trial("see host processes", host_processes)
trial("signal outside", lambda: os.kill(asked["victim"], 0))
trial("host loopback", lambda: connect(socket.AF_INET, ("127.0.0.1", asked["port"])))
trial("abstract socket", lambda: connect(socket.AF_UNIX, "\0" + asked["token"]))
trial("own loopback", own_loopback)
trial("packet socket", lambda: socket.socket(17, socket.SOCK_RAW).close())
trial("vsock", lambda: socket.socket(40, socket.SOCK_STREAM).close())
trial("mount", lambda: call(libc.mount, b"none", b"/tmp", b"tmpfs", 0, None))
trial("new user namespace", lambda: call(libc.unshare, 0x10000000))
trial("memory", lambda: bytearray(asked["memory"] + (64 << 20)) and None)
trial("a long file", lambda: fill(asked["home"] + "/long", asked["disk"] + (1 << 20)))
if NUMBERS:
    trial("user namespace by clone", new_namespace_by_clone)
    trial("clone3", lambda: system_call("clone3", 0, 0))
    trial("ptrace", lambda: system_call("ptrace", 0, 0, 0, 0))
    trial("bpf", lambda: system_call("bpf", 0, 0, 0))
    trial("keyctl", lambda: system_call("keyctl", 0, -3, 1))
    trial("io_uring", lambda: system_call("io_uring_setup", 1, ctypes.create_string_buffer(200)))
if asked["fill"]:
    trial("fill /tmp", lambda: fill("/tmp/filler", 100 << 20))
    trial("fill /dev/shm", lambda: fill("/dev/shm/filler", 100 << 20))
    trial("processes", fork_many)
said["environment"] = sorted(os.environ)
said["uid"] = os.getuid()
print(json.dumps(said))
"""


@dataclass
class Scene:
    """A sandbox, homes for it, and things outside of it to be attacked."""

    spawner: Spawner
    sandbox: Sandbox
    root: Path

    async def home(self, name: str) -> Path:
        home = self.root / name
        (home / "app").mkdir(parents=True)
        (home / "tmp").mkdir()
        (home / "secret").write_text("secret\n")
        await self.sandbox.hand_over(home)
        return home

    def profile(self, home: Path, **given: Any) -> Profile:
        return Profile(name="app", home=home, **given)

    async def run(self, profile: Profile, *argv: str | Path) -> Completed:
        command = self.sandbox.command(profile, argv)
        return await self.spawner.run(
            command.argv, env=command.env, cwd=command.cwd, timeout=PATIENCE
        )

    async def spawn(self, profile: Profile, *argv: str) -> Child:
        command = self.sandbox.command(profile, argv)
        return await self.spawner.spawn(command.argv, env=command.env, cwd=command.cwd)


@asynccontextmanager
async def scene(layer: str) -> AsyncIterator[Scene]:
    """A scene with *layer*; skips the test where the machine does not give it."""
    async with open_spawner("off") as spawner:
        sandbox = await probe(spawner, "auto", layers=() if layer == "plain" else (layer,))
        if sandbox.kind != layer:
            pytest.skip(f"no {layer} here: {sandbox.reason}")
        # 0700, as a room's temporary folder is: only the sandbox makes it reachable for its user.
        root = Path(tempfile.mkdtemp(prefix="sandbox-test-"))
        try:
            yield Scene(spawner, sandbox, root)
        finally:
            with trio.CancelScope(shield=True):
                await sandbox.remove(root)


async def attack(layer: str, network: str) -> dict[str, Any]:
    """What the hostile program says from inside *layer*."""
    async with scene(layer) as stage:
        token = f"token-{os.urandom(8).hex()}"
        home, other = await stage.home("home"), await stage.home("other")
        extra = stage.root / "extra"
        extra.write_text("extra\n")
        extra.chmod(0o666)
        profile = stage.profile(
            home,
            limits=Limits(memory=512 * MIB, disk=8 * MIB, processes=64),
            network=network,
            read_only={extra: "/opt/extra"},
            env={"GIVEN": "1", "TMPDIR": "tmp"},
        )
        # Another program of the same user, outside: what a neighbour would be.
        victim = await stage.spawn(stage.profile(other), PYTHON, "-c", WAITING, token)
        await ready(victim)
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.socket(socket.AF_UNIX) as abstract,
        ):
            abstract.bind("\0" + token)
            abstract.listen()
            asked = {
                "token": token,
                "secret": str(other / "secret"),
                "home": stage.sandbox.inside(profile, home),
                "extra": stage.sandbox.inside(profile, extra),
                "victim": innermost(victim.pid),
                "port": server.getsockname()[1],
                "memory": profile.limits.memory,
                "disk": profile.limits.disk,
                "processes": profile.limits.processes,
                "fill": layer == "bubblewrap",
            }
            if layer != "bubblewrap" and stage.sandbox.reach:
                asked["secret"] = str(stage.sandbox.reach.of(other) / "secret")
            (home / "app" / "asked.json").write_text(json.dumps(asked))
            done = await stage.run(profile, PYTHON, "-c", HOSTILE)
        await victim.aclose()
        assert done.returncode == 0, done.stderr.decode()
        return dict(json.loads(done.stdout))


Said = Callable[..., dict[str, Any]]

WAITING = "import signal; print('r', flush=True); signal.pause()"


async def ready(child: Child) -> None:
    """Wait for the line ``r``."""
    assert child.stdout is not None
    with trio.fail_after(PATIENCE):
        assert await child.stdout.receive_some(1) == b"r"
        assert await child.stdout.receive_some(1) == b"\n"


def innermost(pid: int) -> int:
    """The last of *pid* and its only children."""
    while below := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(below[0])
    return pid


@pytest.fixture(scope="module")
def said() -> Said:
    """`said(layer, network)`: each attack is only run once."""
    memory: dict[tuple[str, str], dict[str, Any] | None] = {}

    def ask(layer: str, network: str = "none") -> dict[str, Any]:
        if (layer, network) not in memory:
            memory[layer, network] = None
            memory[layer, network] = trio.run(attack, layer, network)
        result = memory[layer, network]
        if result is None:
            pytest.skip(f"no {layer} here")
        return result

    return ask


ABSENT = "ENOENT"
CLOSED: dict[str, dict[str, str | tuple[str, ...]]] = {
    "read another home": {"bubblewrap": ABSENT, "landlock": "EACCES"},
    "write another home": {"bubblewrap": ABSENT, "landlock": "EACCES"},
    "write /usr": {"bubblewrap": "EROFS", "landlock": "EACCES", "plain": "EACCES"},
    "write /": {"bubblewrap": "EROFS", "landlock": "EACCES", "plain": "EACCES"},
    "write /dev": {"bubblewrap": "EROFS", "landlock": "EACCES", "plain": "EACCES"},
    "write /etc/passwd": {"bubblewrap": "EROFS", "landlock": "EACCES", "plain": "EACCES"},
    "write a read-only file": {"bubblewrap": "EROFS", "landlock": "EACCES"},
    "see host processes": {"bubblewrap": "absent"},
    "signal outside": {"bubblewrap": "ESRCH", "landlock": "EPERM"},
    "host loopback": {"bubblewrap": "ECONNREFUSED", "landlock": "EACCES"},
    "abstract socket": {"bubblewrap": "ECONNREFUSED", "landlock": "EPERM"},
    "packet socket": dict.fromkeys(LAYERS, "EAFNOSUPPORT"),
    "vsock": dict.fromkeys(LAYERS, "EAFNOSUPPORT"),
    "mount": dict.fromkeys(LAYERS, "EPERM"),
    "new user namespace": dict.fromkeys(LAYERS, "EPERM"),
    "user namespace by clone": dict.fromkeys(LAYERS, "EPERM"),
    "clone3": dict.fromkeys(LAYERS, "ENOSYS"),
    "ptrace": dict.fromkeys(LAYERS, "EPERM"),
    "bpf": dict.fromkeys(LAYERS, "EPERM"),
    "keyctl": dict.fromkeys(LAYERS, "EPERM"),
    "io_uring": dict.fromkeys(LAYERS, "EPERM"),
    "memory": dict.fromkeys(LAYERS, "MemoryError"),
    "a long file": dict.fromkeys(LAYERS, "EFBIG"),
    "fill /tmp": {"bubblewrap": ("ENOSPC", "EFBIG")},
    "fill /dev/shm": {"bubblewrap": ("ENOSPC", "EFBIG")},
    "processes": {"bubblewrap": "EAGAIN"},
}
OPEN = {
    "write own home": LAYERS,
    "read a read-only file": LAYERS,
    "own loopback": ("bubblewrap", "plain"),
    # What is given up without bubblewrap, and why it counts as not isolated.
    "see host processes": ("landlock", "plain"),
    "read another home": ("plain",),
    "signal outside": ("plain",),
    "host loopback": ("plain",),
}


@pytest.mark.parametrize(
    ("layer", "what", "answer"),
    [(layer, what, answer) for what, by in CLOSED.items() for layer, answer in by.items()],
)
def test_refuses(said: Said, layer: str, what: str, answer: str | tuple[str, ...]) -> None:
    """What the layer closes is closed, with the error a program can make sense of."""
    result = said(layer)
    if what not in result:
        pytest.skip("system call numbers of this processor are not known")
    assert result[what] in ([answer] if isinstance(answer, str) else answer)


@pytest.mark.parametrize(
    ("layer", "what"), [(layer, what) for what, layers in OPEN.items() for layer in layers]
)
def test_allows(said: Said, layer: str, what: str) -> None:
    """What a program needs is open; so is what the weaker layers cannot close."""
    assert said(layer)[what] == "open"


@pytest.mark.parametrize("layer", LAYERS)
def test_the_host_network_is_open_when_asked_for(said: Said, layer: str) -> None:
    """An app may reach a database on the machine's loopback; its files stay where they were."""
    result = said(layer, "host")
    assert result["host loopback"] == "open"
    assert result["own loopback"] == "open"
    assert result["mount"] == "EPERM"


@pytest.mark.parametrize("layer", LAYERS)
def test_the_environment_is_the_profiles(said: Said, layer: str) -> None:
    """Of the appliance's own environment nothing is seen."""
    given = {"GIVEN", "HOME", "LANG", "PATH", "PWD", "TMPDIR", "USER"}
    # Ours to find strays; Python's own; that of the shell at the gate.
    harmless = {"APPLIANCE_MARK", "LC_CTYPE", "SHLVL"}
    assert {"GIVEN", "HOME", "TMPDIR"} <= set(said(layer)["environment"]) <= given | harmless


@pytest.mark.parametrize("layer", LAYERS)
def test_nobody_is_root(said: Said, layer: str) -> None:
    """The program never sees itself as root, whoever started the appliance."""
    assert said(layer)["uid"] != 0


# What takes a scene of its own.


@pytest.fixture(params=LAYERS)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    async with scene(request.param) as one:
        yield one


@pytest.fixture
async def boxed() -> AsyncIterator[Scene]:
    async with scene("bubblewrap") as one:
        yield one


async def test_outside_it_is_not_root_either(stage: Scene) -> None:
    """A user namespace only renames root; the machine must see somebody else."""
    child = await stage.spawn(stage.profile(await stage.home("home")), PYTHON, "-c", WAITING)
    await ready(child)
    status = Path(f"/proc/{innermost(child.pid)}/status").read_text()
    ids = [line.split()[1:] for line in status.splitlines() if line.startswith(("Uid", "Gid"))]
    expected = str(os.getuid() or stage.sandbox.uid)
    assert ids == [[expected] * 4] * 2
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status
    await child.aclose()


async def test_secrets_show_in_no_list_of_processes(stage: Scene) -> None:
    """Command lines can be read by everybody on the machine; environments cannot."""
    profile = stage.profile(await stage.home("home"), env={"VCAP_SERVICES": "password-1234"})
    child = await stage.spawn(profile, PYTHON, "-c", WAITING)
    await ready(child)
    for pid in (child.pid, innermost(child.pid)):
        assert b"password-1234" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    await child.aclose()


async def test_process_limits_are_per_sandbox(boxed: Scene) -> None:
    """Three sandboxes with twelve processes each fit a limit of twenty; thirty in one do not."""
    script = (
        "import os, signal, sys\n"
        "for _ in range(int(sys.argv[1])):\n"
        "    if os.fork() == 0: signal.pause()\n"
        "print('r', flush=True)\n"
        "signal.pause()\n"
    )
    limits = Limits(processes=20)
    children = []
    for name in ("one", "two", "three"):
        profile = stage_profile(boxed, await boxed.home(name), limits)
        children.append(await boxed.spawn(profile, PYTHON, "-c", script, "12"))
    for child in children:
        await ready(child)
    done = await boxed.run(
        stage_profile(boxed, boxed.root / "one", limits), PYTHON, "-c", script, "30"
    )
    assert b"BlockingIOError" in done.stderr
    for child in children:
        await child.aclose()


def stage_profile(one: Scene, home: Path, limits: Limits) -> Profile:
    return replace(one.profile(home), limits=limits)


DAEMON = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        print("r", flush=True)
        signal.pause()
    os._exit(0)
os.wait()
signal.pause()
"""


async def test_killing_takes_daemons_along(stage: Scene) -> None:
    """A daemon that ignores signals and has left its parents and session is gone too."""
    child = await stage.spawn(stage.profile(await stage.home("home")), PYTHON, "-c", DAEMON)
    await ready(child)
    child.kill()
    assert await child.wait() == -signal.SIGKILL
    with trio.fail_after(PATIENCE):
        # The pipe ends when the last process that has it ends: the daemon holds it as well.
        assert child.stdout is not None
        assert await child.stdout.receive_some(1) == b""
    await child.aclose()


async def test_a_signal_reaches_the_program_inside(stage: Scene) -> None:
    """SIGTERM is the program's to handle: it does not just tear the sandbox down."""
    script = (
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print('r', flush=True)\n"
        "while True: signal.pause()\n"
    )
    child = await stage.spawn(stage.profile(await stage.home("home")), PYTHON, "-c", script)
    await ready(child)
    child.send_signal(signal.SIGTERM)
    with trio.fail_after(PATIENCE):
        assert await child.wait() == 7
    await child.aclose()


async def test_memory_and_processes_are_seen_from_outside(stage: Scene) -> None:
    """A watchdog needs the sums, whoever the processes belong to."""
    script = (
        "import os, signal\n"
        "if os.fork() == 0:\n"
        "    hoard = bytearray(os.urandom(1) * (100 << 20))\n"
        "    print('r', flush=True)\n"
        "signal.pause()\n"
    )
    child = await stage.spawn(stage.profile(await stage.home("home")), PYTHON, "-c", script)
    await ready(child)
    used = usage_of([child.pid])[child.pid]
    assert 100 * MIB <= used.memory < 180 * MIB
    assert used.processes >= 2
    assert used.cpu > 0
    await child.aclose()


async def test_exit_status_and_missing_programs_are_told(stage: Scene) -> None:
    """The program's own status comes through; one that is missing is named."""
    profile = stage.profile(await stage.home("home"))
    assert (await stage.run(profile, "sh", "-c", "exit 42")).returncode == 42
    missing = await stage.run(profile, "no-such-program")
    assert missing.returncode == 127
    assert b"no-such-program" in missing.stderr


async def test_homes_are_written_read_back_and_removed(stage: Scene) -> None:
    """The program starts in its folder; what it leaves, of any mode, is readable and removable."""
    home = await stage.home("home")
    done = await stage.run(
        stage.profile(home),
        "sh",
        "-c",
        "pwd; echo made > made; chmod 0 made; mkdir -p closed/deep; chmod 0 closed",
    )
    place = stage.sandbox.inside(stage.profile(home), home / "app")
    assert done.stdout.decode().strip() == place
    await stage.sandbox.reclaim(home)
    assert (home / "app" / "made").read_text() == "made\n"
    await stage.sandbox.remove(home)
    assert not home.exists()
    await stage.sandbox.remove(home)  # none is fine too


async def test_removes_trees_deeper_than_a_path(stage: Scene) -> None:
    """2,000 folders in each other, which Python cannot walk."""
    home = await stage.home("home")
    script = "import os\nfor _ in range(2000): os.mkdir('deeper'); os.chdir('deeper')"
    done = await stage.run(stage.profile(home), PYTHON, "-c", script)
    assert done.returncode == 0
    await stage.sandbox.remove(home)
    assert not home.exists()


async def test_a_home_made_anew_is_the_one_that_is_seen(stage: Scene) -> None:
    """A restart removes the folder and makes it again, under the same name."""
    for text in ("first", "second"):
        home = await stage.home("home")
        (home / "app" / "note").write_text(text)
        done = await stage.run(stage.profile(home), "cat", "note")
        assert done.stdout.decode() == text, done.stderr
        shutil.rmtree(home)


async def test_extra_files_are_seen_where_they_were_put(stage: Scene) -> None:
    """Also from below a folder that is closed to the sandbox's user, and by links."""
    shelf = stage.root / "shelf"
    shelf.mkdir(mode=0o700)
    (shelf / "tool").write_text("#!/bin/sh\necho tool\n")
    (shelf / "tool").chmod(0o755)
    (stage.root / "link").symlink_to(shelf / "tool")
    (shelf / "open").mkdir()
    if stage.sandbox.uid:
        os.chown(shelf / "open", stage.sandbox.uid, -1)
    profile = stage.profile(
        await stage.home("home"),
        read_only={stage.root / "link": "/opt/tool", shelf / "absent": "/opt/absent"},
        writable={shelf / "open": "/srv/open"},
    )
    tool = stage.sandbox.inside(profile, stage.root / "link")
    out = stage.sandbox.inside(profile, shelf / "open" / "out")
    done = await stage.run(profile, "sh", "-c", f"{tool} > {out}")
    assert done.returncode == 0, done.stderr
    assert (shelf / "open" / "out").read_text() == "tool\n"


@pytest.mark.parametrize(
    "argv",
    [
        ("python3", "-c", "import http.server; print('ok')"),
        ("node", "-e", "console.log('ok')"),
        ("ruby", "-e", "puts 'ok'"),
        ("php", "-r", "echo 'ok';"),
        ("java", "-Xmx64m", "-version"),
        ("perl", "-e", "print 'ok'"),
    ],
    ids=lambda argv: str(argv[0]),
)
async def test_runtimes_start_with_256_mb(boxed: Scene, argv: tuple[str, ...]) -> None:
    """DATA, not address space: Node, Go and Java reserve gigabytes that they never touch."""
    if not any(Path(folder, argv[0]).exists() for folder in ("/usr/bin", "/usr/local/bin")):
        pytest.skip(f"{argv[0]} is not installed")
    profile = stage_profile(
        boxed, await boxed.home("home"), Limits(memory=256 * MIB, disk=256 * MIB, processes=128)
    )
    done = await boxed.run(profile, *argv)
    assert done.returncode == 0, done.stderr.decode()
    assert b"ok" in done.stdout or argv[0] == "java"


async def test_go_builds_and_runs(stage: Scene) -> None:
    """A compiler with many threads fits the staging limits, its program those of an app."""
    if not Path("/usr/bin/go").exists():
        pytest.skip("go is not installed")
    home = await stage.home("home")
    (home / "app" / "main.go").write_text('package main\nfunc main() { println("ok") }\n')
    place = stage.sandbox.inside(stage.profile(home), home)
    profile = replace(
        stage.profile(home, env={"GOCACHE": f"{place}/tmp/cache", "GO111MODULE": "off"}),
        limits=Limits(memory=2048 * MIB, disk=1024 * MIB, processes=512),
    )
    built = await stage.run(profile, "go", "build", "-o", "app", "main.go")
    assert built.returncode == 0, built.stderr.decode()
    done = await stage.run(replace(profile, limits=Limits(memory=256 * MIB)), "./app")
    assert done.stderr == b"ok\n"


async def test_uv_runs_from_a_file_of_its_own(stage: Scene) -> None:
    """The staging tool comes from beside the appliance, wherever that is installed."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("uv is not installed beside Python")
    profile = stage.profile(
        await stage.home("home"),
        read_only={uv: "/opt/uv"},
        limits=Limits(memory=2048 * MIB, disk=1024 * MIB, processes=512),
    )
    program = stage.sandbox.inside(profile, uv)
    done = await stage.run(profile, program, "venv", "--offline", "-p", PYTHON, "venv")
    assert done.returncode == 0, done.stderr.decode()


async def test_require_refuses_a_machine_without_isolation() -> None:
    """The reason is what failed; off is not isolated either, and says why."""
    async with open_spawner("off") as spawner:
        assert not spawner.sandbox.isolated
        assert "off" in spawner.sandbox.reason
        with pytest.raises(SandboxRefused, match="bubblewrap: left out"):
            await probe(spawner, "require", layers=())


async def test_the_reason_is_what_the_probe_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bubblewrap that is there but may not work is found out by running it."""
    words = "bwrap: setting up uid map: Permission denied"
    folder = Path(tempfile.mkdtemp(prefix="sandbox-test-"))
    try:
        folder.chmod(0o755)
        (folder / "bwrap").write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
        (folder / "bwrap").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        async with open_spawner("auto") as spawner:
            assert spawner.sandbox.kind != "bubblewrap"
            assert words in spawner.sandbox.reason
    finally:
        shutil.rmtree(folder)


async def test_nothing_is_left_behind() -> None:
    """Neither processes nor mounts nor folders of a spawner outlive it."""
    before = set(os.listdir(tempfile.gettempdir()))
    mounts = Path("/proc/self/mountinfo").read_text()
    async with scene("plain") as one:
        home = await one.home("home")
        child = await one.spawn(one.profile(home), "sleep", "600")
    assert read_process(child.pid) is None
    assert Path("/proc/self/mountinfo").read_text() == mounts
    ours = ("appliance-", "probe-", "sandbox-test-")
    left = {
        name for name in set(os.listdir(tempfile.gettempdir())) - before if name.startswith(ours)
    }
    assert not left


def test_all_of_it_holds_for_an_ordinary_user() -> None:
    """The same tests once more, as somebody without any rights."""
    if os.getuid() != 0:
        pytest.skip("this is the run as an ordinary user")
    become = ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups"]
    folder = Path(tempfile.mkdtemp(prefix="ordinary-"))
    os.chown(folder, ORDINARY, ORDINARY)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        if subprocess.run(
            [*become, sys.executable, "-c", f"open({__file__!r})"], check=False
        ).returncode:
            pytest.skip("an ordinary user cannot read this source tree")
        done = subprocess.run(
            [*become, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=Path(__file__).parents[2],
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    finally:
        with suppress(OSError):
            shutil.rmtree(folder)
