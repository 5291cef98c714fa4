"""The log store: collects lines from every source, and answers who asks for them."""

from __future__ import annotations

from functools import partial

import trio

from appliance.config import LogsConfig
from appliance.kernel.component import serve_component
from appliance.kernel.kit import Inbox, Kit
from appliance.logs.messages import LogLines, ReadLogs, ReadLogsReply
from appliance.logs.ring import Ring

QUEUE = "logs"  # of several log stores, which all hear every line, one answers
HEADROOM = 4096  # bytes of an answer left for headers and the frame around the envelopes


async def serve(
    config: LogsConfig,
    kit: Kit,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run one log store until `kit.stopping`; ``started()`` gets the URL of its /varz."""
    ring = Ring(per_source=config.per_source, total=config.total)
    async with trio.open_nursery() as serving:
        status = partial(serve_component, kit, "LogStore", config.bind, varz=ring.figures,
                         config=config, counters=("dropped",))  # fmt: skip
        url = await serving.start(status)
        async with (
            kit.subscribe(LogLines) as batches,
            kit.subscribe(ReadLogs, queue=QUEUE) as queries,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(collect, batches, ring, kit)
            nursery.start_soon(answer, queries, ring, kit)
            kit.health.mark(kit.room, "ready")
            task_status.started(url)
            await kit.stopping.wait()
            kit.health.mark(kit.room, "draining")
            nursery.cancel_scope.cancel()


async def collect(batches: Inbox[LogLines], ring: Ring, kit: Kit) -> None:
    """Put every line into the ring as it comes."""
    async for batch in batches:
        body = batch.body
        ring.add(body.source, body.lines, kit.clock.time_ns(), body.gauges)


async def answer(queries: Inbox[ReadLogs], ring: Ring, kit: Kit) -> None:
    """Answer each query from what is in the ring now."""
    async for query in queries:
        # Never past the bus's limit: a client asks again from where the answer ends.
        budget = kit.bus.max_payload - HEADROOM
        kit.respond(query, ReadLogsReply(batch=ring.read(query.body, budget=budget)))
