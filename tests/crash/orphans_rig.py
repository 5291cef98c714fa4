"""Real appliances in processes of their own, killed on purpose; and what is left of them."""

from __future__ import annotations

import ctypes
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from appliance.kernel.process.usage import Process, process_table

TREE = Path(__file__).parents[2]
PATIENCE = 20.0  # seconds
ORDINARY = 31011  # a user that nobody is
PR_SET_CHILD_SUBREAPER = 36

#: An app that is hard to get rid of: ignores signals, with a child, a session and a daemon.
STUBBORN = """\
trap '' TERM HUP INT
sleep 900 &
setsid bash -c 'trap "" TERM HUP; sleep 901' &
(setsid bash -c 'trap "" TERM HUP; sleep 902 & sleep 903' &)
while :; do sleep 904; done
"""


def until(true: Callable[[], Any], what: str, patience: float = PATIENCE) -> None:
    """Look again and again until *true*; what happens is not ours to be told of."""
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def below(root: int, table: dict[int, Process]) -> set[int]:
    """The living descendants of *root*."""
    found: set[int] = set()
    todo = [root]
    while todo:
        above = todo.pop()
        children = [one.pid for one in table.values() if one.parent == above]
        found.update(children)
        todo += children
    return {pid for pid in found if table[pid].state != "Z"}


def described(pids: set[int]) -> list[str]:
    """For the message of a test that fails."""
    said = []
    for pid in pids:
        with suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\\0", b" ")
            said.append(f"{pid}: {line[:200].decode(errors='replace')}")
    return said


