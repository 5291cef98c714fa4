"""Asks a stager, and gets the answer although stagers and NATS servers may be killed meanwhile.

A stager of ours tells how a task is. So an answer that was lost is fetched, and a stager that
says nothing any more is known to be gone. One of 2012 tells nothing, and is waited for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import outcome
import trio

from appliance.kernel.bus import BusClosed, NoResponders, RequestTimeout
from appliance.kernel.bus.codec import Undecodable
from appliance.kernel.errors import Unavailable
from appliance.kernel.kit import Kit
from appliance.stager.messages import StagingReply, StagingRequest, TaskQuestion, TaskState

CHECK_EVERY = 3.0  # seconds; most tasks are over by then
CHECK_TIMEOUT = 2.0  # seconds for a stager to say how its task is
SILENT = 2  # checks in a row without an answer, after which a stager is gone


class StagerLost(Unavailable):
    """The stager that had the task is gone."""

    code = "stager-lost"


async def ask_stager(kit: Kit, request: StagingRequest, *, timeout: float) -> StagingReply:
    """The reply of the stager that takes *request*, which must have a task id.

    Raises:
      NoResponders, RequestTimeout: as `Bus.request`.
      StagerLost: it began, and is gone, or the request itself was lost with a NATS server;
        ask again, with another upload handle.
    """
    first: list[outcome.Outcome[StagingReply]] = []

    async def answered() -> StagingReply:
        return await kit.request(request, StagingReply, timeout=timeout)

    outage = trio.Event()

    async def watched() -> StagingReply:
        return await _watch(kit, request.task_id or "", outage)

    async def note_outage() -> None:
        await kit.bus.reconnected()
        outage.set()

    async with trio.open_nursery() as nursery:

        async def race(run: Callable[[], Awaitable[StagingReply]]) -> None:
            result = await outcome.acapture(run)
            if not first:
                first.append(result)
            nursery.cancel_scope.cancel()

        nursery.start_soon(note_outage)
        nursery.start_soon(race, answered)
        nursery.start_soon(race, watched)
    return first[0].unwrap()


async def _watch(kit: Kit, task_id: str, outage: trio.Event) -> StagingReply:
    """The reply of the task once a stager says that it is finished. Raises `StagerLost`.

    Silence says nothing before a stager has spoken of the task: it may be one of 2012. After an
    *outage* it does, since the request may have been lost; who works on it all the same has
    an upload handle that is good for nothing any more.
    """
    seen, silent = False, 0
    subject = TaskQuestion.subject.replace("*", task_id)
    while True:
        await trio.sleep(CHECK_EVERY)
        try:
            state = await kit.request(
                TaskQuestion(), TaskState, subject=subject, timeout=CHECK_TIMEOUT
            )
        except (NoResponders, RequestTimeout, Undecodable):
            # While no server is in reach, nobody can answer.
            silent += bool(kit.bus.figures()["connected"])
            if (seen or outage.is_set()) and silent >= SILENT:
                raise StagerLost("The stager that had the app is gone.") from None
        except BusClosed:
            await trio.sleep_forever()  # whoever asked is told by the bus itself
        else:
            seen, silent = True, 0
            if state.reply is not None:
                return state.reply
