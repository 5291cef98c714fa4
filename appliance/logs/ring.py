"""Lines of every source in memory, bounded by bytes; the oldest go first. Pure."""

from __future__ import annotations

import base64
import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.logs.messages import LIMIT, Gauge, Line, ReadLogs

#: Bytes that a line is counted with beside its text: what Python takes to keep it.
LINE_COST = 144
#: Characters of one envelope; longer lines are split, as Loggregator does at 60 KiB.
MAX_TEXT = 60 * 1024
#: Bytes of an envelope in JSON beside its payload and what `_Origin` counts.
ENVELOPE_COST = 64
#: Origins that are looked up by value in one source, before the look-up starts afresh.
MAX_ORIGINS = 256

GAUGE = "GAUGE"  # kind of entries whose text is the JSON of their metrics

LATEST = 2**63 - 1  # nanoseconds; clients read timestamps as signed 64-bit numbers


@dataclass(frozen=True, slots=True)
class _Origin:
    """What all lines of one instance share; kept once, not per line."""

    instance: str
    kind: str  # OUT, ERR or GAUGE
    tags: dict[str, str]
    size: int  # bytes in JSON


@dataclass(frozen=True, slots=True)
class _Entry:
    origin: _Origin
    text: bytes
    cost: int  # bytes counted against the bounds


@dataclass(slots=True)
class _Source:
    """One app's lines, in the order of their timestamps."""

    stamps: list[int] = field(default_factory=list)  # ascending, unique
    entries: list[_Entry] = field(default_factory=list)
    first: int = 0  # what is before it was dropped, and is cut off now and then
    bytes: int = 0
    last: int = -1  # the youngest timestamp that was ever given
    dropped: int = 0
    origins: dict[tuple[object, ...], _Origin] = field(default_factory=dict)

    def append(self, stamp: int, entry: _Entry) -> None:
        self.stamps.append(stamp)
        self.entries.append(entry)
        self.bytes += entry.cost
        self.last = stamp

    def drop(self, surplus: int) -> None:
        """Forget the oldest lines that have *surplus* bytes together."""
        goal = self.bytes - surplus
        while self.bytes > goal and self.first < len(self.entries):
            self.bytes -= self.entries[self.first].cost
            self.first += 1
            self.dropped += 1
        if self.first > len(self.entries) // 2:
            # Rarely, so that dropping a line costs no more than adding one.
            del self.stamps[: self.first], self.entries[: self.first]
            self.first = 0


