"""Cuts a byte stream into the lines of a log, and lines into messages of the bus. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from appliance.logs.messages import Line

LONGEST_LINE = 64 * 1024  # bytes; what is longer is told in pieces
MESSAGE = 900 * 1024  # bytes of JSON in one message, below the bus's 1 MiB
ENVELOPE = 160  # bytes of JSON around the text of a line


class LineSplitter:
    """Takes pieces of a stream and gives its lines; bytes that are not UTF-8 are replaced."""

    def __init__(self) -> None:
        self._rest = bytearray()  # the line that has no end yet, at most LONGEST_LINE

    def add(self, chunk: bytes) -> list[str]:
        """The lines that *chunk* completes."""
        *lines, rest = chunk.split(b"\n")
        if not lines:
            self._rest += rest
            return self._overlong()
        whole = [bytes(self._rest) + lines[0], *lines[1:]]
        self._rest = bytearray(rest)
        told = [text for line in whole for text in _pieces(line.removesuffix(b"\r"))]
        return told + self._overlong()

    def end(self) -> list[str]:
        """The stream is over: the line that has no end, if there is one."""
        rest = bytes(self._rest)
        self._rest.clear()
        return list(_pieces(rest)) if rest else []

    def _overlong(self) -> list[str]:
        told = []
        while len(self._rest) > LONGEST_LINE:
            at = _cut(self._rest)
            told.append(_text(bytes(self._rest[:at])))
            del self._rest[:at]
        return told


def _pieces(line: bytes) -> Iterator[str]:
    while len(line) > LONGEST_LINE:
        at = _cut(line)
        yield _text(line[:at])
        line = line[at:]
    yield _text(line)


def _cut(line: bytes | bytearray) -> int:
    """Where to cut a line that is too long: not inside of a character."""
    at = LONGEST_LINE
    while at > LONGEST_LINE - 4 and line[at] & 0xC0 == 0x80:
        at -= 1
    return at


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def batches(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """*lines* in order, in groups that each fit into one message.

    A control character takes six bytes of JSON, and that is the most that one can take.
    """
    batch: list[Line] = []
    size = 0
    for line in lines:
        weight = ENVELOPE + 6 * len(line.text)
        if batch and size + weight > MESSAGE:
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += weight
    if batch:
        yield batch
