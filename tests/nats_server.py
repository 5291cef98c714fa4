"""A real nats-server for tests; they are skipped where it is not installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE = 10.0  # seconds until a server must have started


class NatsServer:
    """A real nats-server on a free port, which it keeps when it is started again."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = -1  # the server picks a free one
        self.config = ""  # of the next start

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it listens."""
        config = self._folder / "nats.conf"
        config.write_text(self.config)
        ports = self._folder / f"ports-{time.monotonic_ns()}"
        ports.mkdir()
        options = ["-c", str(config), "-a", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(
            [self._program, *options, "--ports_file_dir", str(ports)], stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for file in ports.glob("*.ports"):
                try:
                    self.port = int(json.loads(file.read_text())["nats"][0].rpartition(":")[2])
                except ValueError:
                    continue  # only half written
                return
            time.sleep(0.005)
        raise TimeoutError("nats-server wrote no ports file")

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def running_server(folder: Path) -> Iterator[NatsServer]:
    program = shutil.which("nats-server")
    if program is None:
        pytest.skip("nats-server is not installed")
    server = NatsServer(program, folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
