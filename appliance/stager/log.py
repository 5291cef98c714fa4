"""The staging log: the 2012 task log for the reply, and live lines for whoever follows the app."""

from __future__ import annotations

from datetime import datetime

import trio

from appliance.kernel.kit import Kit
from appliance.kernel.process.output import Tail
from appliance.logs.messages import Line, LogLines

TASK_LOG = 256 * 1024  # bytes in the reply, which must fit into one message
LINE = 16 * 1024  # characters; the rest of a longer line is left out
BATCH_LINES = 200  # lines in one message
BATCH_BYTES = 256 * 1024
PAUSE = 0.05  # seconds in which lines are gathered, so that a chatty build sends few messages


class TaskLog:
    """What one staging task tells its user. Lines appear in the reply and, at once, on the bus."""

    def __init__(self, kit: Kit, app_id: str) -> None:
        self._kit = kit
        self._app_id = app_id
        self._kept = Tail(TASK_LOG)
        self._waiting: list[Line] = []
        self._more = trio.Event()
        self._last = 0  # nanoseconds

    def info(self, text: str) -> None:
        """Add one line of the stager's own."""
        self.line(text)

    def line(self, text: str, error: bool = False) -> None:
        """Add one line, without its end; *error* for what a program wrote to stderr."""
        text = text[:LINE]
        now = self._kit.clock.time_ns()
        # Followers sort by time and ask for what came after a line: no two may be equal.
        self._last = max(now, self._last + 1)
        stamp = datetime.fromtimestamp(self._last / 1e9).strftime("%Y-%m-%d %H:%M:%S")
        self._kept.add(f"[{stamp}] {text}\n".encode("utf-8", "replace"))
        self._waiting.append(Line(timestamp=self._last, text=text, source_type="STG", error=error))
        self._more.set()

    def text(self) -> str:
        """The task log for the reply; of a very long one, the beginning and the end."""
        return self._kept.kept().decode("utf-8", "replace")

    async def publish_lines(self) -> None:
        """Publish lines as they come, until cancelled; then those that are left."""
        try:
            while True:
                await self._more.wait()
                self.flush()
                await trio.sleep(PAUSE)
        finally:
            self.flush()

    def flush(self) -> None:
        """Publish what waits."""
        lines, self._waiting = self._waiting, []
        self._more = trio.Event()
        batch: list[Line] = []
        size = 0
        for line in lines:
            if batch and (len(batch) == BATCH_LINES or size + len(line.text) > BATCH_BYTES):
                self._send(batch)
                batch, size = [], 0
            batch.append(line)
            size += len(line.text) + 100  # what the JSON adds
        if batch:
            self._send(batch)

    def _send(self, lines: list[Line]) -> None:
        self._kit.publish(
            LogLines(source=self._app_id, lines=lines), subject=f"logs.lines.{self._app_id}"
        )
