"""What instances say: from their pipes to the bus, and to the files in their folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import trio

from appliance.dea.instance import MIB, Instance
from appliance.dea.lines import LineSplitter, batches
from appliance.dea.rates import RATE, Allowance, LogLimit
from appliance.kernel.kit import Kit
from appliance.logs.messages import Gauge, Line, LogLines, Metric

CHUNK = 32 * 1024  # bytes taken at a time: a few milliseconds of work
FILE_LIMIT = 4 * 1024 * 1024  # bytes of a log file; then its older half goes
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

    def say(
        self, instance: Instance, texts: Sequence[str], *, program: int = 0, error: bool = False
    ) -> None:
        """Lines of one of its programs; 0 is the main one, sidecars follow."""
        self._publish(instance, instance.source_of(program), texts, error)

    def note(
        self, instance: Instance, text: str, *, source_type: str = "CELL", error: bool = False
    ) -> None:
        """A line of this DEA about *instance*."""
        self._publish(instance, source_type, [text], error)

    def measure(self, instance: Instance) -> None:
        """What *instance* used when it was last looked at, by Cloud Foundry's names."""
        source, limits = instance.log_source, instance.order.limits
        metrics = {
            "cpu": Metric(unit="percentage", value=round(instance.cpu, 2)),
            "memory": Metric(unit="bytes", value=instance.memory),
            "disk": Metric(unit="bytes", value=instance.disk),
            "memory_quota": Metric(unit="bytes", value=limits.mem * MIB),
            "disk_quota": Metric(unit="bytes", value=limits.disk * MIB),
            "log_rate": Metric(unit="B/s", value=round(instance.log_rate, 1)),
            "log_rate_limit": Metric(unit="B/s", value=limits.log_rate),
        }
        gauge = Gauge(
            timestamp=self._stamp(),
            source_type=instance.source_of(0),
            instance=str(instance.order.index),
            metrics=metrics,
            tags={"process_id": instance.droplet, "process_instance_id": instance.id},
        )
        lines = LogLines(source=source, lines=[], gauges=[gauge])
        self._kit.publish(lines, subject=f"logs.lines.{source}")

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


class Voices:
    """What the programs of one instance say, as far as its app may say so much."""

    def __init__(self, instance: Instance, journal: Journal) -> None:
        self._instance = instance
        self._journal = journal
        self._limit = LogLimit(instance.order.limits.log_rate, trio.current_time())

    def say(self, texts: Sequence[str], *, program: int, error: bool) -> None:
        """Publish lines of one program."""
        said, size = self._limit.admit(texts, trio.current_time())
        self._instance.said += size
        if said:
            self._journal.say(self._instance, said, program=program, error=error)

    def lose(self, count: int) -> None:
        """Tell that *count* lines were thrown away, since they came faster than we carry them."""
        rate = RATE // 1024 // 1024
        text = f"{count} lines left out: an output may say {rate} MiB a second"
        self._journal.note(self._instance, text)


async def pump(
    stream: trio.lowlevel.FdStream,
    say: Callable[[list[str]], None],
    lose: Callable[[int], None],
    file: LogFile | None,
) -> None:
    """*say* what comes out of *stream*, line by line, until it ends.

    A program that says more than its allowance is not held up: its lines are thrown away
    and counted, and *lose* is told how many.
    """
    splitter = LineSplitter()
    allowance = Allowance(trio.current_time())
    lost = 0
    try:
        while chunk := await stream.receive_some(CHUNK):
            if file is not None:
                file.append(chunk)
            cost = len(chunk) + LINE_COST * chunk.count(b"\n")
            if not allowance.covers(cost, trio.current_time()):
                lost += chunk.count(b"\n")
                await trio.sleep(BREATH)
                continue
            if lost:
                lose(lost)
                lost = 0
            if texts := splitter.add(chunk):
                say(texts)
    finally:
        # Also when it is cancelled, since a process left behind may keep the pipe open.
        if texts := splitter.end():
            say(texts)
        if lost:
            lose(lost)
