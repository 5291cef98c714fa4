"""The logs of apps as a stream of server-sent events: what Loggregator's gateway offers.

The cf CLI reads log-cache; other clients follow the link ``log_stream`` to here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence

import trio
from quart import Response, request

from appliance.kernel.bus import NoResponders, RequestTimeout
from appliance.logs.messages import LIMIT, ReadLogs, ReadLogsReply
from fake_controller.controller import Controller
from fake_controller.errors import bad_query
from fake_controller.http.api import Api
from fake_controller.model import App

KINDS = ("log", "counter", "gauge", "timer", "event")  # keys of the query, as the gateway has them
EVERY = 0.1  # seconds between two looks while nothing is new
HEARTBEAT = 15.0  # seconds without a word after which one is sent, so that proxies keep the line
READ_WITHIN = 5.0  # seconds for the log store to answer


def routes(api: Api) -> None:
    """``/v2/read``."""

    @api.get("/v2/read", public=True)
    async def read() -> Response:
        # Loggregator's gateway takes a token without its scheme, too, and clients rely on that.
        given = request.headers.get("Authorization", "")
        identity = api.cc.tokens.identity(given if " " in given or not given else f"bearer {given}")
        sources = request.args.getlist("source_id")
        kinds = [kind.upper() for kind in KINDS if kind in request.args]
        if not sources or not kinds:
            raise bad_query(f"Name a source_id, and at least one of {', '.join(KINDS)}")
        await api.cc.read_as(identity, lambda acting: [acting.see(App, one) for one in sources])
        return Response(
            events(api.cc, sources, kinds),
            content_type="text/event-stream",
            headers={"Cache-Control": "no-cache"},
        )


async def events(
    cc: Controller, sources: Sequence[str], kinds: Sequence[str]
) -> AsyncIterator[bytes]:
    """What the *sources* say from now on, until the client leaves or the appliance stops.

    The log store is asked, not listened to: it keeps what comes while the client is slow.
    """
    now = cc.kit.clock.time_ns()
    seen = dict.fromkeys(sources, now)
    spoke = trio.current_time()
    # A first word opens the stream for clients that wait for the head.
    yield _heartbeat(now)
    while not cc.kit.draining.is_set():
        quiet = True
        for source in sources:
            question = ReadLogs(
                source=source, start_time=seen[source] + 1, limit=LIMIT, types=list(kinds)
            )
            try:
                answer = await cc.kit.request(question, ReadLogsReply, timeout=READ_WITHIN)
            except (NoResponders, RequestTimeout):
                continue  # the store comes back with what it has
            if answer.batch:
                seen[source] = int(answer.batch[-1]["timestamp"])
                yield b"data: " + json.dumps({"batch": answer.batch}).encode() + b"\n\n"
                quiet, spoke = False, trio.current_time()
        if quiet:
            if trio.current_time() - spoke > HEARTBEAT:
                yield _heartbeat(cc.kit.clock.time_ns())
                spoke = trio.current_time()
            await trio.sleep(EVERY)


def _heartbeat(now: int) -> bytes:
    return f"event: heartbeat\ndata: {now // 10**9}\n\n".encode()
