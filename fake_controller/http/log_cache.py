"""log-cache's read call, answered by the log store over the bus."""

from __future__ import annotations

from quart import Response, request

from appliance.kernel.bus import NoResponders, RequestTimeout
from appliance.kernel.errors import Unavailable
from appliance.logs.messages import LIMIT, ReadLogs, ReadLogsReply
from fake_controller.errors import bad_query
from fake_controller.http.api import Api
from fake_controller.model import App

TIMEOUT = 5.0  # seconds for the log store to answer
DEFAULT = 100  # envelopes when the client names no limit, or 0
KINDS = ("ANY", "LOG", "COUNTER", "GAUGE", "TIMER", "EVENT")


def routes(api: Api) -> None:
    """``/api/v1/read/:source``."""

    @api.get("/api/v1/read/<source>")
    async def read(source: str) -> Response:
        await api.read(lambda acting: acting.see(App, source))
        kinds = [kind for kind in request.args.getlist("envelope_types") if kind != "ANY"]
        if unknown := set(kinds) - set(KINDS):
            raise bad_query(f"envelope_types has no {', '.join(sorted(unknown))}")
        question = ReadLogs(
            source=source,
            start_time=_number("start_time", 0),
            end_time=_number("end_time", 0) or None,
            limit=max(1, min(_number("limit", 0) or DEFAULT, LIMIT)),
            descending=request.args.get("descending") == "true",
            types=kinds,
        )
        try:
            answer = await api.cc.kit.request(question, ReadLogsReply, timeout=TIMEOUT)
        except (NoResponders, RequestTimeout) as error:
            raise Unavailable("The log store does not answer.") from error
        return api.json({"envelopes": {"batch": answer.batch}})


def _number(key: str, default: int) -> int:
    text = request.args.get(key)
    if text is None:
        return default
    try:
        number = int(text[:32])
    except ValueError:
        raise bad_query(f"{key} must be a whole number") from None
    if not -(2**63) <= number < 2**63:
        raise bad_query(f"{key} is out of range")
    return number
