"""A Cloud Foundry of many processes on this machine: ``make cluster``.

Three NATS servers in a cluster, a controller, and several stagers, archivers, DEAs and routers,
each a process of its own, as on as many machines. Pushes an app, kills one of each, and shows
that the app still answers and that the next push still works. Nothing is left afterwards.

    python examples/cluster.py [--small] [--keep]

It shares no code with the appliance: what it knows of it are commands, settings and URLs.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
APPLIANCE = [sys.executable, "-m", "appliance"]
PATIENCE = 60.0  # seconds for anything to happen
APP = "hello"
HOST = f"{APP}.apps.localhost"
INSTANCES = 2

#: What the processes must agree on, or what lets a show be short.
SHARED = {
    "APPLIANCE_ARCHIVER_PASSWORD": "an-example-and-no-secret",
    "APPLIANCE_ARCHIVERS": "1",  # in each process that has any
    "APPLIANCE_DEA_HEARTBEAT": "0.5",  # seconds; an instance of which no DEA speaks ...
    "APPLIANCE_CONTROLLER_DEA_TIMEOUT": "2",  # ... is lost after so many, ...
    "APPLIANCE_HEALTH_MANAGER_DEA_TIMEOUT": "2.5",  # ... missed after so many, ...
    "APPLIANCE_HEALTH_MANAGER_GRACE": "0.5",  # ... and ordered again after these as well
}


class Failed(Exception):
    """Something did not happen; the sentence says what."""


@dataclass
class Process:
    """One process of the cluster, which can be killed and started again."""

    name: str
    words: list[str]
    env: dict[str, str]
    folder: Path
    ready: Callable[[], bool]
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def start(self) -> None:
        with self.log.open("ab") as log:
            # Not of our session: Ctrl-C is for us, who end them in their order.
            self.process = subprocess.Popen(
                self.words,
                env={**os.environ, **self.env},
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Return when it can be used."""

        def looks_ready() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended:\n{self.log.read_text()[-2000:]}")
            return self.ready()

        until(looks_ready, f"{self.name} is ready")

    def end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait()
            self.process = None

    @property
    def shown(self) -> str:
        """The line to type for the same."""
        own = [
            f"{key}={value}"
            for key, value in self.env.items()
            if key not in SHARED and key.startswith("APPLIANCE_")
        ]
        words = ["appliance", *self.words[3:]] if self.words[:3] == APPLIANCE else self.words
        return " ".join([*own, shlex.join(words)])


@dataclass
class Cluster:
    """All processes, and how to talk to them."""

    folder: Path
    processes: dict[str, Process] = field(default_factory=dict)
    api: str = ""
    routers: dict[str, str] = field(default_factory=dict)  # name: base URL

    def add(self, process: Process) -> Process:
        self.processes[process.name] = process
        return process

    def room(self, name: str, only: str, bus: str, *words: str, **env: str) -> Process:
        """A process with these rooms."""
        ready = self.folder / f"{name}.json"
        words = ("--only", only, "--bus", bus, *words, "--ready-file", ready.name, "--verbose")
        named = {key: value for key, value in env.items() if value}
        return self.add(
            Process(
                name=name,
                words=[*APPLIANCE, "up", *words],
                env={**SHARED, **named, "XDG_RUNTIME_DIR": str(self.folder)},
                folder=self.folder,
                ready=ready.exists,
            )
        )

    def cli(self, *words: str) -> str:
        """Run an ``appliance`` command, as a person would."""
        said = subprocess.run(
            [*APPLIANCE, "--api", self.api, *words],
            env={**os.environ, "XDG_RUNTIME_DIR": str(self.folder)},
            cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        if said.returncode:
            raise Failed(f"appliance {shlex.join(words)}: {said.stdout}{said.stderr}")
        return said.stdout

    def answers(self) -> set[bytes]:
        """What the app says through every router that lives; nothing when one does not lead there.

        Each of its instances says who it is, and a router asks them in turn.
        """
        said: set[bytes] = set()
        for name, url in self.routers.items():
            if self.processes[name].process is None:
                continue
            for _ in range(2 * INSTANCES):
                request = urllib.request.Request(url, headers={"Host": HOST})
                try:
                    with urllib.request.urlopen(request, timeout=5) as answer:
                        said.add(answer.read())
                except OSError:
                    return set()
        return said

    def complete(self) -> bool:
        """Whether all instances have answered."""
        return len(self.answers()) == INSTANCES

    def known(self) -> int:
        """How many instances run, as the controller knows."""
        app = json.loads(self.cli("app", APP, "--output", "json"))
        return sum(one["running"] for one in app["processes"])


def until(happened: Callable[[], object], what: str) -> None:
    """Wait until *happened* says so."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > deadline:
            raise Failed(f"Not within {PATIENCE:g} s: {what}.")
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses at the moment."""
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in opened:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in opened]


