"""Reads a droplet's file and compares it with its digest. Everything here blocks."""

from __future__ import annotations

import hashlib
from typing import IO

from appliance.archiver.errors import DropletLost
from appliance.archiver.plan import Holding
from appliance.kernel.store.blobs import BlobStore

PIECE = 1024 * 1024  # bytes that are read and digested at a time


class Checkup:
    """Compares one file with its digest, piece by piece."""

    def __init__(self, holding: Holding) -> None:
        self._holding = holding
        self._sha256 = hashlib.sha256()

    def take(self, file: IO[bytes]) -> int:
        """Digest the next piece and return its length; 0 at the end, when all was right.

        Raises:
          DropletLost: the bytes are not the right ones, or cannot be read.
        """
        try:
            piece = file.read(PIECE)
        except OSError as error:
            raise unreadable(self._holding, error) from error
        self._sha256.update(piece)
        if not piece and self._sha256.hexdigest() != self._holding.sha256:
            raise DropletLost(*self._holding.key, "is damaged")
        return len(piece)


def examine(holding: Holding, file: IO[bytes]) -> None:
    """Read all of *file*; raises `DropletLost` unless it is what *holding* says."""
    checkup = Checkup(holding)
    while checkup.take(file):
        pass


def opened(blobs: BlobStore, holding: Holding, *, cold: bool = False) -> IO[bytes]:
    """The file of *holding*; raises `DropletLost` when it is gone or cannot be opened."""
    try:
        return blobs.open(holding.sha256, cold=cold)
    except FileNotFoundError as error:
        raise DropletLost(*holding.key) from error
    except OSError as error:
        raise unreadable(holding, error) from error


def unreadable(holding: Holding, error: OSError) -> DropletLost:
    """What *error* while its file was read means for the droplet."""
    return DropletLost(*holding.key, f"cannot be read ({error.strerror or error})")
