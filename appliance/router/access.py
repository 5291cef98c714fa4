"""Access lines in gorouter's format, sent to the app's log in batches."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

import trio

from appliance.kernel.errors import ApplianceError
from appliance.kernel.kit import Kit
from appliance.logs.messages import Line, LogLines
from appliance.router.endpoint import Endpoint
from appliance.router.head import Request

FLUSH_EVERY = 0.25  # seconds
#: Requests that are told per flush. More of them would drive out what the app itself
#: says from its log, and cost more than the requests.
MAX_PER_FLUSH = 500
MAX_FIELD = 1000  # characters of Referer, User-Agent and the like
MAX_TARGET = 8000  # characters


@dataclass(frozen=True, slots=True)
class Record:
    """One request that was answered."""

    request: Request
    endpoint: Endpoint
    client: str  # "ip:port"
    request_id: str
    at: int  # nanoseconds since 1970 when its head was complete
    status: int
    received: int  # bytes of the request's body
    sent: int  # bytes of the answer's body
    seconds: float  # until the end of the answer
    app_seconds: float  # of these, from the choice of the endpoint to the end of its answer
    error: str = ""  # X-Cf-RouterError


def access_line(record: Record) -> str:
    """One line as gorouter writes it.

    Source: gorouter, ``accesslog/schema/access_log_record.go``.
    """
    request, endpoint = record.request, record.endpoint
    whole, fraction = divmod(record.at, 1_000_000_000)
    started = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    target = request.target.decode("latin-1")[:MAX_TARGET]
    quoted = f"{request.method.decode()} {target} HTTP/1.{request.minor}"
    parts = [
        f"{request.host.decode('latin-1')} - [{started}.{fraction:09d}Z]",
        _quote(quoted),
        str(record.status or '"-"'),
        str(record.received),
        str(record.sent),
        _dash(_field(request, b"referer")),
        _dash(_field(request, b"user-agent")),
        _dash(record.client),
        _dash(str(endpoint)),
        f"x_forwarded_for:{_dash(record.client.rpartition(':')[0])}",
        'x_forwarded_proto:"http"',
        f"vcap_request_id:{_dash(record.request_id)}",
        f"response_time:{record.seconds:.6f}",
        f"gorouter_time:{max(0.0, record.seconds - record.app_seconds):.6f}",
        f"app_id:{_dash(endpoint.app)}",
        f"app_index:{_dash(endpoint.index)}",
        f"instance_id:{_dash(endpoint.instance)}",
        f"x_cf_routererror:{_dash(record.error)}",
    ]
    return " ".join(parts)


class AccessLog:
    """Collects records without waiting; `run` sends them."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._records: deque[Record] = deque()
        self._left_out: dict[str, int] = {}
        self._last = 0  # timestamps of one sender are unique

    def wants(self, app: str) -> bool:
        """Whether a record for *app* is to be added; above the limit it is only counted."""
        if not app:
            return False
        if len(self._records) < MAX_PER_FLUSH:
            return True
        self._left_out[app] = self._left_out.get(app, 0) + 1
        return False

    def add(self, record: Record) -> None:
        """Note *record*, after `wants`."""
        self._records.append(record)

    async def run(self) -> None:
        """Send what has collected, four times a second; what is left, at the end."""
        try:
            while True:
                await trio.sleep(FLUSH_EVERY)
                self.flush()
        finally:
            self.flush()

    def flush(self) -> None:
        """Send what has collected."""
        lines: dict[str, list[Line]] = {}
        while self._records:
            record = self._records.popleft()
            lines.setdefault(record.endpoint.app, []).append(
                self._line(access_line(record), record.at)
            )
        for app, count in self._left_out.items():
            text = f"{count} requests were answered too quickly to be listed one by one."
            lines.setdefault(app, []).append(self._line(text, self._kit.clock.time_ns()))
        self._left_out.clear()
        for app, batch in lines.items():
            self._send(app, batch)

    def _line(self, text: str, at: int) -> Line:
        self._last = max(self._last + 1, at)
        return Line(timestamp=self._last, text=text, source_type="RTR")

    def _send(self, app: str, batch: list[Line]) -> None:
        try:
            # Long targets could make a batch larger than a message may be.
            for first in range(0, len(batch), 50):
                lines = batch[first : first + 50]
                self._kit.publish(LogLines(source=app, lines=lines), subject=f"logs.lines.{app}")
        except ApplianceError as error:
            self._kit.trace.event("access.lost", app=app, lines=len(batch), why=str(error))


def _field(request: Request, name: bytes) -> str:
    return request.field(name).decode("latin-1")[:MAX_FIELD]


def _dash(text: str) -> str:
    return _quote(text) if text else '"-"'


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    if not escaped.isprintable():
        escaped = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in escaped)
    return f'"{escaped}"'
