"""Log lines as log-cache gives them: decoded, without gaps, without repeats."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import click
import trio

from appliance.commands.api import Api

LIMIT = 1000  # envelopes in one answer
OVERLAP = 1_000_000_000  # nanoseconds looked at again: lines of two senders cross on their way
FROM_BEGINNING = -(2**62)  # nanoseconds; log-cache's way to say "all there is"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of an app's log."""

    timestamp: int  # nanoseconds since 1970
    source: str  # API, STG, APP/PROC/WEB, …
    instance: str
    text: str
    error: bool

    def __str__(self) -> str:
        """As cf: ``2026-01-31T12:00:00.00+0100 [APP/PROC/WEB/0] OUT hello``."""
        moment = datetime.fromtimestamp(self.timestamp / 1e9).astimezone()
        written = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 10_000:02}{moment:%z}"
        return f"{written} [{self.source}/{self.instance}] {self.kind} {self.text}"

    @property
    def kind(self) -> str:
        """OUT or ERR."""
        return "ERR" if self.error else "OUT"

    @property
    def styled(self) -> str:
        """As cf shows it: indented, and red when it was written to stderr."""
        line = f"   {self}"
        return click.style(line, fg="red") if self.error else line

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "timestamp": self.timestamp,
            "source": self.source,
            "instance": self.instance,
            "type": self.kind,
            "text": self.text,
        }


def decode(envelope: dict[str, Any]) -> LogLine | None:
    """The line in *envelope*; None for gauges and other kinds."""
    if (log := envelope.get("log")) is None:
        return None
    return LogLine(
        timestamp=int(envelope["timestamp"]),
        source=envelope.get("tags", {}).get("source_type", "APP"),
        instance=envelope.get("instance_id", "0"),
        text=base64.b64decode(log.get("payload", "")).decode("utf-8", "replace"),
        error=log.get("type") == "ERR",
    )


@dataclass
class LogReader:
    """Reads one app's log from *start* on; each line once."""

    api: Api
    app_guid: str
    start: int = FROM_BEGINNING  # nanoseconds since 1970
    _seen: set[LogLine] = field(default_factory=set)

    async def recent(self, *, limit: int = LIMIT) -> list[LogLine]:
        """The last *limit* lines, oldest first. `new` goes on behind them."""
        lines = await self._read(limit=str(limit), descending="true")
        lines.reverse()
        self._note(lines)
        return lines

    async def new(self) -> list[LogLine]:
        """The lines that have come since the last call."""
        found: list[LogLine] = []
        position = self.start
        while True:
            page = await self._read(start_time=str(position), limit=str(LIMIT))
            found += page
            if len(page) < LIMIT:
                break
            position = page[-1].timestamp + 1
        fresh = [line for line in found if line not in self._seen]
        self._note(found)
        return fresh

    async def follow(self, *, every: float) -> AsyncIterator[LogLine]:
        """New lines for ever, looking every *every* seconds while there are none."""
        while True:
            lines = await self.new()
            for line in lines:
                yield line
            if not lines:
                await trio.sleep(every)

    def _note(self, lines: list[LogLine]) -> None:
        if lines:
            self.start = max(self.start, lines[-1].timestamp - OVERLAP)
            self._seen = {line for line in self._seen.union(lines) if line.timestamp >= self.start}

    async def _read(self, **query: str) -> list[LogLine]:
        path = f"/api/v1/read/{self.app_guid}"
        answer = await self.api.send(
            "GET", path, query={"envelope_types": "LOG"} | query, silent=True
        )
        batch = answer.json().get("envelopes", {}).get("batch", [])
        lines = (decode(envelope) for envelope in batch)
        return [line for line in lines if line is not None]
