"""The package cache as a room."""

from __future__ import annotations

import trio

from appliance.config import PackageCacheConfig
from appliance.kernel.component import serve_component
from appliance.kernel.kit import Kit
from appliance.kernel.process.folders import room_folder
from appliance.package_cache.builder import Builder
from appliance.package_cache.flights import Flights
from appliance.package_cache.folders import Folders
from appliance.package_cache.http import Routes
from appliance.package_cache.loader import Loader
from appliance.package_cache.resolver import Resolver
from appliance.package_cache.runtimes import find_runtimes, forget_outdated
from appliance.package_cache.store import Store
from appliance.package_cache.uv_tool import Uv
from appliance.package_cache.way_out import WayOut

SIDE_BY_SIDE = 4  # builds at once
MOST = 200  # builds begun or waiting; what is asked beyond is refused


async def serve(
    config: PackageCacheConfig,
    kit: Kit,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the package cache until `kit.stopping`; ``started()`` gets its base URL."""
    async with room_folder(config.root, "package-cache") as root:
        await _serve(config, kit, Folders(root), task_status)


async def _serve(
    config: PackageCacheConfig, kit: Kit, folders: Folders, task_status: trio.TaskStatus[str]
) -> None:
    await _empty(folders, kit, cache=config.purge_on_startup)
    folders.make()
    runtimes = find_runtimes(config.runtimes)
    for name, executable in runtimes.missing.items():
        kit.trace.event("runtime.missing", runtime=name, executable=executable)
    for key in forget_outdated(runtimes, folders.cache, folders.root / "runtimes.json"):
        kit.trace.event("package.outdated", key=key)
    uv = Uv(kit.spawner, folders.builds, config.offline)
    try:
        async with trio.open_nursery() as building:
            way_out = WayOut(kit=kit, uv=uv, timeout=config.build_timeout)
            builder = Builder(
                kit=kit,
                folders=folders,
                uv=uv,
                way_out=way_out,
                timeout=config.build_timeout,
            )
            loader = Loader(
                kit=kit,
                folders=folders,
                store=Store(folders, fsync=config.root is not None),
                runtimes=runtimes,
                builder=builder,
                resolver=Resolver(
                    uv=uv,
                    compile_sources=builder.compile_sources,
                    folder=folders.resolutions,
                    clock=kit.clock,
                    fresh_for=config.resolution_fresh,
                ),
                flights=Flights(building, SIDE_BY_SIDE, MOST),
                max_package=config.max_package,
            )

            async def answer(*, task_status: trio.TaskStatus[str]) -> None:
                await serve_component(
                    kit,
                    "PackageCache",
                    config.bind,
                    config=config,
                    varz=lambda: {"runtimes": sorted(runtimes.found), "offline": config.offline},
                    routes=Routes(loader).blobs(),
                    task_status=task_status,
                )

            async with trio.open_nursery() as serving:
                url = await serving.start(answer)
                kit.health.mark(kit.room, "ready")
                task_status.started(url)
            # The server has drained; what is still being built is wanted by nobody.
            building.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await _empty(folders, kit, cache=False)
    kit.health.mark(kit.room, "stopped")


async def _empty(folders: Folders, kit: Kit, *, cache: bool) -> None:
    """Empty what only passes through, and the packages too when *cache* is set."""
    for folder in folders.passing() + ((folders.cache, folders.resolutions) if cache else ()):
        if folder.is_dir() and any(folder.iterdir()):
            await kit.spawner.sandbox.remove(folder)
            folder.mkdir()
    folders.make()