def connects(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def nats_servers(cluster: Cluster, program: str, count: int) -> str:
    """Add *count* servers that form one cluster; returns the address of all of them."""
    clients, routes = free_ports(count), free_ports(count)
    peers = ",".join(f"nats://127.0.0.1:{port}" for port in routes)
    for number, (port, route) in enumerate(zip(clients, routes, strict=True), 1):
        words = [program, "-a", "127.0.0.1", "-p", str(port), "-n", f"nats-{number}",
                 "--cluster_name", "cluster", "--cluster", f"nats://127.0.0.1:{route}",
                 "--routes", peers]  # fmt: skip
        cluster.add(
            Process(
                name=f"nats-{number}", words=words, env={}, folder=cluster.folder,
                ready=lambda port=port: connects(port),  # type: ignore[misc]
            )
        )  # fmt: skip
    return "nats://" + ",".join(f"127.0.0.1:{port}" for port in clients)


def make(folder: Path, program: str, *, several: int, deas: int) -> Cluster:
    """A cluster of *several* NATS servers and archivers, *deas* DEAs, and 2 of the others."""
    cluster = Cluster(folder)
    bus = nats_servers(cluster, program, several)
    controller, *ports = free_ports(1 + several)
    cluster.api = f"http://127.0.0.1:{controller}"
    archivers = ",".join(f"http://127.0.0.1:{port}" for port in ports)
    for number, port in enumerate(ports, 1):
        cluster.room(
            f"archiver-{number}", "archiver", bus,
            APPLIANCE_ARCHIVER_BIND=f"127.0.0.1:{port}", APPLIANCE_ARCHIVER_PEERS=archivers,
        )  # fmt: skip
    cluster.room(
        "controller", "controller,health_manager,logs", bus, "--state", "controller-state",
        APPLIANCE_CONTROLLER_BIND=f"127.0.0.1:{controller}",
        APPLIANCE_CONTROLLER_ARCHIVERS=archivers,
    )  # fmt: skip
    for room, count in (("stager", 2), ("dea", deas), ("router", 2)):
        for number in range(1, count + 1):
            words = ("--port", "0", "--controller", cluster.api)
            cluster.room(f"{room}-{number}", room, bus, *words)
    return cluster


@contextmanager
def started(cluster: Cluster) -> Iterator[None]:
    """All processes run in the block, and none afterwards."""
    try:
        for process in cluster.processes.values():
            process.start()
        for process in cluster.processes.values():
            process.wait()
        for name in cluster.processes:
            if name.startswith("router"):
                ready = json.loads((cluster.folder / f"{name}.json").read_text())
                cluster.routers[name] = ready["apps"]
        yield
    finally:
        alive = [one for one in cluster.processes.values() if one.process is not None]
        # The rooms first, side by side; they say goodbye on the bus.
        for wanted in (False, True):
            group = [one for one in alive if one.name.startswith("nats") is wanted]
            for process in group:
                assert process.process is not None
                process.process.terminate()
            for process in group:
                process.end(signal.SIGTERM)


def say(text: str) -> None:
    print(text, flush=True)


def show(cluster: Cluster) -> None:
    """Push, kill one of each, and look after each step."""
    say(f"\n== push {APP}, {INSTANCES} instances of it")
    cluster.cli("push", APP, "sample_apps/python-hello")
    cluster.cli("scale", APP, "-i", str(INSTANCES))
    until(cluster.complete, "both instances answer through both routers")
    say(f"   it answers at {', '.join(cluster.routers.values())} (Host: {HOST})")
    for kind in ("nats", "stager", "archiver", "router", "dea"):
        victim = cluster.processes[f"{kind}-1"]
        victim.end(signal.SIGKILL)
        began = time.monotonic()
        until(cluster.answers, f"the app answers without {victim.name}")
        said = f"== killed {victim.name}: it answers"
        if kind == "dea":
            until(cluster.complete, "all instances answer again")
            said += f", and with {INSTANCES} instances after {time.monotonic() - began:.1f} s"
        elif kind != "router":  # pushing does not need one
            cluster.cli("push", f"after-{kind}", "sample_apps/python-hello")
            said += ", and another push works"
        say(said)
    controller = cluster.processes["controller"]
    controller.end(signal.SIGKILL)
    until(cluster.answers, "the app answers without its controller")
    say("== killed the controller: it answers")
    (cluster.folder / "controller.json").unlink()
    controller.start()
    controller.wait()
    until(lambda: cluster.known() == INSTANCES, "the controller knows its app again")
    say("== started it again: it knows its apps and their instances")


def interrupted(_number: int, _frame: object) -> None:
    """Leave what we are in, whatever it is; the context managers end the processes."""
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="two of each instead of three")
    parser.add_argument("--keep", action="store_true", help="go on until Ctrl-C, kill nothing")
    said = parser.parse_args()
    program = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")
    if program is None:
        print("nats-server is not installed: apt-get install nats-server", file=sys.stderr)
        return 2
    most, status = 2 if said.small else 3, 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    with tempfile.TemporaryDirectory(prefix="appliance-cluster-") as folder:
        cluster = make(Path(folder), program, several=most, deas=most)
        say("\n".join(f"{f'{key}={value}':<44} # for all" for key, value in SHARED.items()))
        say("\n".join(f"{one.name:<12} {one.shown}" for one in cluster.processes.values()))
        began = time.monotonic()
        try:
            with started(cluster):
                count = len(cluster.processes)
                say(f"\n== {count} processes are ready after {time.monotonic() - began:.1f} s")
                if said.keep:
                    say(f"   appliance --api {cluster.api} push {APP} sample_apps/python-hello")
                    say("   Ctrl-C ends it")
                    signal.pause()
                else:
                    show(cluster)
        except Failed as failed:
            print(failed, file=sys.stderr)
            for process in cluster.processes.values():
                said_last = process.log.read_text(errors="replace")[-1500:]
                print(f"-- {process.name}\n{said_last}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            status = 130
    say("== all have ended")
    return status


if __name__ == "__main__":
    sys.exit(main())
