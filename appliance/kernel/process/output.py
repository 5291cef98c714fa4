"""What a program said: a bounded memory of it, and its lines. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

LONGEST_LINE = 64 * 1024  # bytes; what is longer is told in pieces


@dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """A program that has ended, and its two outputs.

    An output that was longer than the limit keeps its beginning and its end, with a line in
    between that tells how many bytes are missing.
    """

    returncode: int  # negative: the signal that ended it
    stdout: bytes
    stderr: bytes
    timed_out: bool = False


class Tail:
    """Keeps at most *limit* bytes: the first half as it comes, then always the newest."""

    def __init__(self, limit: int) -> None:
        self._first = bytearray()
        self._last = bytearray()
        self._room = limit - limit // 2
        self._limit = limit // 2
        self._lost = 0

    def add(self, chunk: bytes) -> None:
        """Take one more piece of the output."""
        room = self._room - len(self._first)
        self._first += chunk[:room]
        self._last += chunk[room:]
        if (over := len(self._last) - self._limit) > 0:
            self._lost += over
            del self._last[:over]

    def kept(self) -> bytes:
        """The output, or its two ends."""
        gap = b"\n[%d bytes left out]\n" % self._lost if self._lost else b""
        return bytes(self._first) + gap + bytes(self._last)


class Lines:
    """Calls *tell* with each line of a byte stream; bytes that are not UTF-8 are replaced."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._rest = b""

    def add(self, chunk: bytes) -> None:
        """Take one more piece of the stream."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._say(line)
        while len(self._rest) > LONGEST_LINE:
            self._say(self._rest[:LONGEST_LINE])
            self._rest = self._rest[LONGEST_LINE:]

    def end(self) -> None:
        """The stream is over: tell the line that has no end."""
        if self._rest:
            self._say(self._rest)
            self._rest = b""

    def _say(self, line: bytes) -> None:
        self._tell(line.removesuffix(b"\r").decode("utf-8", "replace"))
