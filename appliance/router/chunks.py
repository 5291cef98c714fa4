"""Chunked bodies, read strictly and written anew: extensions and trailers go no further."""

from __future__ import annotations

import re

MAX_LINE = 1024  # bytes of one chunk-size line, extensions included
MAX_TRAILERS = 8 * 1024  # bytes of all trailers

LAST_CHUNK = b"0\r\n\r\n"

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n")


class BadChunk(Exception):
    """A chunked body that breaks a rule; the text is a sentence."""


class ChunkReader:
    """Finds the data in a chunked body, however the network has cut it into pieces.

    Source: RFC 9112, 7.1.
    """

    def __init__(self) -> None:
        self.done = False
        self.rest = b""  # what follows the body, once it is done
        self._left = 0  # bytes of the present chunk, with its CRLF
        self._held = b""  # an incomplete line
        self._trailers = -1  # bytes of trailers; -1 before the last chunk

    def feed(self, piece: bytes) -> list[memoryview]:
        """The data in *piece*, in order.

        Raises:
          BadChunk: the body cannot be understood; nothing after that point may be used.
        """
        if self._held:
            piece, self._held = self._held + piece, b""
        view, position, found = memoryview(piece), 0, []
        while position < len(piece) and not self.done:
            if self._left > 2:
                data = view[position : position + self._left - 2]
                found.append(data)
                position += len(data)
                self._left -= len(data)
            elif self._left:
                if piece[position] != b"?\n\r"[self._left]:
                    raise BadChunk("A chunk is longer than its size says.")
                position += 1
                self._left -= 1
            else:
                end = self._line(piece, position)
                if end < 0:
                    self._held = piece[position:]
                    break
                position = end
        if self.done:
            self.rest = piece[position:]
        return found

    def _line(self, piece: bytes, position: int) -> int:
        """Take one size or trailer line; where it ends, or -1 when it is incomplete."""
        if self._trailers >= 0:
            return self._trailer(piece, position)
        found = _SIZE.match(piece, position)
        if found is None:
            if piece.find(b"\n", position) >= 0 or len(piece) - position > MAX_LINE:
                raise BadChunk("A chunk size is not a plain hexadecimal number.")
            return -1
        if found.end() - position > MAX_LINE:
            raise BadChunk(f"A chunk-size line is above {MAX_LINE} bytes.")
        size = int(found[1], 16)
        if size:
            self._left = size + 2
        else:
            self._trailers = 0
        return found.end()

    def _trailer(self, piece: bytes, position: int) -> int:
        if piece.startswith(b"\r\n", position):
            self.done = True
            return position + 2
        found = _TRAILER.match(piece, position)
        if found is None:
            if piece.find(b"\n", position) >= 0:
                raise BadChunk("A trailer is not NAME: VALUE.")
            if len(piece) - position + self._trailers > MAX_TRAILERS:
                raise BadChunk(f"The trailers are above {MAX_TRAILERS} bytes.")
            return -1
        self._trailers += found.end() - position
        if self._trailers > MAX_TRAILERS:
            raise BadChunk(f"The trailers are above {MAX_TRAILERS} bytes.")
        return found.end()


def chunk(pieces: list[memoryview]) -> bytes:
    """One chunk that holds *pieces*; nothing when they are empty, which would end the body."""
    size = sum(map(len, pieces))
    return b"".join((b"%x\r\n" % size, *pieces, b"\r\n")) if size else b""
