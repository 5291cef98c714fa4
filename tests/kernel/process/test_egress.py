"""The way out for builds: through the proxy to listed hosts, and nowhere else."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.kernel.process import egress as proxying
from appliance.kernel.process.egress import Budget, Egress, open_egress, open_learner
from appliance.kernel.process.egress_rules import Target
from appliance.kernel.process.output import Completed
from appliance.kernel.process.sandbox import HOME, Profile, probe
from appliance.kernel.process.spawner import open_spawner
from appliance.kernel.trace import Event, Trace

pytestmark = pytest.mark.other_users


PATIENCE = 15.0  # seconds; far above what anything here takes
BUDGET = Budget(bytes=1 << 20, seconds=60)

#: Prints the answer of a URL, the proxy's status for a tunnel, and the status.
CURL = ("curl", "-sS", "--max-time", "8", "-w", " %{http_connect} %{http_code}\\n")


@dataclass
class Scene:
    """A web server on this machine, a proxy, and what both have seen."""

    port: int  # of the web server
    served: list[bytes] = field(default_factory=list)  # heads of requests
    events: list[Event] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)

    @property
    def server(self) -> Target:
        return Target(host="127.0.0.1", port=self.port, named=True)

    def whats(self) -> list[tuple[str, Any]]:
        return [(event.what, event.data["host"]) for event in self.events]

    @asynccontextmanager
    async def proxy(self, *allow: Target, **given: Any) -> AsyncIterator[Egress]:
        given.setdefault("budget", BUDGET)
        trace = Trace("test", [self.events.append])
        hear = lambda host, why: self.told.append((host, why))  # noqa: E731
        async with open_egress(allow, trace=trace, on_host=hear, **given) as egress:
            yield egress


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """A server that answers "hello", or as many bytes as the path says."""

    async def answer(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                head = b""
                while b"\r\n\r\n" not in head:
                    if not (more := await stream.receive_some(4096)):
                        return
                    head += more
                made.served.append(head)
                wanted = head.split()[1].strip(b"/")
                body = b"x" * int(wanted) if wanted.isdigit() else b"hello"
                head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                await stream.send_all(head % len(body) + body)
        except trio.BrokenResourceError:
            pass

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    made = Scene(port=listeners[0].socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer, listeners)
        yield made
        nursery.cancel_scope.cancel()


async def talk(egress: Egress, sent: bytes, *, end: bool = False) -> bytes:
    """What comes back, to the end, for what is *sent*; *end* says that nothing follows."""
    assert egress.path is not None
    stream = await trio.open_unix_socket(str(egress.path))
    received = b""
    with trio.fail_after(PATIENCE):
        async with stream:
            await stream.send_all(sent)
            if end:
                await stream.send_eof()
            try:
                while chunk := await stream.receive_some(65536):
                    received += chunk
            except trio.BrokenResourceError:
                pass
    return received


def connect(place: object) -> bytes:
    return f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode()


async def test_a_listed_host_is_reached(scene: Scene) -> None:
    """By a tunnel, and by a request for a whole address; told and traced once."""
    async with scene.proxy(scene.server) as egress:
        said = await talk(egress, connect(scene.server) + b"GET /a HTTP/1.0\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK")
        assert said.endswith(b"hello")
        whole = f"GET http://{scene.server}/b HTTP/1.1\r\nHost: {scene.server}\r\n\r\n"
        assert (await talk(egress, whole.encode())).endswith(b"hello")
    assert [head.split(b"\r\n")[0] for head in scene.served] == [
        b"GET /a HTTP/1.0",
        b"GET /b HTTP/1.1",
    ]
    assert scene.whats() == [("egress.opened", str(scene.server))]
    assert scene.told == [(str(scene.server), "")]


async def test_another_host_is_refused_and_told(scene: Scene) -> None:
    """Other ports of a listed host too; nobody is looked up or connected to for it."""
    async with scene.proxy(Target(host="127.0.0.1", port=1, named=True)) as egress:
        for place in (scene.server, "elsewhere.test:443"):
            said = await talk(egress, connect(place))
            assert said.startswith(b"HTTP/1.1 403 ")
            assert f"{place} may not be asked".encode() in said
    assert scene.served == []
    assert scene.whats() == [
        ("egress.refused", str(scene.server)),
        ("egress.refused", "elsewhere.test:443"),
    ]
    assert all("not on the list" in why for _, why in scene.told)


async def test_a_name_may_not_lead_to_this_machine(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list has the name, but its address, once looked up, is a private one."""

    async def lookup(host: str, port: int, **_: object) -> list[Any]:
        assert host == "index.test"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(trio.socket, "getaddrinfo", lookup)
    for named in (False, True):
        target = Target(host="index.test", port=scene.port, named=named)
        async with scene.proxy(target) as egress:
            said = await talk(egress, connect(target))
        assert said.startswith(b"HTTP/1.1 403 ")
        assert b"127.0.0.1 is not a public one" in said
    assert scene.served == []


async def test_the_share_of_bytes_is_an_end(scene: Scene) -> None:
    """What is under way breaks off, what comes later is refused."""
    size = 1_000_000
    async with scene.proxy(scene.server, budget=Budget(bytes=200_000, seconds=60)) as egress:
        ask = connect(scene.server) + b"GET /%d HTTP/1.0\r\n\r\n" % size
        said = await talk(egress, ask)
        assert b"200 OK" in said
        assert len(said) < size
        assert b"used up its share" in await talk(egress, connect(scene.server))
    assert ("egress.refused", "any host") in scene.whats()


async def test_the_time_is_an_end(scene: Scene) -> None:
    """A tunnel that is open is closed when the time is over."""
    async with scene.proxy(scene.server, budget=Budget(bytes=1 << 20, seconds=0.3)) as egress:
        said = await talk(egress, connect(scene.server))
        assert said == b"HTTP/1.1 200 Connection established\r\n\r\n"
        assert (await talk(egress, connect(scene.server))).startswith(b"HTTP/1.1 403 ")


