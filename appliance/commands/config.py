"""``appliance config show``: every setting, its value, and where it was set."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from appliance import settings
from appliance.commands.screen import Screen, output, table

SECRET = ("password", "secret", "token")  # ends of keys whose values are not shown


@click.group()
def config() -> None:
    """Show the settings."""


@config.command()
@click.option("--config", "file", type=click.Path(path_type=Path), help="Read this file.")
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@output
def show(screen: Screen, file: Path | None, origin: bool) -> None:
    """Every setting, by key, as `up` would use it."""
    rows = settings.load(file=file, environ=os.environ, flags={}).rows()
    lines = [(key, f"= {shown(key, value)}", f"# {said}" * origin) for key, value, said in rows]
    for line in table(lines):
        screen.say(line)
    screen.result(
        {
            key: {"value": plain(key, value), "origin": said} if origin else plain(key, value)
            for key, value, said in rows
        }
    )


def shown(key: str, value: object) -> str:
    """*value* as TOML would have it; a secret only whether it is set."""
    value = plain(key, value)
    if isinstance(value, dict):
        pairs = ", ".join(f"{name} = {json.dumps(one)}" for name, one in value.items())
        return f"{{ {pairs} }}"
    return '""' if value is None else json.dumps(value)


def plain(key: str, value: Any) -> Any:
    """*value* in JSON's types."""
    if key.endswith(SECRET) and value:
        return "********"
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    return value
