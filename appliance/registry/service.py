"""The registry: a read-only OCI registry whose images are the apps' droplets."""

from __future__ import annotations

from functools import partial

import trio

from appliance.config import RegistryConfig
from appliance.kernel.component import Component
from appliance.kernel.kit import Kit
from appliance.registry.controller import Controller
from appliance.registry.errors import present
from appliance.registry.http import Routes
from appliance.registry.images import Images
from appliance.registry.store import open_store


async def serve(
    config: RegistryConfig,
    kit: Kit,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the registry until `kit.stopping`; ``started()`` gets its base URL.

    The controller is first asked when somebody pulls, so it may start later.

    Raises:
      PortTaken: somebody else listens at `config.bind`.
    """
    # Hypercorn takes a while to load; whoever imports this module may not serve yet.
    from appliance.kernel.http.server import serve_http

    controller = Controller(kit, config.controller, config.client_secret)
    async with open_store(config.root) as store, trio.open_nursery() as background:
        images = Images(controller, store, kit, background, rootfs=config.rootfs)
        component = Component(kit, "Registry", config=config)
        blobs = [*Routes(controller, images, store).blobs(), *component.routes()]
        async with trio.open_nursery() as serving:
            url = await serving.start(
                partial(serve_http, None, config.bind, kit, blobs=blobs, present_error=present)
            )
            await background.start(component.run, url)
            kit.health.mark(kit.room, "ready")
            kit.trace.event("registry.listening", url=url)
            task_status.started(url)
        # serve_http has drained: kit.stopping is set.
        background.cancel_scope.cancel()
    kit.health.mark(kit.room, "stopped")
