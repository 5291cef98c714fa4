"""Replaces a running version by a new one; the old one runs until the new one does."""

from __future__ import annotations

from contextlib import suppress

import trio

from appliance.commands.api import Api, Json
from appliance.commands.errors import ApiError, PhaseFailed
from appliance.commands.starting import NO_ROOM_FOR, POLL, TIMEOUT, failure, last_words, verdict
from appliance.kernel.clock import Clock


async def deploy(
    api: Api, app_guid: str, droplet_guid: str, old_process: Json, *, timeout: float = TIMEOUT
) -> str:
    """Roll to the droplet; returns the guid of the process that runs it.

    Raises:
      PhaseFailed: the new version does not run; the deployment has been cancelled.
    """
    wanted = {
        "droplet": {"guid": droplet_guid},
        "strategy": "rolling",
        "relationships": {"app": {"data": {"guid": app_guid}}},
    }
    deployment: Json = await api.post("/v3/deployments", wanted)
    path = f"/v3/deployments/{deployment['guid']}"
    process = str(deployment["new_processes"][0]["guid"])
    since = Clock().time_ns()
    began = trio.current_time()
    without_room: float | None = None
    while True:
        # Held by the server until it is over, or until an instance has crashed.
        asked = trio.current_time()
        deployment = await api.get(path)
        if deployment["status"]["value"] == "FINALIZED":
            break
        stats: list[Json] = await _stats(api, process)
        now = trio.current_time()
        crashed = any(one["state"] == "CRASHED" for one in stats)
        no_room = bool(stats) and verdict(stats) == "no-room"
        without_room = (without_room or now) if no_room else None
        if crashed or (without_room is not None and now - without_room > NO_ROOM_FOR):
            why = await failure(api, app_guid, stats, since)
            raise await _cancelled(api, path, old_process, why)
        if now - began > timeout:
            late = PhaseFailed(
                f"The new version did not run within {timeout:g} s.",
                phase="start",
                code="start-timed-out",
                exit_code=40,
                logs=await last_words(api, app_guid, since),
            )
            raise await _cancelled(api, path, old_process, late)
        await trio.sleep_until(asked + POLL)
    reason = deployment["status"]["reason"]
    if reason != "DEPLOYED":
        raise PhaseFailed(
            f"The deployment has been {str(reason).lower()} by somebody else.",
            phase="start",
            code="deployment-replaced",
            exit_code=40,
            still_running=True,
        )
    return process


async def _stats(api: Api, process: str) -> list[Json]:
    try:
        found: list[Json] = (await api.get(f"/v3/processes/{process}/stats"))["resources"]
    except ApiError as error:
        if error.http == 404:  # the deployment ended meanwhile, and its process with it
            return []
        raise
    return found


async def _cancelled(api: Api, path: str, old_process: Json, why: PhaseFailed) -> PhaseFailed:
    """Go back to the previous version; *why*, and whether that one runs."""
    # It may have ended by itself since we looked; then there is nothing to cancel.
    with suppress(ApiError):
        await api.post(f"{path}/actions/cancel")
    stats = await _stats(api, old_process["guid"])
    why.still_running = any(one["state"] == "RUNNING" for one in stats)
    if why.still_running:
        why.args = (f"{why} The previous version is still running.",)
    return why
