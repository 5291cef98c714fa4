"""``appliance push``: what can be asked for, and how the result is told."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from appliance.commands.api import Api, with_api
from appliance.commands.pushing import Pushed, Wish
from appliance.commands.pushing import push as push_app
from appliance.commands.scale import Megabytes
from appliance.commands.screen import Screen, output
from appliance.commands.target import Wanted, find

OWN_PHASES = ("prepare", "upload", "stage", "start", "answer")  # the others are the stager's
TOTAL = "total"


@click.command()
@click.argument("name")
@click.argument("path", type=click.Path(exists=True, path_type=Path), default=".")
@click.option("-i", "--instances", type=click.IntRange(min=0), help="Number of instances.")
@click.option("-m", "--memory", type=Megabytes(), help="Memory of each instance, e.g. 512M.")
@click.option("-k", "--disk", type=Megabytes(), help="Disk of each instance, e.g. 1G.")
@click.option("-c", "--command", help="Start command; default: the one found by staging.")
@click.option("-b", "--buildpack", help="Use this buildpack instead of detecting one.")
@click.option(
    "-t",
    "--timeout",
    type=click.IntRange(min=1),
    metavar="SECONDS",
    help="How long an instance may take to become healthy.",
)
@click.option(
    "--health-check",
    "-u",
    type=click.Choice(["port", "process", "http"]),
    help="What tells that an instance is well: its port, its process, or an endpoint.",
)
@click.option("--endpoint", metavar="PATH", help="Endpoint of the http health check.")
@click.option("--env", "environment", multiple=True, metavar="K=V", help="Set a variable.")
@click.option("--no-route", is_flag=True, help="The app gets no route, and loses those it has.")
@click.option("--random-route", is_flag=True, help="Add random letters to the route's host.")
@click.option("--no-start", is_flag=True, help="Stage, but do not start.")
@output
@click.pass_obj
def push(
    wanted: Wanted,
    screen: Screen,
    name: str,
    path: Path,
    instances: int | None,
    memory: int | None,
    disk: int | None,
    command: str | None,
    buildpack: str | None,
    timeout: int | None,
    health_check: str | None,
    endpoint: str | None,
    environment: Sequence[str],
    no_route: bool,
    random_route: bool,
    no_start: bool,
) -> None:
    """Push the app in PATH, stage it, start it, and wait until it answers.

    Of an app that runs already, the previous version goes on until the new one runs. Files
    that the appliance has seen before are not uploaded again. A .cfignore keeps files back.
    """
    wish = Wish(
        name=name,
        path=path,
        instances=instances,
        memory=memory,
        disk=disk,
        command=command,
        buildpack=buildpack,
        timeout=timeout,
        health_check=health_check,
        endpoint=endpoint,
        environment=variables(environment),
        route=not no_route,
        random_route=random_route,
        start=not no_start,
    )
    target = find(wanted, os.environ)
    screen.doing(
        "Pushing app {app} to {place} as {user}...",
        app=name,
        place=target.place,
        user=target.user,
    )

    async def work(api: Api) -> Pushed:
        return await push_app(api, wish, screen)

    pushed = with_api(target, work)
    screen.result(pushed.as_dict())
    tell(screen, pushed, started=wish.start)


def variables(given: Sequence[str]) -> dict[str, str]:
    """``["A=1"]`` as a mapping."""
    pairs = [text.partition("=") for text in given]
    if wrong := [name for name, sign, _ in pairs if not sign or not name]:
        raise click.UsageError(f"--env {wrong[0]} has no value: write --env NAME=VALUE.")
    return {name: value for name, _, value in pairs}


def tell(screen: Screen, pushed: Pushed, *, started: bool) -> None:
    """The result, for people."""
    screen.say()
    screen.ok()
    screen.say()
    screen.facts(
        {
            "name": pushed.app,
            "url": click.style(pushed.url, bold=True) if pushed.url else "none",
            "instances": pushed.instances if started else "not started",
            "detected": pushed.detected,
            "droplet": pushed.droplet_sha1 or pushed.droplet,
            "took": f"{pushed.phases['total']} ms: {breakdown(pushed.phases)}",
        }
    )
    if pushed.status is not None and pushed.status >= 500:
        logs = f"appliance logs {pushed.app}"
        screen.warn(f"\nTIP: it runs, but answers {pushed.status}. See `{logs}`.")
    elif pushed.url and started:
        screen.say(f"\nTIP: curl {pushed.url}")
        screen.say(f"     appliance trace {pushed.app}   # what every room did")


def breakdown(phases: Mapping[str, int]) -> str:
    """``prepare 90, upload 10, stage 62 (fetch 6, …), start 99``, in ms."""
    told = []
    for name in OWN_PHASES:
        if name in phases:
            inner = [f"{key} {ms}" for key, ms in phases.items() if key not in (*OWN_PHASES, TOTAL)]
            more = f" ({', '.join(inner)})" if name == "stage" and inner else ""
            told.append(f"{name} {phases[name]}{more}")
    return ", ".join(told)
