"""What unpacking or packing an archive gave. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What came out of an archive."""

    entries: int
    bytes: int  # of its files together


@dataclass(frozen=True, slots=True)
class Packed:
    """A new archive, whole on disk, with both digests."""

    path: Path
    size: int  # bytes
    sha1: str  # 40 hex digits
    sha256: str  # 64 hex digits
    entries: int
    skipped: tuple[str, ...] = ()  # sockets, pipes and devices, which no archive carries
