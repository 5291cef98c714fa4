"""``appliance version``."""

from __future__ import annotations

import platform

import click

from appliance import __version__
from appliance.commands.screen import Screen, output


@click.command()
@output
def version(screen: Screen) -> None:
    """Show the version."""
    screen.say(f"appliance {__version__}")
    screen.result(
        {
            "version": __version__,
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
        }
    )