class Ring:
    """The most recent lines of every source.

    Within one source timestamps are unique and ascend: a line that is as old as the
    one before it, or older, becomes a nanosecond younger than that. A client that goes
    on reading after the last timestamp it saw misses nothing and sees nothing twice.
    """

    def __init__(self, *, per_source: int, total: int) -> None:
        self._per_source = per_source
        self._total = total
        self._bytes = 0
        self._sources: dict[str, _Source] = {}  # the most recently written last
        self._forgotten = 0  # lines dropped from sources that are gone

    @property
    def bytes(self) -> int:
        """Bytes counted against the total."""
        return self._bytes

    @property
    def dropped(self) -> int:
        """Lines that had to make room since the start."""
        return self._forgotten + sum(source.dropped for source in self._sources.values())

    def figures(self) -> dict[str, object]:
        """What /varz tells."""
        return {"sources": len(self._sources), "bytes": self._bytes, "dropped": self.dropped}

    def add(
        self, source_id: str, lines: Sequence[Line], now: int, gauges: Sequence[Gauge] = ()
    ) -> None:
        """Keep *lines* of one source in their order, and *gauges* after them.

        Args:
          source_id: The app's guid.
          lines: What a sender collected; timestamps of the future become *now*, since
            one wrong clock would push all later lines there with it.
          now: Nanoseconds since 1970.
        """
        source = self._sources.pop(source_id, None) or _Source()
        self._sources[source_id] = source
        before = source.bytes
        for line in lines:
            text = line.text.rstrip("\r\n")
            kind = "ERR" if line.error else "OUT"
            for begin in range(0, len(text) or 1, MAX_TEXT):
                part = text[begin : begin + MAX_TEXT].encode("utf-8", "replace")
                _append(source, source_id, line, kind, part, now)
        for gauge in gauges:
            metrics = {
                name: {"unit": one.unit, "value": one.value} for name, one in gauge.metrics.items()
            }
            _append(source, source_id, gauge, GAUGE, json.dumps(metrics).encode(), now)
        source.drop(max(0, source.bytes - self._per_source))
        self._bytes += source.bytes - before
        self._make_room()

    def _make_room(self) -> None:
        """Drop lines of the sources that have most, so that a loud app silences no quiet one.

        Among sources that have about the same, the one that was silent longest gives.
        """
        step = self._total // 64 + 1  # a smaller difference in size is none
        while self._bytes > self._total:
            name = max(self._sources, key=lambda name: self._sources[name].bytes // step)
            source = self._sources[name]
            before = source.bytes
            # A little more than needed, so that not every line looks for the largest.
            source.drop(self._bytes - self._total + step)
            self._bytes -= before - source.bytes
            if not source.bytes:
                self._forgotten += self._sources.pop(name).dropped

    def read(self, query: ReadLogs, *, budget: int) -> list[dict[str, Any]]:
        """Envelopes in log-cache's JSON form.

        Args:
          query: Which lines; see `ReadLogs`.
          budget: Bytes that the answer may have as JSON; it has fewer envelopes then,
            but at least one.
        """
        source = self._sources.get(query.source)
        types = set(query.types) or {"ANY"}
        logs, gauges = bool(types & {"LOG", "ANY"}), bool(types & {"GAUGE", "ANY"})
        if source is None or not (logs or gauges):
            return []
        begin = bisect_left(source.stamps, query.start_time, source.first)
        end = len(source.stamps)
        if query.end_time is not None:
            end = bisect_left(source.stamps, query.end_time, source.first)
        limit = max(0, min(query.limit, LIMIT))
        positions = range(begin, end)
        batch: list[dict[str, Any]] = []
        for position in reversed(positions) if query.descending else positions:
            entry = source.entries[position]
            if not (gauges if entry.origin.kind == GAUGE else logs):
                continue
            budget -= entry.origin.size + ENVELOPE_COST + 4 * (len(entry.text) + 2) // 3 + 2
            if len(batch) == limit or (budget < 0 and batch):
                break
            batch.append(_envelope(query.source, source.stamps[position], entry))
        return batch


def _append(
    source: _Source, source_id: str, said: Line | Gauge, kind: str, text: bytes, now: int
) -> None:
    """Put one entry behind the others, with a timestamp of its own."""
    stamp = max(source.last + 1, min(said.timestamp, now))
    origin, cost = _origin(source, source_id, said, kind)
    source.append(stamp, _Entry(origin, text, len(text) + LINE_COST + cost))


def _origin(source: _Source, source_id: str, said: Line | Gauge, kind: str) -> tuple[_Origin, int]:
    """What *said* shares with others, and what keeping it costs when it is new."""
    key = (said.source_type, said.instance, kind, *said.tags.items())
    origin = source.origins.get(key)
    if origin is not None:
        return origin, 0
    tags = said.tags | {"source_type": said.source_type}
    size = len(json.dumps([_envelope(source_id, LATEST, _Entry(_Origin("", "", {}, 0), b"", 0))]))
    size += len(json.dumps([said.instance, kind, tags]))
    origin = _Origin(said.instance, kind, tags, size)
    if len(source.origins) >= MAX_ORIGINS:
        source.origins.clear()
    source.origins[key] = origin
    return origin, size


def _envelope(source_id: str, stamp: int, entry: _Entry) -> dict[str, Any]:
    """One entry as log-cache shows it. Its clients refuse any other key."""
    origin = entry.origin
    envelope: dict[str, Any] = {
        "timestamp": str(stamp),
        "source_id": source_id,
        "instance_id": origin.instance,
        "deprecated_tags": {},
        "tags": origin.tags,
    }
    if origin.kind == GAUGE:
        return envelope | {"gauge": {"metrics": json.loads(entry.text)}}
    payload = base64.b64encode(entry.text).decode("ascii")
    return envelope | {"log": {"payload": payload, "type": origin.kind}}