async def test_a_client_that_has_said_all_still_hears_the_answer(scene: Scene) -> None:
    """Half a connection is open as long as the other half needs it."""
    async with scene.proxy(scene.server) as egress:
        ask = connect(scene.server) + b"GET / HTTP/1.0\r\n\r\n"
        assert (await talk(egress, ask, end=True)).endswith(b"hello")


@pytest.mark.parametrize(
    ("sent", "end", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", False, 400),
        (b"CONNECT a", True, 400),
        (b"CONNECT a", False, 408),
        (b"x" * 40_000, False, 400),
    ],
)
async def test_nonsense_ends_in_an_answer(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, sent: bytes, end: bool, status: int
) -> None:
    """Half a request, a slow one, one without an end; the proxy serves the next client."""
    monkeypatch.setattr(proxying, "HEAD_SECONDS", 0.3)
    async with scene.proxy(scene.server) as egress:
        said = await talk(egress, sent, end=end)
        assert said.startswith(b"HTTP/1.1 %d " % status) or (not said and len(sent) > 16384)
        ask = connect(scene.server) + b"GET / HTTP/1.0\r\n\r\n"
        assert (await talk(egress, ask)).endswith(b"hello")


async def test_the_socket_is_private_and_gone_afterwards(scene: Scene) -> None:
    """Only the user it was made for can connect; nothing of it stays behind."""
    async with scene.proxy(scene.server) as egress:
        assert egress.path is not None
        assert egress.path.stat().st_mode & 0o777 == 0o600
        assert egress.path.parent.stat().st_mode & 0o777 == 0o700
    assert not egress.path.parent.exists()


async def test_a_long_temporary_folder_is_no_matter(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of a socket may have 107 bytes; ours is bound whatever its length."""
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    async with scene.proxy(scene.server) as egress:
        assert egress.path is not None
        assert egress.path.is_socket()


async def test_who_learns_needs_the_token(scene: Scene) -> None:
    """A stranger on this machine cannot put a host on the list; nor can a tool a private one."""
    trace = Trace("test", [scene.events.append])
    async with open_learner([], budget=BUDGET, trace=trace, token=b"Basic eA==") as (learner, port):

        async def ask(head: bytes) -> bytes:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                await stream.send_all(head)
                return bytes(await stream.receive_some(4096))

        place = "127.0.0.1:443"
        assert (await ask(connect(place))).startswith(b"HTTP/1.1 407 ")
        ours = connect(place)[:-2] + b"Proxy-Authorization: Basic eA==\r\n\r\n"
        assert (await ask(ours)).startswith(b"HTTP/1.1 403 ")
        assert not learner.learnt


@asynccontextmanager
async def boxed(scene: Scene, *allow: Target) -> AsyncIterator[Any]:
    """Runs a command in a sandbox whose network is a proxy to *allow*."""
    async with open_spawner("off") as spawner:
        sandbox = await probe(spawner, "auto", layers=("bubblewrap",))
        if not sandbox.isolated:
            pytest.skip(f"no bubblewrap here: {sandbox.reason}")
        home = Path(tempfile.mkdtemp(prefix="egress-test-"))
        try:
            await sandbox.hand_over(home)
            async with scene.proxy(*allow, uid=sandbox.uid) as egress:

                async def run(*argv: str) -> Completed:
                    profile = Profile(
                        name="build", home=home, cwd=HOME, network="egress", egress=egress.path
                    )
                    command = sandbox.command(profile, argv)
                    return await spawner.run(
                        command.argv, env=command.env, cwd=command.cwd, timeout=PATIENCE
                    )

                yield run
        finally:
            with trio.CancelScope(shield=True):
                await sandbox.remove(home)


async def test_a_sandbox_reaches_what_is_listed_and_nothing_else(scene: Scene) -> None:
    """With the proxy of its environment; without it there is no network at all."""
    url, tunnel = f"http://127.0.0.1:{scene.port}/", ("--proxytunnel",)
    async with boxed(scene, scene.server) as run:
        done = await run(*CURL, *tunnel, url)
        assert done.stdout == b"hello 200 200\n", done.stderr
        assert (await run(*CURL, url)).stdout == b"hello 000 200\n"
        done = await run(*CURL, *tunnel, "http://elsewhere.test/")
        assert b" 403 " in done.stdout
        done = await run(*CURL, "--noproxy", "*", url)
        assert done.returncode == 7, "there must be no way around the proxy"
        done = await run(*CURL, *tunnel, f"{url}900000")
        assert len(done.stdout) == 900_000 + len(" 200 200\n")
    assert ("egress.refused", "elsewhere.test:80") in scene.whats()


async def test_the_program_is_the_sandboxes_own(scene: Scene) -> None:
    """Its status and signals are its own, and the shim is nobody it would wait for."""
    script = "import os\ntry: os.wait()\nexcept ChildProcessError: print('alone')"
    async with boxed(scene) as run:
        assert (await run("sh", "-c", "exit 7")).returncode == 7
        assert (await run("python3", "-c", script)).stdout == b"alone\n"
        done = await run("/nowhere/program")
        assert done.returncode == 127
        assert b"/nowhere/program: No such file" in done.stderr


async def test_many_connections_at_once(scene: Scene) -> None:
    """As a resolver opens them."""
    async with boxed(scene, scene.server) as run:
        many = [f"http://127.0.0.1:{scene.port}/{size}" for size in range(1000, 1060)]
        done = await run("curl", "-sS", "--parallel", "--parallel-max", "60", "-p", *many)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout) == sum(range(1000, 1060))
