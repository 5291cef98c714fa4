"""Sizes as manifests spell them: ``256M``, ``1.5gb``, ``-1``. Pure."""

from __future__ import annotations

import re

UNITS = {"B": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
MIB = UNITS["M"]
UNLIMITED = -1  # of log rates, in bytes per second
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_SIZE = re.compile(r"(-?\d{1,18}(?:\.\d{1,18})?)\s*([KMGT]I?B?|B)", re.IGNORECASE)


class SizeError(ValueError):
    """The text is no size; the message goes on after the name of what it is the size of."""


def size_in_bytes(value: object) -> int:
    """The bytes that *value* stands for; a unit is needed, and is a power of 1024."""
    text = str(value).strip()
    if not _NUMBER.match(text):
        raise SizeError("is not a number")
    match = _SIZE.fullmatch(text)
    if match is None:
        raise SizeError("must use a supported unit: B, K, KB, M, MB, G, GB, T, or TB")
    return int(float(match[1]) * UNITS[match[2][0].upper()])


def size_in_mb(value: object) -> int:
    """The whole megabytes in *value*."""
    return int(size_in_bytes(value) / MIB)


def log_rate(value: object) -> int:
    """The bytes per second that *value* stands for; ``-1`` and ``0`` need no unit."""
    if str(value).strip() in ("-1", "0"):
        return int(str(value))
    return size_in_bytes(value)


def megabytes(number: int) -> str:
    """``256M``, as manifests are written."""
    return f"{number}M"


def log_rate_text(rate: int) -> str | int:
    """``-1``, or the rate in the largest unit that divides it."""
    if rate in (UNLIMITED, 0):
        return rate
    unit = next(name for name in ("T", "G", "M", "K", "B") if rate % UNITS[name] == 0)
    return f"{rate // UNITS[unit]}{unit}"
