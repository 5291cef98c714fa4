"""The ``appliance`` command: which commands there are, and how an error leaves the process.

Nothing here imports more than click: a command's module is loaded when it is asked for, so
``appliance --version`` answers at once.

Exit codes: 0 done · 1 failed · 2 wrong usage · 10s settings and sandbox · 20s staging · 30s
storage · 40s running · 69 nobody answers, or a port is taken · 75 not ready in time · 78 bad
settings · 130 interrupted.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import click
from click.shell_completion import CompletionItem

from appliance import __version__
from appliance.commands.target import Wanted
from appliance.kernel.errors import ApplianceError

INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it

#: Name, module below `appliance.commands`, and the line in the list of commands.
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("up", "Start the appliance, and run it until Ctrl-C."),
    "push": ("push", "Push the app in PATH, stage it, start it, and wait until it answers."),
    "apps": ("apps", "List the apps of the space."),
    "app": ("apps", "Show one app: its routes, its droplet and its instances."),
    "logs": ("logs", "Show the recent log of an app, and follow it with -f."),
    "scale": ("scale", "Change the number of instances, memory or disk of an app."),
    "start": ("lifecycle", "Start an app, and wait until an instance runs."),
    "stop": ("lifecycle", "Stop an app."),
    "restart": ("lifecycle", "Stop an app if it runs, start it, and wait until an instance runs."),
    "delete": ("delete", "Delete an app and the routes that lead to nothing else."),
    "routes": ("routes", "List the routes of the space, and where they lead."),
    "droplets": ("droplets", "List the droplets of an app, the newest first."),
    "trace": ("trace", "Show what the last push of an app made every room do."),
    "bus": ("bus", "Watch the bus between the rooms, and speak on it."),
    "doctor": ("doctor", "Check what this machine has for running the appliance."),
    "config": ("config", "Show the settings."),
    "wait": ("wait", "Wait until the appliance is ready."),
    "demo": ("demo", "Start an appliance, push a sample app, show all of it, and stop."),
    "version": ("version", "Show the version."),
    "completion": ("completion", "Print the completion script of a shell."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used; their list is in `COMMANDS`."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Names in the order of use, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """The command *name*, imported now."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"appliance.commands.{COMMANDS[name][0]}")
        command = getattr(module, name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, without importing all of it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Completions of a command's name, without importing any."""
        names = [
            CompletionItem(name, help=line)
            for name, (_, line) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click, with the nearest name for one that does not exist."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
            more = f" Did you mean {near[0]}?" if near else ""
            ctx.fail(f"There is no command {name}.{more}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="appliance", message="%(prog)s %(version)s")
@click.option(
    "--api", default="", metavar="URL", help="The appliance to talk to; else APPLIANCE_API, else "
    "the one that runs here."
)  # fmt: skip
@click.option("--org", default="", help="Organization; else APPLIANCE_ORG, else dev.")
@click.option("--space", default="", help="Space; else APPLIANCE_SPACE, else dev.")
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    help="auto: on a terminal, unless NO_COLOR is set.",
)
@click.pass_context
def cli(ctx: click.Context, api: str, org: str, space: str, color: str) -> None:
    """A small Cloud Foundry in one process.

    `appliance up` starts it; `appliance push NAME` pushes the app in the current folder.
    """
    if color == "never":
        os.environ["NO_COLOR"] = "1"
    elif color == "always":
        os.environ.pop("NO_COLOR", None)
        os.environ["FORCE_COLOR"] = "1"
    ctx.obj = Wanted(api=api, org=org, space=space)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a user error becomes two lines on stderr and an exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        result = cli.main(arguments, prog_name="appliance", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as exc:
        return _report(exc, json_wanted=wants_json(arguments))
    return result if isinstance(result, int) else 0


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether ``--output json`` was given, even where the rest cannot be understood."""
    return "--output=json" in arguments or ("--output", "json") in pairwise(arguments)


def user_error(exc: BaseException) -> ApplianceError | click.ClickException | None:
    """The one error that *exc* is about, when it is one for the user; else it is a bug."""
    errors = list(_leaves(exc))
    for kind in (ApplianceError, click.ClickException):
        if errors and all(isinstance(error, kind | KeyboardInterrupt) for error in errors):
            return next((error for error in errors if isinstance(error, kind)), None)
    return None


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    """The errors inside of *exc*: nurseries raise groups, even of one."""
    if isinstance(exc, BaseExceptionGroup):
        for one in exc.exceptions:
            yield from _leaves(one)
    else:
        yield exc


def _report(exc: BaseException, *, json_wanted: bool) -> int:
    errors = list(_leaves(exc))
    if all(isinstance(one, click.Abort | KeyboardInterrupt) for one in errors):
        return INTERRUPTED
    if all(isinstance(one, BrokenPipeError) for one in errors):
        # The reader of our pipe has gone, as `head` does: what is left is for nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    error = user_error(exc)
    if error is None:
        raise exc  # a bug: let it show
    if json_wanted:
        click.echo(json.dumps({"error": described(error)}, indent=2))
        return int(error.exit_code)
    if isinstance(error, click.ClickException):
        error.show()
        return int(error.exit_code)
    for line in getattr(error, "logs", ()):
        click.echo(f"   {line}", err=True)
    click.echo(f"appliance: {error}", err=True)
    if error.hint:
        click.echo(f"  hint: {error.hint}", err=True)
    return int(error.exit_code)


def described(error: ApplianceError | click.ClickException) -> dict[str, Any]:
    """*error* for programs; ``code`` never changes once released."""
    if isinstance(error, click.ClickException):
        return {"code": "usage", "message": error.format_message(), "exit_code": error.exit_code}
    told = {"code": error.code, "message": str(error), "exit_code": error.exit_code}
    if error.hint:
        told["hint"] = error.hint
    more = ("phase", "logs", "still_running")
    return told | {name: getattr(error, name) for name in more if hasattr(error, name)}
