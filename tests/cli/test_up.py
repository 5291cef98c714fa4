"""`up` and `demo`, in processes of their own, as people start them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
TIMEOUT = 60  # seconds for anything here

Start = Callable[..., "Appliance"]


@dataclass
class Appliance:
    """A running `appliance up`."""

    process: subprocess.Popen[str]
    environ: dict[str, str]
    endpoints: dict[str, Any]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return command(self.environ, *arguments)

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT)


def command(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "appliance", *arguments],
        capture_output=True,
        text=True,
        env=environ,
        cwd=PROJECT,
        timeout=TIMEOUT,
        check=False,
    )


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A machine on which nothing runs yet."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("APPLIANCE_")}
    return kept | {"XDG_RUNTIME_DIR": str(tmp_path / "runtime")}


@pytest.fixture
def start(environ: dict[str, str]) -> Iterator[Start]:
    """Starts an appliance on free ports; returns when it has said where it is."""
    started: list[subprocess.Popen[str]] = []

    def up(*arguments: str) -> Appliance:
        process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "up", "--port=0", "--output=json", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
            cwd=PROJECT,
        )
        started.append(process)
        assert process.stdout is not None
        return Appliance(process, environ, json.loads(process.stdout.readline()))

    yield up
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(TIMEOUT)
        assert process.stdout is not None
        process.stdout.close()


def test_it_is_found_used_and_ends_without_a_trace(
    start: Start, environ: dict[str, str], tmp_path: Path
) -> None:
    """One JSON line with the endpoints; a file by which commands find it; gone at the end."""
    ready = tmp_path / "ready.json"
    appliance = start("--ready-file", str(ready))
    file = tmp_path / "runtime" / "appliance" / "endpoints.json"
    assert json.loads(file.read_text()) == json.loads(ready.read_text()) == appliance.endpoints
    # The process that we see, though it works in a namespace of its own.
    assert appliance.endpoints["pid"] == appliance.process.pid

    assert appliance.command("wait", "--timeout", "10").returncode == 0
    assert json.loads(appliance.command("apps", "--output", "json").stdout) == {"apps": []}

    assert appliance.end(signal.SIGTERM) == 0
    assert not file.exists()
    assert not ready.exists()
    gone = appliance.command("apps")
    assert gone.returncode == 69
    assert "Start one with `appliance up`" in gone.stderr


def test_a_killed_one_is_reported_as_ended(start: Start) -> None:
    """Its file stays behind, and misleads nobody."""
    appliance = start()
    appliance.end(signal.SIGKILL)
    done = appliance.command("apps")
    assert done.returncode == 69
    assert f"(pid {appliance.process.pid}) has ended." in done.stderr


def test_a_taken_port_names_its_holder(environ: dict[str, str]) -> None:
    """Exit code 69; nothing goes on half-bound."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        bind = f"127.0.0.1:{holder.getsockname()[1]}"
        done = command(environ | {"APPLIANCE_ROUTER_BIND": bind}, "up", "--output", "json")
    assert done.returncode == 69
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "port-taken"
    assert f"{bind} is taken by pid {os.getpid()}" in error["message"]


def test_a_setting_that_is_none_is_78(environ: dict[str, str]) -> None:
    """Before anything is opened."""
    done = command(environ | {"APPLIANCE_DEAS": "0"}, "up")
    assert done.returncode == 78
    assert "deas = 0: must be at least 1" in done.stderr


def test_the_demo_shows_all_of_it(environ: dict[str, str]) -> None:
    """Log of the task, both copies of the droplet, the answer, and who spoke to whom."""
    done = command(environ, "demo", "--output", "json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert "Hello from Python, instance 0" in shown["answer"]
    assert len(shown["archivers"]) == 2
    assert {"cli", "controller", "stager", "archiver-0", "dea"} <= {
        event["data"].get("sender") or event["room"] for event in shown["events"]
    }