@contextmanager
def collecting_orphans() -> Iterator[None]:
    """Whoever loses its parent below us becomes our child: nobody can slip away."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        collect()


def collect(keep: int = 0) -> None:
    """Wait for the dead children that nobody else waits for."""
    for process in process_table().values():
        if process.parent == os.getpid() and process.state == "Z" and process.pid != keep:
            with suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)


def strays(but_of: int = 0) -> set[int]:
    """Who runs below us, except *but_of* and those below it."""
    table = process_table()
    return below(os.getpid(), table) - below(but_of, table) - {but_of}


@dataclass
class Place:
    """Folders for one appliance after the other, and how to become their user."""

    root: Path
    become: list[str]
    state: Path | None
    flags: list[str] = field(default_factory=list)

    @property
    def temporary(self) -> Path:
        return self.root / "tmp"

    def folders(self) -> set[str]:
        """Temporary folders, but for the one that holds the ledgers."""
        return {name for name in os.listdir(self.temporary) if name.startswith("appliance-")} - {
            f"appliance-{os.stat(self.temporary).st_uid}"
        }

    def ledgers(self) -> list[Path]:
        return [*self.temporary.glob("appliance-*/*.journal")]

    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.temporary),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def run(self, *arguments: str) -> None:
        """Run Python as the user."""
        command = [*self.become, sys.executable, *arguments]
        subprocess.run(command, env=self.environ(), cwd=TREE, check=True)

    def mounts(self) -> list[str]:
        text = Path("/proc/self/mountinfo").read_text()
        return [line for line in text.splitlines() if str(self.root) in line]

    @contextmanager
    def up(self) -> Iterator[Appliance]:
        """An appliance that is ready; killed at the end, if it still runs."""
        command = [*self.become, sys.executable, "-m", "appliance", "up", "--port", "0", "--quiet"]
        command += ["--output", "json", *self.flags]
        if self.state:
            command += ["--state", str(self.state)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environ(),
            cwd=TREE,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise AssertionError(process.communicate()[1])
            yield Appliance(process, json.loads(line))
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


@contextmanager
def place(user: str | None, *flags: str, keep: bool) -> Iterator[Place]:
    """A place for *user*: "root", "ordinary", or None for whoever we are.

    Skips the test where we cannot be that user. With *keep* there is a state folder.
    """
    become: list[str] = []
    uid = os.getuid()
    if user == "ordinary" and uid == 0:
        become = ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups"]
        uid = ORDINARY
        probe = [*become, sys.executable, "-c", f"import appliance.boot; open({__file__!r})"]
        if subprocess.run(probe, cwd=TREE, capture_output=True, check=False).returncode:
            pytest.skip("an ordinary user cannot read this source tree")
    elif user == "root" and uid != 0:
        pytest.skip("we are an ordinary user")
    root = Path(tempfile.mkdtemp(prefix="orphans-"))
    try:
        root.chmod(0o755)
        for name in ("home", "tmp", "state"):
            (root / name).mkdir(mode=0o711)
            os.chown(root / name, uid, uid)
        here = Place(root, become, root / "state" if keep else None, list(flags))
        try:
            yield here
        finally:
            # Control groups, for one, are not in the folder that is about to go.
            here.run("-c", "from appliance.kernel.process.sweep import sweep; sweep()")
    finally:
        shutil.rmtree(root, ignore_errors=True)


@dataclass
class Appliance:
    """One running appliance; `pid` is the process that was started."""

    process: subprocess.Popen[str]
    endpoints: dict[str, Any]
    token: str = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    def chain(self) -> list[int]:
        """The process that was started, and the two inside of its namespace if it has one."""
        table = process_table()
        found = [self.pid]
        while len(found) < 3:
            inner = [one for one in table.values() if one.parent == found[-1]]
            if len(inner) != 1 or not inner[0].name.startswith(("python", "appliance")):
                break
            found.append(inner[0].pid)
        return found

    def kill(self, victim: int) -> None:
        """SIGKILL *victim*, one of `chain`, and wait for the end of what was started."""
        os.kill(victim, signal.SIGKILL)
        self.process.wait(PATIENCE)

    def stop(self) -> None:
        """End in good order."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, self.process.communicate()[1]

    def ports(self) -> list[int]:
        """Every port that it has told us of."""
        said = json.dumps(self.endpoints).replace('"', " ").split()
        urls = [urlsplit(word) for word in said if "://" in word]
        return [url.port for url in urls if url.port]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the API; JSON in and out."""
        data = None if body is None else json.dumps(body).encode()
        status, text = self.send(method, path, data, "application/json")
        assert status < 300, (method, path, status, text)
        return json.loads(text) if text else None

    def send(self, method: str, path: str, body: bytes | None, kind: str) -> tuple[int, bytes]:
        """The bare answer."""
        where = urlsplit(self.endpoints["api"])
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=PATIENCE)
        try:
            headers = {"Content-Type": kind}
            if self.token:
                headers["Authorization"] = f"bearer {self.token}"
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def login(self) -> None:
        """Get a token."""
        form = b"grant_type=password&username=admin&password=admin"
        _, text = self.send("POST", "/oauth/token", form, "application/x-www-form-urlencoded")
        self.token = json.loads(text)["access_token"]

    def push(self, name: str, instances: int) -> str:
        """Push the stubborn app, without starting it; returns its guid."""
        space = self.call("GET", "/v3/spaces")["resources"][0]["guid"]
        relation = {"space": {"data": {"guid": space}}}
        app = self.call("POST", "/v3/apps", {"name": name, "relationships": relation})["guid"]
        relation = {"app": {"data": {"guid": app}}}
        body = {"type": "bits", "relationships": relation}
        package = self.call("POST", "/v3/packages", body)["guid"]
        kind, form = multipart({"Procfile": "web: bash stubborn.sh\n", "stubborn.sh": STUBBORN})
        path = f"/v3/packages/{package}/upload"
        status, text = self.send("POST", path, form, kind)
        assert status < 300, text
        build = self.call("POST", "/v3/builds", {"package": {"guid": package}})
        while build["state"] == "STAGING":
            build = self.call("GET", f"/v3/builds/{build['guid']}")
        assert build["state"] == "STAGED", build
        droplet = {"data": {"guid": build["droplet"]["guid"]}}
        self.call("PATCH", f"/v3/apps/{app}/relationships/current_droplet", droplet)
        process = f"/v3/apps/{app}/processes/web"
        check = {"health_check": {"type": "process", "data": {}}}
        self.call("PATCH", f"/v3/processes/{self.call('GET', process)['guid']}", check)
        self.call("POST", f"{process}/actions/scale", {"instances": instances, "memory_in_mb": 64})
        return str(app)

    def running(self, app: str) -> int:
        """How many instances run."""
        stats = self.call("GET", f"/v3/apps/{app}/processes/web/stats")
        return sum(one["state"] == "RUNNING" for one in stats["resources"])


def multipart(files: dict[str, str]) -> tuple[str, bytes]:
    """A form with the zip of *files*, as clients upload packages."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    head = (
        '--cut\r\nContent-Disposition: form-data; name="bits"; filename="package.zip"\r\n'
        "Content-Type: application/zip\r\n\r\n"
    )
    return "multipart/form-data; boundary=cut", (
        head.encode() + buffer.getvalue() + b"\r\n--cut--\r\n"
    )


def closed(port: int) -> bool:
    """Whether nobody listens on *port*."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def beginning(root: int) -> bool:
    """Whether a sandbox begins somewhere below *root*."""
    todo = [root]
    while todo:
        pid = todo.pop()
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for thread in threads:
            with suppress(OSError):
                with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                    children = [int(child) for child in file.read().split()]
                for child in children:
                    with open(f"/proc/{child}/comm", "rb") as file:
                        if file.read().strip() in (b"bwrap", b"setpriv"):
                            return True
                todo += children
    return False
