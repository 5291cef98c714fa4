"""What goes over the bus, counted by subject: the figures of ``appliance bus top``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from appliance.kernel.bus import Message
from appliance.kernel.trace import SENDER_HEADER

#: Tokens that name one of many: guids, hex numbers, and what clients make up for inboxes.
_NAMES_ONE = re.compile(r"[0-9a-f]{16,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4,}")
MOST = 10_000  # kinds of subjects; what comes beyond is counted as OTHERS
OTHERS = "(others)"


class Row(NamedTuple):
    """One kind of subject since the last look."""

    subject: str
    rate: float  # messages per second
    bytes_rate: float  # bytes of data per second
    messages: int  # since the beginning
    senders: tuple[str, ...]


@dataclass(slots=True)
class _Kind:
    messages: int = 0
    recent: int = 0
    recent_bytes: int = 0
    senders: set[str] = field(default_factory=set)


def kind(subject: str) -> str:
    """*subject* with ``*`` for what names one of many, so that a thousand answers are one row."""
    if subject.startswith("_INBOX."):
        return "_INBOX.>"
    return ".".join("*" if _NAMES_ONE.fullmatch(token) else token for token in subject.split("."))


class Tally:
    """Counts messages, and tells what has come since the last look."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}

    def add(self, message: Message) -> None:
        """Count *message*."""
        name = kind(message.subject)
        if name not in self._kinds and len(self._kinds) >= MOST:
            name = OTHERS
        counted = self._kinds.setdefault(name, _Kind())
        counted.messages += 1
        counted.recent += 1
        counted.recent_bytes += len(message.data)
        if sender := message.headers.get(SENDER_HEADER, ""):
            counted.senders.add(sender[:40])
            if len(counted.senders) > 8:  # anybody may call themselves anything
                counted.senders.pop()

    def look(self, seconds: float) -> list[Row]:
        """The busiest first. *seconds* have passed since the last look, which this one ends."""
        rows = [
            Row(
                name, one.recent / seconds, one.recent_bytes / seconds, one.messages,
                tuple(sorted(one.senders)),
            )
            for name, one in self._kinds.items()
        ]  # fmt: skip
        for one in self._kinds.values():
            one.recent = one.recent_bytes = 0
        return sorted(rows, key=lambda row: (-row.rate, -row.messages, row.subject))
