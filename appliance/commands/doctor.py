"""``appliance doctor``: what this machine has, and what to do where it lacks something."""

from __future__ import annotations

import os
from pathlib import Path

import click
import trio

from appliance import endpoints, settings
from appliance.commands import checks, target
from appliance.commands.api import connected
from appliance.commands.checks import Check, Result
from appliance.commands.screen import Screen, output
from appliance.commands.target import Wanted
from appliance.config import Config
from appliance.kernel.errors import ApplianceError
from appliance.kernel.process.spawner import open_spawner

COLORS: dict[Result, str] = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option("--config", "file", type=click.Path(path_type=Path), help="Settings file.")
@click.option("--state", metavar="DIR", help="Look at this state folder, too.")
@output
def doctor(screen: Screen, file: Path | None, state: str | None) -> int:
    """Check what this machine has for running the appliance.

    Each line says how it is and why; the exit code is 1 when something has to be mended.
    """
    config = settings.load(file=file, environ=os.environ, flags={"state": state}).config
    found = trio.run(examine, config)
    failed = any(check.result == "fail" for check in found)
    screen.result({"ok": not failed, "checks": [check.as_dict() for check in found]})
    show(screen, found)
    return 1 if failed else 0


async def examine(config: Config) -> list[Check]:
    """Every check, the quick ones first."""
    file, running = checks.running_appliance(endpoints.default_path())
    found = [
        file,
        *checks.ports(config, running),
        checks.name_resolution(config.controller.app_domain),
        checks.disk_space(config),
    ]
    if folder := checks.state_folder(config):
        found.append(folder)
    found.append(await checks.sandbox(config))
    found += checks.runtimes()
    if running is not None:
        found.append(await asked_in_vain())
    async with open_spawner("off") as spawner:
        found.append(await checks.cf_cli(spawner, os.environ))
    return found


async def asked_in_vain() -> Check:
    """What the running appliance was asked for and does not have."""
    try:
        async with connected(target.find(Wanted(), os.environ)) as api:
            info = await api.get("/_appliance/info")
    except ApplianceError as error:
        return Check(name="the API", result="fail", why=str(error), fix=error.hint)
    return checks.unknown_requests(info.get("unknown_requests", []))


def show(screen: Screen, found: list[Check]) -> None:
    """The report, for people."""
    screen.table(
        ("", "check", "finding"),
        [(click.style(c.result, fg=COLORS[c.result]), c.name, c.why) for c in found],
    )
    mend = [check for check in found if check.fix]
    if mend:
        screen.say()
    for check in mend:
        screen.say(f"TIP: {check.name}: {check.fix}")
