"""What nats-top and its like ask over HTTP: ``/varz``, ``/connz``, ``/subsz``, ``/healthz``."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from appliance.kernel.bus.listener.hub import Hub
from appliance.kernel.bus.listener.report import Json, Moment, Usage, connz, subsz, varz

if TYPE_CHECKING:
    from appliance.kernel.http.blob_plane import Exchange
    from appliance.kernel.kit import Kit


async def serve_monitor(
    hub: Hub,
    bind: str,
    kit: Kit,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer questions about the listener of *hub* at *bind*, until `kit.stopping`."""
    from appliance.kernel.http.blob_plane import Blob
    from appliance.kernel.http.server import serve_http

    began = trio.current_time()
    listening: tuple[str, int] = ("", 0)

    def about(path: str, query: Mapping[str, str]) -> Json:
        now = trio.current_time()
        moment = Moment(now=now, wall=kit.clock.time())
        if path == "/varz":
            return varz(hub, moment, began, usage(now - began), listening)
        return connz(hub, moment, query) if path == "/connz" else subsz(hub, moment, query)

    async def answer(exchange: Exchange) -> None:
        found = about(exchange.path, exchange.query)
        await exchange.reply(
            200, json.dumps(found, indent=2).encode(), content_type="application/json"
        )

    async def healthy(exchange: Exchange) -> None:
        await exchange.reply(200, {"status": "ok"})

    def heard(url: str) -> None:
        nonlocal listening
        host, _, port = url.removeprefix("http://").rpartition(":")
        listening = (host, int(port))

    routes = [Blob("GET", path, answer) for path in ("/varz", "/connz", "/subsz")]
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[str]) -> None:
            blobs = [*routes, Blob("GET", "/healthz", healthy)]
            await serve_http(None, bind, kit, blobs=blobs, task_status=task_status)

        url: str = await nursery.start(serve)
        heard(url)
        task_status.started(url)


def usage(uptime: float) -> Usage:
    """What this process takes; *uptime* in seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        memory = pages * resource.getpagesize()
    except (OSError, ValueError, IndexError):  # not Linux: the peak instead
        memory = used.ru_maxrss * 1024
    cpu = 100 * (used.ru_utime + used.ru_stime) / max(uptime, 1e-3)
    return Usage(
        memory=memory, cpu=min(cpu, 100.0 * (os.cpu_count() or 1)), cores=os.cpu_count() or 1
    )
