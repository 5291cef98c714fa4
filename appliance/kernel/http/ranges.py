"""Which part of a file a GET wants: Range, If-Range and If-None-Match. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_RANGE = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Selection:
    """The answer's status, and the bytes from *offset* on that it carries."""

    status: int  # 200, 206, 304 or 416
    offset: int = 0
    count: int = 0


def select(headers: Mapping[str, str], size: int, etag: str) -> Selection:
    """Decide from the request's *headers* (lower-case names) for a file of *size* bytes.

    *etag* is unquoted; "" when there is none. Several ranges in one request, and units
    other than bytes, are answered with the whole file, as RFC 9110 14.2 allows.
    """
    if etag and _names(headers.get("if-none-match", ""), etag):
        return Selection(304)
    wanted = _RANGE.match(headers.get("range", "").strip())
    condition = headers.get("if-range", "").strip()
    if wanted is None or (condition and condition != f'"{etag}"'):
        return Selection(200, 0, size)
    first, last = wanted.groups()
    if first:
        start = int(first)
        stop = min(int(last), size - 1) if last else size - 1
    elif last:
        start, stop = max(size - int(last), 0), size - 1  # the last N bytes
    else:
        return Selection(200, 0, size)
    if start >= size or start > stop:
        return Selection(416)
    return Selection(206, start, stop - start + 1)


def _names(condition: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in condition.split(",")]
    return "*" in tags or f'"{etag}"' in tags
