"""Waits until an app's instances run, or says why they do not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from appliance.commands.api import Api, Json
from appliance.commands.errors import ApiError, PhaseFailed
from appliance.commands.log import LogReader
from appliance.kernel.clock import Clock

TIMEOUT = 300.0  # seconds for an app to start, as cf's CF_STARTUP_TIMEOUT
NO_ROOM_FOR = 3.0  # seconds that an app may find no room before we give up
POLL = 0.1  # seconds between two looks; the server waits too, while there is nothing to say
LAST_WORDS = 10  # lines of the log that are shown with a failure


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an instance did not run, as programs and people can use it."""

    code: str
    exit_code: int
    hint: str


CRASHED = Reason(
    "crashed", 42, "Its log tells more: `appliance logs NAME`. It must run until it is stopped."
)

#: The exit descriptions of the DEA, by how they begin.
REASONS: tuple[tuple[str, Reason], ...] = (
    (
        r"Never listened on port",
        Reason(
            "never-listened",
            43,
            "The app must listen on 0.0.0.0 and the port in $PORT. Without a port to listen on, "
            "push it with --health-check process --no-route.",
        ),
    ),
    (
        r"Instance (never healthy|became unhealthy)",
        Reason("unhealthy", 44, "Its health endpoint must answer with 200 to 399."),
    ),
    (
        r"insufficient resources",
        Reason(
            "insufficient-resources",
            41,
            "Give it less memory with -m, stop another app, or raise dea.max_memory.",
        ),
    ),
    (r".*\(out of memory\)", Reason("out-of-memory", 42, "Give it more memory with -m.")),
    (
        r"Droplet could not be fetched",
        Reason("droplet-unavailable", 42, "`appliance trace NAME` shows what was asked of whom."),
    ),
)


def explain(details: str) -> Reason:
    """The reason that an exit description tells of; anything else is a crash."""
    for pattern, reason in REASONS:
        if re.match(pattern, details):
            return reason
    return CRASHED


def verdict(stats: Sequence[Json], *, all_of_them: bool = False) -> str:
    """What *stats* say of a process: ``running``, ``crashed``, ``no-room`` or ``waiting``.

    As cf: one running instance is enough, and it takes all of them to have crashed. With
    *all_of_them* it is the other way round.
    """
    states = [one["state"] for one in stats]
    enough, too_bad = (all, any) if all_of_them else (any, all)
    if not states or enough(state == "RUNNING" for state in states):
        return "running"
    if too_bad(state == "CRASHED" for state in states):
        return "crashed"
    if any(state == "DOWN" and one["details"] for state, one in zip(states, stats, strict=True)):
        return "no-room"
    return "waiting"


async def started(
    api: Api,
    app_guid: str,
    process_guid: str,
    *,
    all_of_them: bool = False,
    timeout: float = TIMEOUT,
) -> list[Json]:
    """The process's stats, once it runs.

    Raises:
      PhaseFailed: it crashed, finds no room, or takes longer than *timeout* seconds.
    """
    path = f"/v3/processes/{process_guid}/stats"
    since = Clock().time_ns()
    began = trio.current_time()
    without_room: float | None = None
    while True:
        stats: list[Json] = (await api.get(path))["resources"]
        now = trio.current_time()
        said = verdict(stats, all_of_them=all_of_them)
        if said == "running":
            return stats
        if said == "crashed":
            raise await failure(api, app_guid, stats, since)
        # Another app may be on its way out: room is asked for again and again.
        without_room = (without_room or now) if said == "no-room" else None
        if without_room is not None and now - without_room > NO_ROOM_FOR:
            raise await failure(api, app_guid, stats, since)
        if now - began > timeout:
            raise PhaseFailed(
                f"No instance ran within {timeout:g} s.",
                phase="start",
                code="start-timed-out",
                exit_code=40,
                hint="`appliance app NAME` shows its instances.",
                logs=await last_words(api, app_guid, since),
            )
        await trio.sleep(POLL)


async def failure(api: Api, app_guid: str, stats: Sequence[Json], since: int) -> PhaseFailed:
    """The error for instances that do not run, with the app's last words."""
    details = next((one["details"] for one in stats if one["details"]), "The app crashed")
    reason = explain(details)
    return PhaseFailed(
        f"The app did not start: {details.rstrip('.')}.",
        phase="start",
        code=reason.code,
        exit_code=reason.exit_code,
        hint=reason.hint,
        logs=await last_words(api, app_guid, since),
    )


async def last_words(api: Api, app_guid: str, since: int) -> list[str]:
    """The last lines that the app itself wrote; none when the log store has none to give.

    Those from *since* on (nanoseconds since 1970) are meant. When there are none, the clock of
    the appliance may be another one than ours, and older lines are better than nothing.
    """
    try:
        lines = await LogReader(api, app_guid).recent()
    except ApiError:
        return []  # what is reported is the failure that they would have explained
    said = [line for line in lines if line.source.startswith("APP/")]
    fresh = [line for line in said if line.timestamp >= since]
    return [str(line) for line in fresh or said][-LAST_WORDS:]
