"""An appliance as a process of its own, as ``appliance up`` starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

APPLIANCE = str(Path(sys.executable).with_name("appliance"))


@dataclass(frozen=True)
class Up:
    """An appliance that is ready."""

    pid: int
    endpoints: dict[str, Any]
    first_answer: float  # seconds from spawn to the first answer of the API
    ready: float  # seconds from spawn until all rooms are ready

    def memory(self) -> float:
        """MB of the process and its children, shared pages counted once (PSS)."""
        import psutil

        family = [psutil.Process(self.pid)]
        family += family[0].children(recursive=True)
        return sum(member.memory_full_info().pss for member in family) / 1e6


def free_port() -> int:
    """A port that is free now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_block() -> int:
    """The first of a hundred ports that are all free now."""
    import socket

    for first in range(10_000, 20_000, 100):
        try:
            for port in range(first, first + 100):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise SystemExit("no block of a hundred ports is free")


@contextmanager
def up(*options: str) -> Iterator[Up]:
    """Run ``appliance up`` until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        ready_file = Path(folder) / "ready"
        # A known API port, so that it can be asked before the banner is printed.
        port = free_block()
        began = time.perf_counter()
        process = subprocess.Popen(
            [APPLIANCE, "up", "--port", str(port), "--quiet", "--ready-file", str(ready_file),
             *options],
            env=os.environ | {"HOME": folder, "XDG_RUNTIME_DIR": folder},
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/", process)
            first = time.perf_counter() - began
            while not ready_file.exists() or not ready_file.read_text():
                time.sleep(0.001)
            ready = time.perf_counter() - began
            endpoints = json.loads((Path(folder) / "appliance" / "endpoints.json").read_text())
            yield Up(process.pid, endpoints, first, ready)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def wait_for(url: str, process: subprocess.Popen[bytes], **headers: str) -> None:
    """Return when *url* answers 200."""
    while True:
        if process.poll() is not None:
            raise SystemExit(f"it ended with status {process.returncode}")
        try:
            with urlopen(Request(url, headers=headers), timeout=30) as answer:
                if answer.status == 200:
                    return
        except (HTTPError, URLError, ConnectionError):
            time.sleep(0.001)
