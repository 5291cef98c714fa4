"""Headers of messages: what fits on a NATS wire, and how many bytes it takes there. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from appliance.kernel.errors import BadRequest

_FRAME = len(b"NATS/1.0\r\n\r\n")  # around the lines of a header block
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # a token, as in HTTP
_LINE_BREAK = re.compile(r"[\r\n]")  # would begin a header of its own, or a command


class BadHeader(BadRequest):
    """A header that cannot travel."""

    code = "bad-header"


def size_of_headers(headers: Mapping[str, str]) -> int:
    """Bytes that *headers* take on the wire.

    Raises:
      BadHeader: a name that is no token, or a value with a line break.
    """
    size = _FRAME
    for name, value in headers.items():
        size += _size_of_line(name, value)
    return size


@lru_cache(maxsize=1024)  # senders repeat theirs: the room, the push
def _size_of_line(name: str, value: str) -> int:
    if not _NAME.fullmatch(name):
        raise BadHeader(f"The header name {name!r} is empty or has characters that none may have.")
    if _LINE_BREAK.search(value):
        raise BadHeader(f"The header {name} has a line break in its value.")
    try:
        return len(f"{name}: {value}\r\n".encode())
    except UnicodeEncodeError:
        raise BadHeader(f"The header {name} has half of a surrogate pair in its value.") from None
