"""Starts a DEA: its folders, its file viewer, its ears and its clocks; and ends it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import trio

from appliance.config import DeaConfig
from appliance.dea.dea import MIB, Dea
from appliance.dea.droplets import DropletCache
from appliance.dea.ears import Ears
from appliance.dea.files import FileViewer
from appliance.dea.messages import Hello
from appliance.dea.monitor import Monitor
from appliance.dea.output import Journal
from appliance.dea.ports import shared_ports
from appliance.dea.runtimes import installed
from appliance.dea.sessions import Sessions
from appliance.dea.shared import Shared
from appliance.dea.tasks import Tasks
from appliance.dea.voice import Voice
from appliance.kernel.component import Component
from appliance.kernel.kit import Kit
from appliance.kernel.process.folders import room_folder

UNPACKING = 4  # droplets unpacked at the same time
REAP_EVERY = 30.0  # seconds


async def serve(
    config: DeaConfig,
    kit: Kit,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run one DEA until `kit.stopping`, then stop every instance; ``started()`` gets its URL."""
    from appliance.kernel.http.server import serve_http

    id_ = kit.ids.hex(32)
    credentials = [kit.ids.hex(32), kit.ids.hex(32)]
    async with folders(config, kit) as (apps, staged), trio.open_nursery() as serving:
        dea: Dea | None = None

        def folder_of(name: str) -> Path | None:
            here = dea.instances.values() if dea else ()
            return next((one.folder for one in here if one.folder.name == name), None)

        def varz() -> dict[str, object]:
            return figures(dea) if dea else {}

        component = Component(kit, "DEA", varz=varz, config=config)
        viewer = FileViewer(folder_of, credentials)
        url = await serving.start(
            partial(
                serve_http,
                None,
                config.bind,
                kit,
                blobs=[*component.routes(), *viewer.routes()],
            )
        )
        async with trio.open_nursery() as background:
            shared = Shared(
                kit=kit,
                config=config,
                droplets=DropletCache(kit, staged, copy=not config.force_http_sharing),
                journal=Journal(kit, id_),
                unpacking=trio.CapacityLimiter(UNPACKING),
            )
            dea = Dea(
                id=id_,
                hello=Hello(id=id_, ip=config.host, port=urlsplit(url).port or 0),
                apps=apps,
                shared=shared,
                voice=Voice(kit, id_),
                ports=shared_ports(kit.ids),
                nursery=background,
                runtimes=installed(config.runtimes),
                credentials=credentials,
                isolated=isolates(config, kit),
            )
            sessions = Sessions(dea)
            await background.start(sessions.serve)
            tasks = Tasks(dea)
            await background.start(Ears(dea, sessions, tasks).listen)
            await background.start(component.run, url)
            background.start_soon(Monitor(dea).run)
            background.start_soon(every, config.heartbeat, dea.heartbeat)
            background.start_soon(every, config.heartbeat, tasks.heartbeat)
            background.start_soon(every, config.advertise, dea.advertise)
            background.start_soon(every, config.register, dea.register_all)
            background.start_soon(reap, dea)
            background.start_soon(announce_again, dea)
            dea.voice.hello(dea.hello)
            dea.advertise()
            kit.health.mark(kit.room, "ready")
            kit.trace.event("dea.ready", id=id_, url=url)
            task_status.started(url)
            await kit.stopping.wait()
            kit.health.mark(kit.room, "draining")
            await dea.drain()
            background.cancel_scope.cancel()
    kit.health.mark(kit.room, "stopped")


def isolates(config: DeaConfig, kit: Kit) -> bool:
    """Whether apps get networks of their own; when they should but cannot, that is told."""
    sandbox = kit.spawner.sandbox
    if config.network == "isolated" and not sandbox.isolated:
        kit.trace.event("network.shared", why=sandbox.reason)
    return config.network == "isolated" and sandbox.isolated


@asynccontextmanager
async def folders(config: DeaConfig, kit: Kit) -> AsyncIterator[tuple[Path, Path]]:
    """Empty folders for instances and for droplets; gone again afterwards.

    Instances do not outlive their DEA, so what a former one left behind is of no use.
    """
    sandbox = kit.spawner.sandbox
    async with room_folder(config.root, "dea") as root:
        apps, staged = root / "apps", root / "staged"
        try:
            for folder in (apps, staged):
                await sandbox.remove(folder)
            for folder in (root, apps):
                sandbox.make_root(folder)
            staged.mkdir(mode=0o700)
            yield apps, staged
        finally:
            with trio.CancelScope(shield=True):
                for folder in (apps, staged):
                    await sandbox.remove(folder)


async def every(seconds: float, say: Callable[[], None]) -> None:
    """Call *say* every so many *seconds* until cancelled."""
    while True:
        await trio.sleep(seconds)
        say()


async def announce_again(dea: Dea) -> None:
    """Say all that others must know of us after each outage of the bus, until cancelled."""
    while True:
        await dea.shared.kit.bus.reconnected()
        dea.voice.hello(dea.hello)
        dea.advertise()
        dea.heartbeat()
        dea.register_all()


async def reap(dea: Dea) -> None:
    """Remove what crashed too long ago, until cancelled."""
    lifetime = dea.shared.config.crash_lifetime
    while True:
        await trio.sleep(min(REAP_EVERY, lifetime))
        dea.reap(dea.shared.kit.clock.time() - lifetime)


def figures(dea: Dea) -> dict[str, object]:
    """What /varz tells of a DEA besides what all components tell."""
    room = dea.room
    running = [i for i in dea.instances.values() if i.live]
    return {
        "apps_max_memory": room.max_memory,
        "apps_reserved_memory": room.reserved,
        "apps_used_memory": sum(one.instance.memory for one in dea.lives.values()) // MIB,
        "num_apps": len(running),
        "running_apps": [
            {"droplet": i.droplet, "index": i.order.index, "state": i.state} for i in running
        ],
        "runtimes": dea.runtimes,
        "state": "SHUTTING_DOWN" if dea.draining else "RUNNING",
    }
