"""What V3 has no words for: the process, where droplets are, and the trace of a push."""

from __future__ import annotations

from quart import Response, request

from fake_controller.droplets import copies_of
from fake_controller.errors import bad_query, missing
from fake_controller.http.api import Api
from fake_controller.model import Droplet


def routes(api: Api) -> None:
    """``/_appliance/…``."""

    @api.get("/_appliance/info")
    async def info() -> Response:
        return api.json(api.cc.about() | {"unknown_requests": api.cc.unknown.listed()})

    @api.get("/_appliance/droplets/<guid>/copies")
    async def copies(guid: str) -> Response:
        record = await api.read(lambda acting: acting.see(Droplet, guid))
        found = await copies_of(api.cc, record)
        return api.json(
            {"copies": [{"archiver": url, "size": size} for url, size in found.items()]}
        )

    @api.get("/_appliance/trace")
    async def trace() -> Response:
        log = api.cc.trace_log
        wanted = request.args.get("trace", "")
        if name := request.args.get("app"):
            started = log.latest("push.started", name=name) or log.latest("push.started", app=name)
            if started is None:
                raise missing("Trace")
            wanted = started.trace
        if not wanted:
            raise bad_query("Name an app (?app=) or a trace (?trace=)")
        events = [
            {
                "at": event.at,
                "room": event.room,
                "what": event.what,
                "data": event.data,
                "trace": event.trace,
            }
            for event in log.of(wanted)
        ]
        return api.json({"trace": wanted, "events": events})
