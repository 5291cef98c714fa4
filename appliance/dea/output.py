"""What instances say: from their pipes to the bus, and to the files in their folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import trio

from appliance.dea.instance import Instance
from appliance.dea.lines import LineSplitter, batches
from appliance.kernel.kit import Kit
from appliance.logs.messages import Line, LogLines

CHUNK = 32 * 1024  # bytes taken at a time: a few milliseconds of work
FILE_LIMIT = 4 * 1024 * 1024  # bytes of a log file; then its older half goes
RATE = 2 * 1024 * 1024  # bytes a second that one output may say for long …
BURST = 16 * 1024 * 1024  # … and at once: no more than the log store keeps of one app
LINE_COST = 64  # bytes that each line counts besides its text
BREATH = 0.001  # seconds between two looks at an output whose words are thrown away

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Journal:
    """Publishes log lines; one per DEA, so that no two of its lines have the same time."""

    def __init__(self, kit: Kit, cell: str) -> None:
        self._kit = kit
        self._cell = cell
        self._last = 0  # nanoseconds since 1970

    def say(self, instance: Instance, texts: Sequence[str], *, error: bool = False) -> None:
        """Lines of the program itself."""
        self._publish(instance, instance.source_type, texts, error)

    def note(self, instance: Instance, text: str) -> None:
        """A line of this DEA about *instance*."""
        self._publish(instance, "CELL", [text], False)

    @property
    def cell(self) -> str:
        """What its lines call this DEA."""
        return f"Cell {self._cell}"

    def _publish(
        self, instance: Instance, source_type: str, texts: Sequence[str], error: bool
    ) -> None:
        source = instance.log_source
        lines = [
            Line(
                timestamp=self._stamp(),
                text=text,
                source_type=source_type,
                instance=str(instance.order.index),
                error=error,
            )
            for text in texts
        ]
        for batch in batches(lines):
            self._kit.publish(LogLines(source=source, lines=batch), subject=f"logs.lines.{source}")

    def _stamp(self) -> int:
        """Now, but after every earlier line: readers sort by time."""
        self._last = max(self._kit.clock.time_ns(), self._last + 1)
        return self._last


class LogFile:
    """A bounded file below an instance's folder, to be read with the file viewer.

    It is opened before the program runs, without following links, and only that open file
    is written to, so that the program cannot lead the writing elsewhere.
    """

    def __init__(self, folder: Path, name: str, limit: int = FILE_LIMIT) -> None:
        self._limit = limit
        self._size = 0
        self._fd = _open(folder, name)
        if self._fd is not None:
            self._size = os.fstat(self._fd).st_size

    def __enter__(self) -> LogFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def append(self, chunk: bytes) -> None:
        """Add *chunk*; the older half goes when the file is full. A full disk loses lines here."""
        if self._fd is None:
            return
        with suppress(OSError):
            if self._size + len(chunk) > self._limit:
                half = self._limit // 2
                kept = os.pread(self._fd, half, max(0, self._size - half))
                os.ftruncate(self._fd, 0)
                os.write(self._fd, kept)
            os.write(self._fd, chunk)
            self._size = os.fstat(self._fd).st_size


def _open(folder: Path, name: str) -> int | None:
    """The regular file logs/*name* in *folder*, or None when the droplet has other things there."""
    opened: list[int] = []
    try:
        opened.append(os.open(folder, _FOLDER))
        with suppress(FileExistsError):
            os.mkdir("logs", 0o755, dir_fd=opened[-1])
        opened.append(os.open("logs", _FOLDER, dir_fd=opened[-1]))
        fd = os.open(name, _FILE, 0o644, dir_fd=opened[-1])
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
    except OSError:
        pass
    finally:
        for one in opened:
            os.close(one)
    return None


class Allowance:
    """How much one output may say: RATE for long, BURST at once."""

    def __init__(self, now: float) -> None:
        self._left = float(BURST)
        self._at = now

    def covers(self, cost: int, now: float) -> bool:
        """Whether *cost* bytes may be said at *now*, seconds on any steady clock."""
        self._left = min(BURST, self._left + RATE * (now - self._at))
        self._at = now
        if cost > self._left:
            return False
        self._left -= cost
        return True


async def pump(
    stream: trio.lowlevel.FdStream,
    instance: Instance,
    journal: Journal,
    file: LogFile,
    *,
    error: bool,
) -> None:
    """Publish what comes out of *stream*, line by line, until it ends.

    A program that says more than its allowance is not held up: its lines are thrown away
    and counted.
    """
    splitter = LineSplitter()
    allowance = Allowance(trio.current_time())
    lost = 0
    try:
        while chunk := await stream.receive_some(CHUNK):
            file.append(chunk)
            cost = len(chunk) + LINE_COST * chunk.count(b"\n")
            if not allowance.covers(cost, trio.current_time()):
                lost += chunk.count(b"\n")
                await trio.sleep(BREATH)
                continue
            if lost:
                journal.note(instance, _lost(lost))
                lost = 0
            if texts := splitter.add(chunk):
                journal.say(instance, texts, error=error)
    finally:
        # Also when it is cancelled, since a process left behind may keep the pipe open.
        if texts := splitter.end():
            journal.say(instance, texts, error=error)
        if lost:
            journal.note(instance, _lost(lost))


def _lost(count: int) -> str:
    return f"{count} lines left out: an output may say {RATE // 1024 // 1024} MiB a second"
