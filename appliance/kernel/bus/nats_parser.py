"""What a NATS server sends, message after message, without a task switch or a regular expression.

nats-py's own parser takes the rest: everything that is rare, and what it calls a mistake.
"""

from __future__ import annotations

from collections.abc import Callable

from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

MAX_LINE = 4096  # bytes; what is longer without an end is a mistake

#: Gets the number of the subscription, subject, reply subject, headers and data, all as they came.
Deliver = Callable[[int, bytes, bytes, bytes, bytes], None]


class BatchParser(Parser):
    """nats-py's parser, with a short cut for whole messages."""

    def __init__(self, client: object, deliver: Deliver) -> None:
        super().__init__(client)
        self._deliver = deliver

    async def parse(self, data: bytes = b"") -> None:
        """Take *data*, and deliver the messages that it completes."""
        if self.state == AWAITING_CONTROL_LINE:
            if self.buf:
                data = bytes(self.buf) + data
                self.buf.clear()
            rest = data[self._take(data) :]
            # Half a message waits here; nats-py's parser would take its first line away.
            if rest.startswith((b"MSG ", b"HMSG ")) and _may_be_half(rest):
                self.buf += rest
                return
            data = rest
        await super().parse(data)

    def _take(self, data: bytes) -> int:
        """Deliver the whole messages that *data* begins with; returns how long they are."""
        position, end, deliver = 0, len(data), self._deliver
        while True:
            if data.startswith(b"MSG ", position):
                first, headed = position + 4, False
            elif data.startswith(b"HMSG ", position):
                first, headed = position + 5, True
            else:
                return position
            line = data.find(b"\r\n", first)
            parts = data[first:line].split(b" ") if line > 0 else []
            if len(parts) - headed not in (3, 4):
                return position
            try:
                number, size = int(parts[1]), int(parts[-1])
                block = int(parts[-2]) if headed else 0
            except ValueError:
                return position
            start = line + 2
            stop = start + size
            if stop + 2 > end or not 0 <= block <= size:
                return position
            reply = parts[2] if len(parts) - headed == 4 else b""
            middle = start + block
            deliver(number, parts[0], reply, data[start:middle], data[middle:stop])
            position = stop + 2


def _may_be_half(rest: bytes) -> bool:
    """Whether *rest* is the beginning of a message, and not a line that nobody understands."""
    line, found, _ = rest.partition(b"\r\n")
    if not found:
        return len(line) < MAX_LINE
    parts = line.split(b" ")
    headed = parts[0] == b"HMSG"
    sizes = parts[-1 - headed :]
    if len(parts) - headed not in (4, 5) or not all(one.isdigit() for one in (parts[2], *sizes)):
        return False
    return int(sizes[0]) <= int(sizes[-1])  # headers are a part of the whole
