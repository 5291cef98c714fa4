"""Messages on a byte stream: a kind, a length, a payload. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from appliance.kernel.errors import BadRequest

HEAD = struct.Struct(">BI")  # kind, bytes that follow
LONGEST = 64 * 1024  # bytes of one payload


class BadFrame(BadRequest):
    """What came is longer than any frame may be."""

    code = "bad-frame"


def frame(kind: int, payload: bytes = b"") -> bytes:
    """One message; *payload* has at most `LONGEST` bytes."""
    return HEAD.pack(kind, len(payload)) + payload


class Frames:
    """Takes the stream as it comes, gives whole messages."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Kind and payload of each message that is complete with *data*.

        Raises:
          BadFrame: one is announced that is too long.
        """
        self._rest += data
        while len(self._rest) >= HEAD.size:
            kind, length = HEAD.unpack_from(self._rest)
            if length > LONGEST:
                raise BadFrame(f"A frame of {length} bytes is longer than {LONGEST}.")
            end = HEAD.size + length
            if len(self._rest) < end:
                return
            payload = bytes(self._rest[HEAD.size : end])
            del self._rest[:end]
            yield kind, payload
