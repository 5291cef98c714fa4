"""Components of one type on the bus: those that are there, and those that come."""

from __future__ import annotations

import re
from collections.abc import Callable

import trio

from appliance.kernel.component import Announce, DiscoverComponents
from appliance.kernel.kit import Inbox, Kit

ANSWERS_WITHIN = 1.0  # seconds for components to answer; those that are later announce themselves

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z][0-9A-Za-z.-]*):[0-9]{1,5}")


async def follow(
    kit: Kit,
    type_: str,
    found: Callable[[str], None],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Call *found* once with each ``host:port`` at which there is a *type_*, until cancelled.

    ``started()`` when none is missed any more. What is no address is passed over.
    """
    known: set[str] = set()

    async def note(announcements: Inbox[Announce]) -> None:
        async for received in announcements:
            host = received.body.host
            if received.body.type == type_ and host not in known and _HOST.fullmatch(host):
                known.add(host)
                found(host)

    async with kit.subscribe(Announce) as announced, trio.open_nursery() as nursery:
        nursery.start_soon(note, announced)
        task_status.started()
        while True:
            async with kit.ask_all(DiscoverComponents(), Announce) as answers:
                with trio.move_on_after(ANSWERS_WITHIN):
                    await note(answers)
            # Whoever came while no server was in reach was not heard.
            await kit.bus.reconnected()
