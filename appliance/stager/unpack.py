"""Phase 2: unpacks the app's zip, strictly."""

from __future__ import annotations

from pathlib import Path

import trio

from appliance.kernel.process.archive import ArchiveLimits, ArchiveRefused, Unpacked, unpack_zip
from appliance.stager.errors import UnpackFailed


async def unpack(
    source: Path, into: Path, *, limit: int, limiter: trio.CapacityLimiter
) -> Unpacked:
    """Unpack the zip *source* into the folder *into*, at most *limit* bytes, and remove it.

    Raises:
      UnpackFailed: it is no zip, is damaged, or breaks a rule for archives.
    """
    limits = ArchiveLimits(bytes=limit)
    try:
        return await trio.to_thread.run_sync(_unpack, source, into, limits, limiter=limiter)
    except ArchiveRefused as error:
        raise UnpackFailed(str(error), hint=error.hint) from error


def _unpack(source: Path, into: Path, limits: ArchiveLimits) -> Unpacked:
    unpacked = unpack_zip(source, into, limits)
    source.unlink()  # the disk need not hold the app twice
    return unpacked
