"""A second program in a sandbox: it gets what the first one has, no more and no less."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio

from appliance.kernel.process.enter import Entered, Errand, NotThere, Terminal, enter
from appliance.kernel.process.profile import MIB, Limits, Profile
from appliance.kernel.process.sandbox import probe
from appliance.kernel.process.spawner import Child, Spawner, open_spawner
from appliance.kernel.process.usage import process_table

pytestmark = [
    pytest.mark.other_users,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sandboxes are for Linux"),
]

PATIENCE = 20.0  # seconds; far above what anything here takes

#: What a program is and may do, as text that two programs can be compared by.
FACTS = """\
id; pwd; ulimit -d -f -n -c
grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status
readlink /proc/self/ns/{user,pid,mnt,net,ipc,uts}
echo "$HOME $PATH $MINE"; ls -A . /home/vcap 2>&1; cat /etc/shadow 2>&1; mount -t tmpfs x /tmp 2>&1
"""


@dataclass
class Place:
    """A sandbox with a program in it that waits, and whoever comes after it."""

    spawner: Spawner
    profile: Profile
    host: Child
    said: bytes  # by the first program, before it began to wait

    async def enter(self, *argv: str, **more: object) -> Entered:
        """Start *argv* beside it."""
        errand = replace(Errand(argv=argv), **more)  # type: ignore[arg-type]
        return await enter(self.spawner, self.host, self.profile, errand)

    async def run(self, *argv: str, stdin: bytes = b"", **more: object) -> tuple[int, bytes, bytes]:
        """Run *argv* to its end: status, output and errors."""
        entered = await self.enter(*argv, **more)
        child = entered.child
        try:
            with trio.fail_after(PATIENCE):
                assert child.stdin is not None
                await child.stdin.send_all(stdin)
                await child.stdin.aclose()
                out, err = await rest(child.stdout), await rest(child.stderr)
                return await child.wait(), out, err
        finally:
            await entered.aclose()


async def rest(stream: trio.lowlevel.FdStream | None) -> bytes:
    """All that comes; a terminal ends with an error, when nobody has it open any more."""
    assert stream is not None
    got = b""
    try:
        while chunk := await stream.receive_some(65536):
            got += chunk
    except trio.BrokenResourceError:
        pass
    return got


@asynccontextmanager
async def a_place(layer: str, folder: Path, first: str = "echo there") -> AsyncIterator[Place]:
    """A sandbox of the kind *layer* in which *first* has run."""
    async with open_spawner() as spawner:
        spawner.sandbox = await probe(spawner, layers=[layer])
        if spawner.sandbox.kind != layer:
            pytest.skip(f"no {layer} here: {spawner.sandbox.reason}")
        home = folder / "home"
        (home / "app").mkdir(parents=True)
        await spawner.sandbox.hand_over(home)
        limits = Limits(memory=300 * MIB, disk=50 * MIB, files=200, processes=99)
        profile = Profile(name="first", home=home, limits=limits, env={"MINE": "yes"})
        script = f"exec 2>&1; {first}\necho; echo ready; read"
        command = spawner.sandbox.command(profile, ["/bin/bash", "-c", script])
        host = await spawner.spawn(command.argv, env=command.env, cwd=command.cwd, stdin="pipe")
        try:
            said = b""
            with trio.fail_after(PATIENCE):
                assert host.stdout is not None
                while not said.endswith(b"\nready\n"):
                    chunk = await host.stdout.receive_some(65536)
                    assert chunk, said
                    said += chunk
            yield Place(spawner, profile, host, said.removesuffix(b"\nready\n"))
        finally:
            await host.aclose()


@pytest.fixture(params=["bubblewrap", "landlock", "plain"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """A sandbox of each kind."""
    async with a_place(request.param, tmp_path) as made:
        yield made


@pytest.mark.parametrize("layer", ["bubblewrap", "landlock", "plain"])
async def test_it_is_and_may_do_what_the_first_one_is_and_may(layer: str, tmp_path: Path) -> None:
    """User, limits, capabilities, namespaces, environment, files: all of it the same."""
    async with a_place(layer, tmp_path, FACTS) as place:
        status, out, _ = await place.run("/bin/bash", "-c", f"exec 2>&1; {FACTS}")
        assert status  # of the mount, which is refused
        assert out.decode().splitlines() == place.said.decode().splitlines()
        assert "yes" in out.decode()


async def test_its_streams_and_its_status_are_its_own(place: Place) -> None:
    """Input, output and errors are apart, and the exit status is the program's."""
    said = await place.run("/bin/sh", "-c", "cat; echo oops >&2; exit 7", stdin=b"given")
    assert said == (7, b"given", b"oops\n")


