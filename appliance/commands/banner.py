"""What `up` says when it is ready: where everything is, and what to type next. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import click

from appliance.endpoints import Endpoints

NOT_ISOLATED = "NOT ISOLATED"


def banner(
    endpoints: Endpoints, notes: Sequence[str] = (), *, domain: str = "apps.localhost"
) -> str:
    """Aligned lines, a warning for each of *notes*, and lines to copy.

    *domain* is the one that apps get their names in.
    """
    whole = not endpoints.only
    port = endpoints.apps.rpartition(":")[2]
    lines = [
        ("Rooms", ", ".join(endpoints.only)),
        ("API", endpoints.api),
        ("Apps", f"http://NAME.{domain}:{port}" if port else ""),
        ("Registry", endpoints.registry),
        ("Files", endpoints.files),
        ("Packages", endpoints.package_cache),
        ("SSH", endpoints.ssh),
        ("NATS", endpoints.nats),
        ("Archivers", "" if whole else ", ".join(endpoints.archivers)),
        ("Login", f"{endpoints.user} / {endpoints.password}" if endpoints.user else ""),
        ("State", endpoints.state or "in memory, gone at exit (keep it with --state DIR)"),
        ("Sandbox", _sandbox(endpoints.sandbox)),
    ]
    shown = [(name, value) for name, value in lines if value]
    width = max(len(name) for name, _ in shown)
    told = [f"  {name:<{width}}  {value}" for name, value in shown]
    warnings = [click.style(f"  ! {note}", fg="yellow") for note in notes]
    title = click.style(f"appliance {endpoints.version} is ready", bold=True)
    told += _block(warnings)
    # Where the API is not, there is nobody to push to.
    if whole or "controller" in endpoints.only:
        told += _block(next_lines(endpoints))
    return "\n".join([title, "", *told, ""])


def next_lines(endpoints: Endpoints) -> list[str]:
    """Commands that can be copied as they are."""
    return [
        "  appliance push hello sample_apps/python-hello",
        f"  cf api {endpoints.api} && "
        f"cf login -u {endpoints.user} -p {endpoints.password} -o dev -s dev",
    ]


def _sandbox(sandbox: str) -> str:
    if sandbox.startswith(NOT_ISOLATED):
        return click.style(sandbox, fg="red", bold=True)
    return sandbox


def _block(lines: Sequence[str]) -> list[str]:
    return ["", *lines] if lines else []
