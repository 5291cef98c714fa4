"""The appliance in a PID namespace of its own: signals in, status out, nothing left behind.

Entering forks the process and never returns in the first one, so each test runs a program.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from appliance.kernel.process.namespace import status_code
from appliance.kernel.process.usage import process_table

pytestmark = pytest.mark.other_users


PATIENCE = 10.0  # seconds
TREE = Path(__file__).parents[3]
START = """
import os, signal, subprocess, sys, time
from appliance.kernel.process.namespace import enter_own_pid_namespace
entered = enter_own_pid_namespace()
if not entered:
    print("refused:", entered.reason, os.getpid() == entered.outer_pid, flush=True)
    sys.exit(99)
"""


@pytest.fixture(params=["ourselves", "ordinary"])
def become(request: pytest.FixtureRequest) -> list[str]:
    """How to be the user; the ordinary one needs root to become it."""
    if request.param == "ourselves":
        return []
    if os.getuid() != 0:
        pytest.skip("we are an ordinary user")
    if os.stat(TREE).st_mode & 0o005 != 0o005:
        pytest.skip("an ordinary user cannot read this source tree")
    return ["setpriv", "--reuid=31008", "--regid=31008", "--clear-groups"]


def start(become: list[str], script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*become, sys.executable, "-c", START + script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=TREE,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status and output, skipping the test where namespaces are forbidden."""
    out, err = process.communicate(timeout=PATIENCE)
    if process.returncode == 99:
        pytest.skip(out)
    assert "Traceback" not in err, err
    return process.returncode, out


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if line.startswith("refused"):
        process.communicate()
        pytest.skip(line)
    return line


def test_is_process_two_and_sees_nobody_else(become: list[str]) -> None:
    """/proc shows the namespace; the outer pid is what the rest of the machine knows."""
    script = (
        "print(os.getpid(), entered.outer_pid, *sorted(filter(str.isdigit, os.listdir('/proc'))))"
    )
    process = start(become, script)
    status, out = finish(process)
    assert (status, out.split()) == (0, ["2", str(process.pid), "1", "2"])


@pytest.mark.parametrize(
    ("end", "status"),
    [("sys.exit(7)", 7), ("os.kill(os.getpid(), 9)", 137), ("os.kill(os.getpid(), 15)", 143)],
)
def test_the_exit_status_comes_through(become: list[str], end: str, status: int) -> None:
    """Also a signal's, as a shell tells it."""
    assert finish(start(become, end)) == (status, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_passed_on_once(become: list[str], number: signal.Signals) -> None:
    """Whoever knows only the outer pid can still stop the appliance in good order."""
    script = (
        "seen = []\n"
        f"signal.signal({int(number)}, lambda *_: seen.append(1))\n"
        "print('ready', flush=True)\n"
        # Not pause(): the signal may have come just before it.
        "while not seen: time.sleep(0.01)\n"
        "time.sleep(0.2)\n"  # for a second one to arrive
        "sys.exit(40 + len(seen))\n"
    )
    process = start(become, script)
    assert first_line(process) == "ready"
    process.send_signal(number)
    assert finish(process)[0] == 41


#: Three daemons that ignore SIGTERM; TOKEN, in their command line, tells them from others.
STRAYS = """
stray = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('r', flush=True); signal.pause()"
)
for _ in range(3):
    daemon = subprocess.Popen(
        ["setsid", sys.executable, "-c", stray, TOKEN], stdout=subprocess.PIPE
    )
    daemon.stdout.readline()
"""


def with_token(token: str) -> list[int]:
    found = []
    for pid in process_table():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if token.encode() in line.split(b"\0"):
            found.append(pid)
    return found


@pytest.mark.parametrize("victim", ["outer", "init", "appliance", "nobody"])
async def test_nothing_survives(become: list[str], victim: str) -> None:
    """Whichever of the three is killed, daemons that ignore signals go along."""
    token = f"stray-{os.urandom(8).hex()}"
    end = "sys.exit(0)" if victim == "nobody" else "signal.pause()"
    script = f"TOKEN = {token!r}\n{STRAYS}\nprint('ready', flush=True)\n{end}\n"
    process = await trio.to_thread.run_sync(start, become, script)
    assert await trio.to_thread.run_sync(first_line, process) == "ready"
    if victim != "nobody":
        chain = [process.pid]
        for _ in range(2):
            chain.append(
                min(one.pid for one in process_table().values() if one.parent == chain[-1])
            )
        os.kill(chain[["outer", "init", "appliance"].index(victim)], signal.SIGKILL)
    await trio.to_thread.run_sync(process.communicate)
    with trio.fail_after(PATIENCE):
        while with_token(token):  # noqa: ASYNC110 (the kernel does it, trio does not see it)
            await trio.sleep(0.01)


def test_orphans_are_collected(become: list[str]) -> None:
    """Init has no children left over: neither running nor dead."""
    script = (
        "for _ in range(5): subprocess.run(['sh', '-c', 'sleep 0.01 & sleep 0.01 &'])\n"
        "deadline = time.monotonic() + 5\n"
        "def left(): return len([n for n in os.listdir('/proc') if n.isdigit()])\n"
        "while left() > 2 and time.monotonic() < deadline: time.sleep(0.01)\n"
        "print(left())\n"
    )
    assert finish(start(become, script)) == (0, "2\n")


def test_a_kernel_that_forbids_it_changes_nothing() -> None:
    """Without the right to make namespaces we stay who we are, and are told why."""
    if os.getuid() != 0:
        pytest.skip("only root can give up the right without losing more")
    bounds = ["setpriv", "--bounding-set=-sys_admin"]
    process = start(bounds, "sys.exit(1)")
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 99
    assert out == "refused: unshare: Operation not permitted True\n"


def test_the_appliance_can_use_sandboxes_in_it(become: list[str]) -> None:
    """Namespaces within namespaces: the sandbox is the same as outside."""
    script = (
        "import trio\n"
        "from appliance.kernel.process.spawner import open_spawner\n"
        "async def main():\n"
        "    async with open_spawner() as spawner:\n"
        "        print(spawner.sandbox.kind, spawner.sandbox.reason)\n"
        "trio.run(main)\n"
    )
    outside = subprocess.run(
        [*become, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=TREE,
        check=True,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert finish(start(become, script)) == (0, outside.stdout)


def test_a_status_is_told_as_a_shell_tells_it() -> None:
    """Exit statuses as they are, signals from 128 on."""
    assert status_code(7 << 8) == 7
    assert status_code(signal.SIGKILL) == 137
