"""Archivers that are started and killed, and users who remember what was acknowledged."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import trio

from appliance.kernel.http.client import Client
from appliance.kernel.http.errors import HttpFailed
from tests.crash.node import PASSWORD

HERE = Path(__file__).parents[2]
LARGEST = 200_000  # bytes of a droplet; the smallest have 100


@dataclass(frozen=True)
class Acknowledged:
    """A droplet that *url* has said 200 to."""

    url: str
    app: str
    sha1: str
    sha256: str

    def at(self, url: str) -> str:
        """Where *url* should have it."""
        return f"{url}/droplets/{self.app}/{self.sha1}"


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def url_of(port: int) -> str:
    """The base URL with credentials."""
    return f"http://archiver:{PASSWORD}@127.0.0.1:{port}"


class Process:
    """One archiver. It may be killed at any time, and started after that."""

    def __init__(self, parent: trio.Process, url: str, root: Path) -> None:
        assert parent.stdout is not None
        assert parent.stdin is not None
        self.url, self.root = url, root
        self.boots: list[float] = []  # seconds until each was ready
        self._parent, self._out, self._in = parent, parent.stdout, parent.stdin
        self._buffer = b""
        self._pid = 0

    async def start(self, *, wait: bool = True) -> None:
        """Start it; return when it is ready, or at once."""
        began = trio.current_time()
        await self._in.send_all(b"start\n")
        self._pid = int(await self._line())
        if wait:
            line = await self._line()
            assert line == b"ready", f"the archiver said {line!r}"
            self.boots.append(trio.current_time() - began)

    async def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it, and return when it has ended."""
        os.kill(self._pid, how)
        while await self._line() != b"ended":
            pass

    async def _line(self) -> bytes:
        with trio.fail_after(60):
            while b"\n" not in self._buffer:
                data = await self._out.receive_some()
                assert data, "the archiver's parent has ended"
                self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


@asynccontextmanager
async def process(root: Path, port: int, peer: int, *without: str) -> AsyncIterator[Process]:
    """An archiver at *port* that is not started yet, and ended with the context."""
    command = [sys.executable, "-m", "tests.crash.node", root, f"127.0.0.1:{port}"]
    async with trio.open_nursery() as nursery:
        parent = await nursery.start(
            partial(
                trio.run_process,
                [*map(str, command), f"http://127.0.0.1:{peer}", *without],
                cwd=HERE,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                check=False,
            )
        )
        try:
            yield Process(parent, url_of(port), root)
        finally:
            parent.kill()  # its child follows
            nursery.cancel_scope.cancel()


@dataclass
class Users:
    """Several who store droplets as fast as they are answered, until cancelled."""

    seed: int
    client: Client
    acknowledged: list[Acknowledged] = field(default_factory=list)
    refused: int = 0

    async def store(self, urls: list[str], number: int) -> None:
        """Be user *number*."""
        rng = Random(f"{self.seed}-{number}")
        while True:
            data = rng.randbytes(rng.randint(100, rng.choice([1_000, 20_000, LARGEST])))
            url = rng.choice(urls)
            sha1, sha256 = hashlib.sha1(data).hexdigest(), hashlib.sha256(data).hexdigest()
            droplet = Acknowledged(url, f"app-{number}", sha1, sha256)
            try:
                answer = await self.client.request(
                    "POST", droplet.at(url), content=data, timeout=5.0
                )
            except HttpFailed:
                self.refused += 1
                await trio.sleep(0.005)
                continue
            assert answer.status == 200, answer.text
            self.acknowledged.append(droplet)
