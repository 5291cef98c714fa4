"""A whole appliance in this process, and the real command-line tool beside it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import trio

import appliance
from appliance.boot import Running
from appliance.kernel.http.client import Client, Response
from tests.nats_server import NatsServer, running_server


@dataclass(frozen=True)
class Completed:
    """How one command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed with ``--output json``."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Desk:
    """A person's desk: an appliance that runs, a shell, and a browser of sorts."""

    running: Running
    home: str

    async def cli(self, *words: object, env: dict[str, str] | None = None) -> Completed:
        """Run ``appliance WORDS``, as a person would."""
        argv = [sys.executable, "-m", "appliance", "--api", self.running.endpoints.api]
        done = await trio.run_process(
            [*argv, *(str(word) for word in words)],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env={"PATH": os.environ["PATH"], "HOME": self.home, **(env or {})},
        )
        return Completed(done.returncode, done.stdout.decode(), done.stderr.decode())

    async def get(self, host: str, path: str = "/") -> Response:
        """Ask the router for *host*."""
        client: Client = self.running.kit.http
        url = self.running.endpoints.apps + path
        return await client.request("GET", url, headers={"Host": host})


@pytest.fixture
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """An appliance on free ports, gone after the test."""
    async with appliance.running() as running:
        yield Desk(running, str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server that runs, and may be killed and started by the test."""
    yield from running_server(tmp_path_factory.mktemp("nats"))


def children() -> set[int]:
    """Processes that this one has, at any depth."""
    import psutil

    return {child.pid for child in psutil.Process().children(recursive=True)}


def mounts() -> int:
    """How many file systems are mounted."""
    with open("/proc/self/mountinfo") as table:
        return len(table.readlines())


__all__ = ["Completed", "Desk", "children", "mounts"]
