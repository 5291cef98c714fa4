"""``appliance trace``: the last push of an app, as its rooms saw it."""

from __future__ import annotations

import os

import click

from appliance.commands import sequence
from appliance.commands.api import Api, Json, with_api
from appliance.commands.errors import ApiError, NotFoundInTrace
from appliance.commands.screen import Screen
from appliance.commands.target import Wanted, find


@click.command()
@click.argument("name", required=False)
@click.option("--id", "trace_id", metavar="ID", help="This push, instead of an app's last one.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "json"]),
    default="text",
    help="mermaid draws a sequence diagram; json gives the events themselves.",
)
@click.option("--output", type=click.Choice(["text", "json"]), help="json: as --format json.")
@click.pass_obj
def trace(
    wanted: Wanted, name: str | None, trace_id: str | None, form: str, output: str | None
) -> None:
    """Show what the last push of an app made every room do."""
    if bool(name) == bool(trace_id):
        raise click.UsageError("Name an app, or a push with --id.")
    screen = Screen(json="json" in (form, output))
    target = find(wanted, os.environ)

    async def work(api: Api) -> Json:
        return await fetch(api, {"app": name} if name else {"trace": str(trace_id)})

    found = with_api(target, work)
    screen.result(found)
    for line in drawn(found, form, about=name or "a push"):
        screen.say(line)


async def fetch(api: Api, which: dict[str, str]) -> Json:
    """The events of one push. Raises NotFoundInTrace."""
    try:
        found: Json = await api.get("/_appliance/trace", **which)
    except ApiError as error:
        if error.http != 404:
            raise
        found = {"events": []}
    if not found["events"]:
        raise NotFoundInTrace(
            f"The trace has no push of {' '.join(which.values())}.",
            hint="It keeps the last events only (trace_events), and none from before a restart.",
        )
    return found


def drawn(found: Json, form: str, *, about: str) -> list[str]:
    """The picture of *found*, line by line."""
    steps = sequence.steps(found["events"])
    if form == "mermaid":
        return sequence.mermaid(steps)
    took = max((step.at for step in steps), default=0)
    head = f"Push of {about}: {len(steps)} steps in {took:.0f} ms, trace {found['trace']}"
    return [click.style(head, bold=True), "", *sequence.text(steps)]
