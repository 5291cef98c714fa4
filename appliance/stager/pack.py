"""Phase 5: packs the droplet."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import trio

from appliance.kernel.process.archive import ArchiveRefused, Packed, pack_tar_gz
from appliance.kernel.process.sandbox import HOME
from appliance.stager.errors import PackFailed

#: What a DEA and a launcher read before they unpack the rest.
FIRST = ("staging_info.yml", "startup", "stop")


async def pack(home: Path, target: Path, *, limiter: trio.CapacityLimiter) -> Packed:
    """Pack the folder *home* into the new file *target*: the same bytes for the same files.

    Raises:
      PackFailed: a file has a name, or a link a target, that no droplet may have.
    """
    work = partial(pack_tar_gz, home, target, first=FIRST, home=HOME)
    try:
        return await trio.to_thread.run_sync(work, limiter=limiter)
    except ArchiveRefused as error:
        raise PackFailed(str(error)) from error