async def test_a_signal_that_ends_it_is_told(place: Place) -> None:
    """As for any child: a negative status."""
    assert (await place.run("/bin/sh", "-c", "kill -TERM $$"))[0] == -signal.SIGTERM
    assert (await place.run("/bin/sh", "-c", "kill -KILL $$"))[0] == -signal.SIGKILL


async def test_it_hears_signals(place: Place) -> None:
    """They reach the program, which may catch them."""
    entered = await place.enter("/bin/bash", "-c", "trap 'echo heard; exit 4' USR1; echo on; read")
    with trio.fail_after(PATIENCE):
        assert entered.child.stdout is not None
        assert await entered.child.stdout.receive_some(10) == b"on\n"
        entered.child.send_signal(signal.SIGUSR1)
        assert await rest(entered.child.stdout) == b"heard\n"
        assert await entered.child.wait() == 4
    await entered.aclose()


async def test_a_terminal_is_found_by_its_name_and_tells_its_size(place: Place) -> None:
    """It controls the program, and can be resized, which the program is told."""
    script = "tty; stty size; trap 'stty size; exit 0' WINCH; echo x >/dev/tty; read; read"
    entered = await place.enter("/bin/bash", "-c", script, terminal=Terminal(columns=101, rows=31))
    assert entered.terminal is not None
    with trio.fail_after(PATIENCE):
        said = b""
        while not said.endswith(b"x\r\n"):
            said += await entered.terminal.receive_some(1000)
        name, rows, columns, _ = said.decode().split()
        assert name.startswith("/dev/pts/")
        assert (columns, rows) == ("101", "31")
        entered.resize(77, 22)
        await entered.terminal.send_all(b"\n")  # a shell looks at its traps after a command
        assert b"22 77" in await rest(entered.terminal)
        assert await entered.child.wait() == 0
    await entered.aclose()


async def test_a_script_of_ours_runs_in_there(place: Place, tmp_path: Path) -> None:
    """It is read outside, works inside, and its result is the exit status."""
    script = tmp_path / "a_script.py"
    script.write_text(
        "import os, sys\n"
        "def main(argv):\n"
        "    sys.stdout.write(f'{argv} {sys.stdin.read()} {os.getuid()}')\n"
        "    open('written', 'w').close()\n"
        "    return 5\n"
    )
    _, uid, _ = await place.run("/usr/bin/id", "-u")
    status, out, err = await place.run("one", "two", stdin=b"given", script=script)
    assert (status, err) == (5, b"")
    assert out.decode() == f"['one', 'two'] given {uid.decode().strip()}"
    assert (place.profile.home / "app" / "written").exists()


async def test_it_ends_with_all_that_it_has_started(place: Place) -> None:
    """A shell's background job too."""
    entered = await place.enter("/bin/bash", "-c", "sleep 4321 & echo on; wait")
    with trio.fail_after(PATIENCE):
        assert entered.child.stdout is not None
        await entered.child.stdout.receive_some(10)
        while not sleepers(4321):  # noqa: ASYNC110 (nobody tells)
            await trio.sleep(0.01)
        await entered.aclose()
        while sleepers(4321):  # noqa: ASYNC110 (nobody tells)
            await trio.sleep(0.01)


async def test_it_ends_with_its_sandbox(tmp_path: Path) -> None:
    """Under bubblewrap the kernel sees to that, whoever else might."""
    async with a_place("bubblewrap", tmp_path) as place:
        entered = await place.enter("/bin/sh", "-c", "echo on; exec sleep 4322")
        assert entered.child.stdout is not None
        await entered.child.stdout.receive_some(10)
        await place.host.aclose()
        with trio.fail_after(PATIENCE):
            assert await entered.child.wait() == -signal.SIGKILL
        await entered.aclose()


async def test_who_has_ended_cannot_be_visited(place: Place) -> None:
    """It is told in a sentence, and nothing stays open."""
    await place.host.aclose()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotThere, match="ended"):
        await place.enter("/bin/true", terminal=Terminal())
    assert len(os.listdir("/proc/self/fd")) == before


def sleepers(seconds: int) -> list[int]:
    """Who sleeps that long."""
    found = []
    for process in process_table().values():
        if process.name == "sleep" and process.state != "Z":
            try:
                words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(seconds).encode() in words:
                found.append(process.pid)
    return found
