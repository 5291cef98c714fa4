"""Log lines on the bus: from every source to the log store, and out again."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct, field

LIMIT = 1000  # envelopes in one answer, as log-cache


class Line(Struct, frozen=True, kw_only=True):
    """One line, without its newline."""

    timestamp: int  # nanoseconds since 1970
    text: str  # undecodable bytes are replaced
    source_type: str  # API, STG, APP/PROC/WEB, APP/TASK/name, RTR, CELL, SSH
    instance: str = "0"
    error: bool = False  # True: ERR, False: OUT
    tags: dict[str, str] = field(default_factory=dict)


class Metric(Struct, frozen=True, kw_only=True):
    """One figure."""

    unit: str  # bytes, percentage
    value: float


class Gauge(Struct, frozen=True, kw_only=True):
    """What one instance used at one time."""

    timestamp: int  # nanoseconds since 1970
    source_type: str  # as in `Line`
    instance: str = "0"
    metrics: dict[str, Metric]  # cpu, memory, disk, memory_quota, disk_quota
    tags: dict[str, str] = field(default_factory=dict)


class LogLines(Struct, frozen=True, kw_only=True):
    """Some lines of one app, in order. Senders batch; subject is ``logs.lines.APPGUID``."""

    subject: ClassVar[str] = "logs.lines.*"

    source: str  # the app's guid
    lines: list[Line]
    gauges: list[Gauge] = field(default_factory=list)  # after the lines


class ReadLogs(Struct, frozen=True, kw_only=True):
    """Ask the log store for envelopes of one app, as log-cache's read call."""

    subject: ClassVar[str] = "logs.read"

    source: str
    start_time: int = 0  # nanoseconds, inclusive; may be negative
    end_time: int | None = None  # nanoseconds, exclusive
    limit: int = 100  # at most `LIMIT`
    descending: bool = False
    types: list[str] = field(default_factory=list)  # LOG, GAUGE, ANY; empty for any


class ReadLogsReply(Struct, frozen=True, kw_only=True):
    """Envelopes in log-cache's JSON form: ``{"timestamp", "source_id", "instance_id", …}``."""

    batch: list[dict[str, Any]]
