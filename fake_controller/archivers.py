"""Archivers that announce themselves on the bus become those that droplets are stored in."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote, urlsplit

import trio

from appliance.kernel.errors import Unavailable
from appliance.kernel.neighbours import follow
from fake_controller.controller import Controller

PATIENCE = 30.0  # seconds until there must be one


class NoArchiver(Unavailable):
    """Nobody is there to keep droplets."""

    code = "no-archiver"
    hint = "Start an archiver on the same bus, with archiver.announced and the same password."


async def follow_archivers(cc: Controller, *, task_status: trio.TaskStatus[None]) -> None:
    """Take archivers on as they come; ``started()`` when there is one at least.

    Raises:
      NoArchiver: there is none in `PATIENCE`.
    """
    there = trio.Event()

    def join(host: str) -> None:
        known = cc.config.archivers
        if host not in {urlsplit(url).netloc.rpartition("@")[2] for url in known}:
            user, password = cc.config.archiver_user, cc.config.archiver_password
            url = f"http://{quote(user, safe='')}:{quote(password, safe='')}@{host}"
            # Whoever stores a droplet looks here each time.
            cc.config = replace(cc.config, archivers=(*known, url))
            cc.kit.trace.event("archiver.joined", archiver=host)
        there.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, cc.kit, "Archiver", join)
        if not cc.config.archivers:
            with trio.move_on_after(PATIENCE):
                await there.wait()
            if not there.is_set():
                raise NoArchiver(f"No archiver has announced itself within {PATIENCE:g} s.")
        task_status.started()
