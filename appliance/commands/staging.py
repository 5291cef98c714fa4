"""Has a package staged, shows how it goes, and turns a failure into its phase and code."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio

from appliance.commands.api import Api, Json
from appliance.commands.errors import ApiError, PhaseFailed
from appliance.commands.log import LogReader
from appliance.commands.screen import Screen

LOOK_AT_LOG = 0.1  # seconds between two looks for staging lines
POLL = 0.25  # seconds between two looks at the build, for servers that do not hold the first
FAILURE_LINES = 20  # of the staging log, in the error for programs


async def stage(
    api: Api, package_guid: str, app_guid: str, screen: Screen, *, log_from: LogReader | None
) -> Json:
    """Build the package; returns the build when it is STAGED.

    Raises:
      PhaseFailed: with the stager's phase, code, hint and exit code.
    """
    build: Json = await api.post("/v3/builds", {"package": {"guid": package_guid}})
    reader = log_from or LogReader(api, app_guid)
    async with trio.open_nursery() as nursery:
        if not screen.json:
            nursery.start_soon(_show_log, reader, screen)
        while build["state"] == "STAGING":
            asked = trio.current_time()
            build = await api.get(f"/v3/builds/{build['guid']}")
            if build["state"] == "STAGING":
                await trio.sleep_until(asked + POLL)
        nursery.cancel_scope.cancel()
    if not screen.json:
        await _show_new(reader, screen)
    if build["state"] == "FAILED":
        raise failure(build, with_log=screen.json)
    return build


async def skip_old(reader: LogReader) -> None:
    """Note what the log has already: only what comes is shown."""
    with suppress(ApiError):  # said when there should be something to show
        await reader.recent()


async def _show_log(reader: LogReader, screen: Screen) -> None:
    while True:
        if not await _show_new(reader, screen):
            return
        await trio.sleep(LOOK_AT_LOG)


async def _show_new(reader: LogReader, screen: Screen) -> bool:
    """Print the new staging lines; False when there is no log to be had."""
    # Cancelled between reading and printing, lines would be lost: they are noted as seen.
    with trio.CancelScope(shield=True):
        try:
            lines = await reader.new()
        except ApiError as error:
            screen.warn(f"The staging log cannot be shown: {error}")
            return False
        for line in lines:
            if line.source == "STG":
                screen.say(f"   {line.text}")
    return True


def failure(build: Json, *, with_log: bool) -> PhaseFailed:
    """The error of a FAILED build: our controller tells more than V3 has words for."""
    ours: dict[str, Any] = build.get("appliance") or {}
    told = ours.get("failure") or {}
    _, dash, sentence = str(build["error"] or "").partition(" - ")
    message = told.get("why") or (sentence if dash else str(build["error"]))
    log = str(ours.get("task_log") or "").splitlines()[-FAILURE_LINES:]
    return PhaseFailed(
        message,
        phase=told.get("phase", "staging"),
        code=told.get("code", "staging-failed"),
        exit_code=told.get("exit_code", 20),
        hint=told.get("hint", ""),
        logs=log if with_log else [],
    )


def staging_phases(build: Json) -> dict[str, int]:
    """What the stager spent on each phase, in ms; its upload is called ``store`` here."""
    ours = build.get("appliance") or {}
    phases = (ours.get("staging") or {}).get("phases") or {}
    return {
        "store" if name == "upload" else name: round(seconds * 1000)
        for name, seconds in phases.items()
    }
