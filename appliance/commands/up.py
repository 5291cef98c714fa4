"""``appliance up``: starts the appliance in this process, and ends it well."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
import trio

from appliance import endpoints as endpoints_file
from appliance import settings
from appliance.boot import Bound, bind_sockets, running
from appliance.commands.banner import NOT_ISOLATED, banner
from appliance.commands.pid_file import pid_file
from appliance.commands.screen import Screen, output
from appliance.commands.systemd import notify
from appliance.config import Config
from appliance.endpoints import Endpoints
from appliance.kernel.process.cgroups import into_leaf
from appliance.kernel.process.namespace import enter_own_pid_namespace
from appliance.kernel.trace import Event

#: Shown even without --verbose: somebody should look at these.
FAULTS = ("room.failed", "room.restarted", "room.given-up", "handler.failed")


@dataclass(frozen=True, kw_only=True)
class Manners:
    """How `up` behaves, apart from the appliance's settings."""

    files: tuple[Path, ...]  # endpoints files to write
    quiet: bool = False
    verbose: bool = False
    notes: tuple[str, ...] = ()  # warnings for the banner
    pid: int = 0  # ours, as seen from outside of the namespace
    confined: bool = False  # in a PID namespace of our own


@click.command()
@click.option("--state", metavar="DIR", help="Keep everything there; else it is gone at exit.")
@click.option("--port", type=int, help="First port of the block (API; apps +80); 0: free ports.")
@click.option(
    "--listen",
    is_flag=False,
    flag_value="0.0.0.0",
    metavar="[ADDRESS]",
    help="Listen there, or everywhere, instead of on this machine alone.",
)
@click.option("--bus", metavar="URL", help="local, or nats://HOST:PORT[,HOST:PORT…].")
@click.option("--only", metavar="ROOMS", help="Start just these: stager,dea.")
@click.option("--controller", metavar="URL", help="The controller, when it runs elsewhere.")
@click.option(
    "--config",
    "-c",
    "file",
    type=click.Path(path_type=Path),
    help="Settings file; also the stager.yml, or a DEA's, of 2012.",
)
@click.option(
    "--sandbox",
    type=click.Choice(["auto", "require", "off"]),
    help="require: refuse to run apps that are not isolated.",
)
@click.option("--quiet", "-q", is_flag=True, help="No banner.")
@click.option("--verbose", "-v", is_flag=True, help="Show every event on stderr.")
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path),
    help="Write the endpoints there, too, when ready; removed at exit.",
)
@click.option("--no-own-pidns", is_flag=True, help="Stay in this PID namespace.")
@output
def up(
    screen: Screen,
    state: str | None,
    port: int | None,
    listen: str | None,
    bus: str | None,
    only: str | None,
    controller: str | None,
    file: Path | None,
    sandbox: str | None,
    quiet: bool,
    verbose: bool,
    ready_file: Path | None,
    no_own_pidns: bool,
) -> int:
    """Start the appliance, and run it until Ctrl-C.

    Ctrl-C or SIGTERM stops the apps, then the rooms; a second one ends everything at once.
    """
    # Whoever's umask is loose does not mean that others may write into our state.
    os.umask(os.umask(0o022) | 0o022)
    flags = {
        "state": state,
        "port": port,
        "listen": listen,
        "bus": bus,
        "only": only,
        "controller_url": controller,
        "sandbox": sandbox,
        "verbose": verbose or None,
    }
    loaded = settings.load(file=file, environ=os.environ, flags=flags)
    config = loaded.config
    manners = Manners(
        files=tuple(_endpoints_files(config, ready_file)),
        quiet=quiet,
        verbose=config.verbose,
        notes=(*warnings(config), *loaded.notes),
        pid=os.getpid(),
    )
    with pid_file(config.pid_file, manners.pid):
        # Before the namespace is entered: who holds a port or the state is known by its real pid.
        bound = bind_sockets(config)
        return _start(config, bound, manners, screen, own_pidns=not no_own_pidns)


def _endpoints_files(config: Config, ready_file: Path | None) -> Iterator[Path]:
    if config.runs("controller"):
        # Commands look there for the appliance that they talk to, and that is where the API is.
        yield endpoints_file.default_path()
    if config.state is not None:
        yield config.state / endpoints_file.NAME
    if ready_file is not None:
        yield ready_file


def _start(
    config: Config, bound: Bound, manners: Manners, screen: Screen, *, own_pidns: bool
) -> int:
    into_leaf()
    if own_pidns:
        manners = replace(manners, confined=bool(enter_own_pid_namespace()))
    return trio.run(_run, config, bound, manners, screen)


def warnings(config: Config) -> list[str]:
    """What should be said loudly about *config*."""
    said = []
    if config.listen not in ("127.0.0.1", "::1", "localhost"):
        said.append(
            f"It listens on {config.listen}: whoever reaches this machine can run programs on it."
        )
    if config.runs("dea") and config.dea.network == "host":
        said.append(
            "Apps share this machine's network: they can reach the API and the bus "
            '(dea.network = "isolated" keeps them apart).'
        )
    return said


async def _run(config: Config, bound: Bound, manners: Manners, screen: Screen) -> int:
    """Run until a signal; returns the exit status, 0 unless a second signal came."""
    interrupted = 0
    stop = trio.Event()

    def sink(event: Event) -> None:
        if manners.verbose or event.what in FAULTS:
            screen_event(event)

    async with trio.open_nursery() as nursery:

        async def watch(*, task_status: trio.TaskStatus[None]) -> None:
            nonlocal interrupted
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                task_status.started()
                async for number in signals:
                    if stop.is_set():
                        interrupted = 128 + number
                        nursery.cancel_scope.cancel()
                        return
                    notify("STOPPING=1")
                    stop.set()

        await nursery.start(watch)
        async with running(
            config, bound=bound, sinks=[sink], confined=manners.confined, supervised=True
        ) as appliance:
            endpoints = replace(appliance.endpoints, pid=manners.pid)
            try:
                _ready(endpoints, manners, screen, domain=config.controller.app_domain)
                await stop.wait()
                if not manners.quiet:
                    screen.say("\nStopping...")
            finally:
                for path in manners.files:
                    endpoints.remove(path)
        nursery.cancel_scope.cancel()
    return interrupted


def _ready(endpoints: Endpoints, manners: Manners, screen: Screen, *, domain: str) -> None:
    for path in manners.files:
        endpoints.write(path)
    if not manners.quiet:
        notes = manners.notes
        if endpoints.sandbox.startswith(NOT_ISOLATED):
            said = "Apps can do whatever you can. `appliance doctor` says how to isolate them."
            notes = (said, *notes)
        screen.say(banner(endpoints, notes, domain=domain))
    if screen.json:
        # One line: a program reads until the newline and goes on.
        click.echo(json.dumps(endpoints.as_dict()))
    notify("READY=1")


def screen_event(event: Event) -> None:
    """One event on stderr."""
    click.echo(str(event), err=True)
